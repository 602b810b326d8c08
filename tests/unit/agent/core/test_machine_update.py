"""A typed password is proved by a login first, then stored; until then nothing changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core.credentials import Identity
from agent.core.effects import WriteReason
from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from protocol.sealing import new_device_key, public_key
from tests.support.core_driver import HOME, OTHER, P1, P2, P3, WRONG, Kind, World
from tests.support.core_scenes import (
    killed_at_each_action,
    on_old_password,
    pushed,
    standby,
    started,
)


def test_the_right_password_is_proved_and_stored() -> None:
    """A right password takes one login on the open connection, and one write."""
    world = on_old_password()
    assert world.replies[world.log_in(P2)] is None
    assert [each.reason for each in world.seen(do.WriteVault)] == [WriteReason.TYPED]
    world.assert_updated()
    assert world.memory[HOME].old_valid_until is None
    assert list(world.sessions) == [1]
    messages = [type(each.message) for each in world.seen(do.Send)]
    assert messages == [msg.Hello, msg.Proof]


@pytest.mark.parametrize(
    ("identity", "typed", "answer", "tried"),
    [
        (HOME, WRONG, Reason.CREDENTIALS, [WRONG]),
        (HOME, P1, Reason.OLD_PASSWORD, [P1, P1]),  # an old password
        (HOME, "a\u0007b", Reason.CREDENTIALS, []),
        (HOME, "", Reason.CREDENTIALS, []),
        (HOME, '"' * 700, Reason.CREDENTIALS, []),  # too long for a vault
        (HOME, "\ud800", Reason.CREDENTIALS, []),
        (OTHER, WRONG, Reason.CREDENTIALS, [WRONG, P1]),
        (OTHER, P3, Reason.OLD_PASSWORD, [P3, P1]),
    ],
)
def test_a_password_that_is_not_taken_changes_nothing(
    identity: Identity, typed: str, answer: Reason, tried: list[str]
) -> None:
    """A refused typed password leaves the client in standby as before, also another user's."""
    world = on_old_password()
    world.accounts[OTHER.user].retired = [(P3, world.server_now + timedelta(days=9))]
    before = dict(world.vault), dict(world.memory), world.settings, world.view
    assert world.replies[world.log_in(typed, identity)] is answer
    assert (world.vault, world.memory, world.settings, world.view) == before
    assert world.tried == [P1, *tried]
    assert (list(world.sessions) == [1]) is (len(tried) < 2)


def test_an_accepted_password_ends_the_count_of_refusals() -> None:
    """A welcome resets the client's count of refusals on the connection."""
    world = on_old_password()
    refused = Reason.CREDENTIALS
    for word, answer in ((WRONG, refused), (WRONG, refused), (P2, None), (WRONG, refused)):
        assert world.replies[world.log_in(word)] is answer
    world.log_in(WRONG)
    assert list(world.sessions) == [1]
    world.log_in(WRONG)
    assert list(world.sessions) == [1, 2]
    assert world.state is State.STANDBY


@pytest.mark.parametrize(
    ("reason", "trouble"),
    [
        (Reason.UNREACHABLE, {"online": False}),
        (Reason.IMPOSTOR, {"impostor": True}),
        (Reason.THROTTLED, {"throttle_s": 30}),
        (Reason.BLOCKED, {}),
    ],
)
def test_a_failure_on_the_way_is_the_answer(reason: Reason, trouble: dict[str, object]) -> None:
    """A failure answers the request; later the stored password is tried again."""
    world = started(online=False)
    world.online = True
    vars(world).update(trouble)
    world.home.says = None if trouble else "blocked"
    before = dict(world.vault)
    assert world.replies[world.log_in(P1)] is reason
    assert world.is_in(State.RETRYING, reason)
    assert world.vault == before
    world.online, world.impostor, world.throttle_s, world.home.says = True, False, 0, None
    world.advance(7200)
    assert world.is_in(State.STANDBY)


def test_the_first_login() -> None:
    """At the first login a wrong password stores nothing; the right one leads to standby."""
    world = World(stored=None, identity=None)
    world.start()
    assert world.is_in(State.LOGGED_OUT)
    assert world.replies[world.log_in(WRONG)] is Reason.CREDENTIALS
    assert world.is_in(State.LOGGED_OUT)
    assert (world.settings, world.vault, world.memory) == (None, {}, {})
    assert world.replies[world.log_in(P1)] is None
    world.assert_updated(P1)
    assert world.settings == HOME
    world.restart()
    world.assert_updated(P1)


