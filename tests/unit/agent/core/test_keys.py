"""Derived keys are used again while their password is, and no longer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from agent.core import events as ev
from agent.core.state import State
from protocol.scram import ClientLogin, Keys
from tests.support.core_driver import HOME, OTHER, P1, P2, WRONG, World

NONCE = "a-nonce-of-the-client"


@pytest.fixture
def derived() -> Iterator[list[bytes]]:
    """Return the passwords that keys are derived from, in order."""
    passwords: list[bytes] = []
    original = hashlib.pbkdf2_hmac

    def noted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        passwords.append(password)
        return original(name, password, salt, iterations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", noted)
        yield passwords


def waiting(**options: Any) -> World:
    world = World(**options)
    world.start()
    assert world.state is State.STANDBY
    return world


def kept(world: World) -> Keys | None:
    return world.machine.client.vault.keys


def reconnect(world: World) -> None:
    world.tell(ev.ReconnectRequested())
    assert world.state is State.STANDBY


def by_client(derived: list[bytes]) -> list[bytes]:
    """Whose keys were derived since the last look."""
    found = derived.copy()
    derived.clear()
    return found


def test_a_reconnect_derives_nothing(derived: list[bytes]) -> None:
    """Once a process and password, however often the network goes."""
    world = waiting()
    assert by_client(derived).count(P1.encode()) >= 1
    for _ in range(3):
        reconnect(world)
    assert by_client(derived) == []


def test_known_keys_give_the_same_proof(derived: list[bytes]) -> None:
    """The proof depends on the keys, not on how they were come by."""
    challenge = f"r={NONCE}-and-more,s=AAECAwQFBgcICQoLDA0ODw==,i=600000"
    first = ClientLogin(user="user", password=P1, nonce=NONCE)
    proof = first.proof(challenge)
    derived.clear()
    again = ClientLogin(user="user", password=P1, nonce=NONCE, known=first.keys)
    assert again.proof(challenge) == proof
    assert derived == []


@pytest.mark.parametrize(
    ("password", "salt", "count"),
    [
        pytest.param(P2, "AAECAwQFBgcICQoLDA0ODw==", 600_000, id="another password"),
        pytest.param(P1, "AQECAwQFBgcICQoLDA0ODw==", 600_000, id="another salt"),
        pytest.param(P1, "AAECAwQFBgcICQoLDA0ODw==", 600_001, id="another count"),
    ],
)
def test_keys_that_do_not_fit_are_not_used(
    derived: list[bytes], password: str, salt: str, count: int
) -> None:
    """Whatever they depend on is compared."""
    first = ClientLogin(user="user", password=P1, nonce=NONCE)
    first.proof(f"r={NONCE}+,s=AAECAwQFBgcICQoLDA0ODw==,i=600000")
    derived.clear()
    other = ClientLogin(user="user", password=password, nonce=NONCE, known=first.keys)
    other.proof(f"r={NONCE}+,s={salt},i={count}")
    assert derived == [password.encode()]
    assert other.keys != first.keys


def test_a_push_leaves_the_new_passwords_keys_only(derived: list[bytes]) -> None:
    """The old password's are gone as soon as the new one is proven; the new ones are used."""
    world = waiting()
    world.change(P2)
    keys = kept(world)
    assert keys is not None
    assert keys.password == P2
    derived.clear()
    reconnect(world)
    assert by_client(derived) == []


def test_logging_out_forgets_them() -> None:
    """With the password goes what was derived from it."""
    world = waiting()
    assert kept(world) is not None
    world.log_out()
    assert kept(world) is None


def test_a_refused_password_has_none() -> None:
    """What is never sent again needs no keys."""
    world = waiting()
    world.home.password = "Changed-1"
    world.tell(ev.ReconnectRequested())
    assert world.state is State.NEEDS_PASSWORD
    assert kept(world) is None


def test_wrong_and_other_passwords_leave_them_alone() -> None:
    """A candidate that comes to nothing neither brings keys nor takes them."""
    world = waiting()
    before = kept(world)
    world.sign_in(WRONG)
    assert world.state is State.STANDBY
    assert kept(world) == before
    world.sign_in(P1, OTHER)
    keys = kept(world)
    assert keys is None or keys.password == P1


def test_an_impostors_salt_is_not_kept() -> None:
    """Only keys that the server has proven to know are worth keeping."""
    world = World()
    world.impostor = True
    world.start()
    assert world.state is State.RETRYING
    assert kept(world) is None
    assert world.vault[HOME].password == P1


def test_keys_show_nothing_of_themselves() -> None:
    """A log or an exception that shows them shows no secret."""
    keys = kept(waiting())
    assert keys is not None
    assert repr(keys) == "Keys()"
