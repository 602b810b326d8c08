"""Derived keys are kept while their password may be tried, and not longer."""

from __future__ import annotations

import hashlib

import pytest

from agent.core import events as ev
from agent.core.state import State
from protocol.scram import ClientLogin, Keys
from tests.support.core_driver import OTHER, P1, P2, WRONG, World
from tests.support.core_scenes import standby, started

NONCE = "a-nonce-of-the-client"


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the passwords that keys are derived from, in order."""
    passwords: list[bytes] = []
    original = hashlib.pbkdf2_hmac

    def noted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        passwords.append(password)
        return original(name, password, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", noted)
    return passwords


def kept(world: World) -> Keys | None:
    return world.machine.vault.keys


def test_a_reconnect_derives_nothing(derived: list[bytes]) -> None:
    """A reconnect uses kept keys; keys are derived once per password, also for a pushed one."""
    world = standby()
    assert derived.count(P1.encode()) >= 1
    for word in (P1, P1, P2, P2):
        if word != world.home.password:
            world.change(word)
        derived.clear()
        world.tell(ev.ReconnectRequested())
        world.assert_updated(word)
        assert derived == []
        keys = kept(world)
        assert keys is not None
        assert keys.password == word
        assert repr(keys) == "Keys()"


@pytest.mark.parametrize(
    ("password", "salt", "count", "fits"),
    [
        (P1, "AAECAwQFBgcICQoLDA0ODw==", 600_000, True),
        (P2, "AAECAwQFBgcICQoLDA0ODw==", 600_000, False),
        (P1, "AQECAwQFBgcICQoLDA0ODw==", 600_000, False),
        (P1, "AAECAwQFBgcICQoLDA0ODw==", 600_001, False),
    ],
)
def test_keys_that_do_not_fit_are_not_used(
    derived: list[bytes], password: str, salt: str, count: int, *, fits: bool
) -> None:
    """Kept keys are used only for the same password, salt and iteration count."""
    first = ClientLogin(user="user", password=P1, nonce=NONCE)
    proof = first.proof(f"r={NONCE}+,s=AAECAwQFBgcICQoLDA0ODw==,i=600000")
    derived.clear()
    other = ClientLogin(user="user", password=password, nonce=NONCE, known=first.keys)
    same = other.proof(f"r={NONCE}+,s={salt},i={count}") == proof
    assert same is (other.keys == first.keys) is (derived == []) is fits


def test_only_a_password_that_may_be_tried_has_keys() -> None:
    """A logout or a refusal of the stored password drops the keys; a mistyped one keeps them."""
    world = standby()
    before = kept(world)
    assert before is not None
    world.log_in(WRONG)
    assert kept(world) == before
    world.home.password = "Changed-1"
    world.tell(ev.ReconnectRequested())
    assert world.state is State.NEEDS_PASSWORD
    assert kept(world) is None
    world = standby()
    world.log_in(P1, OTHER)
    keys = kept(world)
    assert keys is None or keys.password == P1
    world.log_out()
    assert kept(world) is None
    assert kept(started(impostor=True)) is None, "its salt may be the impostor's"