@pytest.mark.parametrize(("identity", "password"), [(HOME, P2), (OTHER, P1)])
@pytest.mark.parametrize("brought", [None, new_device_key()], ids=["own key", "brought key"])
def test_a_user_takes_over(identity: Identity, password: str, brought: str | None) -> None:
    """Nothing of the former user stays; the device key is new, or comes from a pairing.

    For the same user the PC keeps its device key.
    """
    world = on_old_password()
    known = world.vault[HOME].device_key
    assert world.replies[world.log_in(password, identity, brought)] is None
    assert (world.settings, list(world.vault)) == (identity, [identity])
    key = world.vault[identity].device_key
    assert key == (known if identity is HOME else brought or key)
    assert (key == known) is (identity is HOME)
    assert world.this_device.public_key == public_key(key)
    assert world.memory[identity].old_valid_until is None
    assert (world.state, world.view.user) == (State.STANDBY, identity.user)


@pytest.mark.parametrize("cut", [False, True])
def test_a_request_during_a_push_is_answered_after_it(*, cut: bool) -> None:
    """Typed passwords are tried one by one, after the push is finished or given up."""
    world = pushed("proof")
    request, second = world.log_in(P2), world.log_in(P3)
    assert world.replies == {second: Reason.BUSY}
    if cut:
        world.hold = set()
        world.jobs["proof"].clear()
        world.cut()
    world.release("proof")
    assert world.replies == {request: None, second: Reason.BUSY}
    assert world.tried == ([P1, P2] if cut else [P1, P2, P2])
    world.assert_updated()


@pytest.mark.parametrize(("held", "answer"), [("proof", Reason.OLD_PASSWORD), ("vault", None)])
def test_a_push_during_a_request(held: Kind, answer: Reason | None) -> None:
    """The push waits while the typed password is proved or stored, and is not lost."""
    world = on_old_password()
    world.hold = {held}
    request, second = world.log_in(P2), world.log_in(P3)
    assert world.replies == {second: Reason.BUSY}
    world.change(P3)
    world.release("proof", "vault")
    assert world.replies == {request: answer, second: Reason.BUSY}
    world.assert_updated(P3)


def test_an_older_push_does_not_replace_a_typed_password() -> None:
    """A push that has waited for the user's request is dropped."""
    world = standby("proof")
    request = world.log_in(P3)
    world.change(P2)
    world.change(P3, push=False)
    world.release("proof")
    assert world.replies == {request: None}
    assert world.tried == [P1, P3]
    world.assert_updated(P3)


@pytest.mark.parametrize("held", ["proof", "vault"])
def test_a_request_during_the_start(held: Kind) -> None:
    """A password typed at the start waits for the vault, and is tried before the stored one."""
    world = started(held)
    request = world.log_in(WRONG)
    assert world.replies == {}
    assert world.is_in(State.UPDATING)
    world.release(held)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.tried == [WRONG, P1]
    world.assert_updated(P1)


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_request_before_the_start(identity: Identity) -> None:
    """A request before the first event, as by the command `login`, is answered, too."""
    world = World(identity=None) if identity == HOME else World()
    world.hold = {"connect"}
    request = world.log_in(P1, identity)
    world.start()
    world.release("connect")
    assert world.replies == {request: None}
    assert world.is_in(State.STANDBY)
    assert list(world.vault) == [identity]


@pytest.mark.parametrize(("identity", "password"), [(HOME, P2), (OTHER, P1)])
def test_killed_after_any_effect_of_an_update(identity: Identity, password: str) -> None:
    """A killed client starts again with the old user and password, or with both new ones."""
    for world in killed_at_each_action(
        on_old_password, lambda world: world.log_in(password, identity)
    ):
        world.start()
        assert world.settings is not None
        after = (world.state, world.settings, world.vault[world.settings].password)
        before = (State.STANDBY_OLD_PASSWORD, HOME, P1)
        assert after in {before, (State.STANDBY, identity, password)}
