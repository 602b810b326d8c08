"""A password typed by the user is proved first and stored then; nothing else changes before."""

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
    """One login on the open connection and one write; the old password's warning goes."""
    world = on_old_password()
    world.come()
    assert world.warning == 30
    assert world.replies[world.log_in(P2)] is None
    assert [each.reason for each in world.seen(do.WriteVault)] == [WriteReason.TYPED]
    world.assert_updated()
    assert world.warning is None
    assert world.memory[HOME].old_valid_until is None
    assert list(world.sessions) == [1]
    messages = {type(each.message) for each in world.seen(do.Send)}
    assert messages == {msg.Notice, msg.Hello, msg.Proof}


@pytest.mark.parametrize(
    ("typed", "is_sent"),
    [
        (WRONG, True),
        (P3, True),
        ("a\u0007b", True),
        ("", True),
        ('"' * 700, False),
        ("\ud800", False),
    ],
)
def test_a_wrong_password_changes_nothing(typed: str, *, is_sent: bool) -> None:
    """The client waits as before; a password that no vault can keep is not sent to the server."""
    world = on_old_password()
    before = dict(world.vault), dict(world.memory), world.view
    assert world.replies[world.log_in(typed)] is Reason.CREDENTIALS
    assert (world.vault, world.memory, world.view) == before
    assert list(world.sessions) == [1]
    assert is_sent or world.seen(do.Send) == []


def test_an_accepted_password_ends_the_count_of_refusals() -> None:
    """After a welcome the client counts refusals from zero, on the same connection."""
    world = on_old_password()
    refused = Reason.CREDENTIALS
    for word, answer in ((WRONG, refused), (WRONG, refused), (P2, None), (WRONG, refused)):
        assert world.replies[world.log_in(word)] is answer
    world.log_in(WRONG)
    assert list(world.sessions) == [1]
    world.log_in(WRONG)
    assert list(world.sessions) == [1, 2]
    assert world.state is State.STANDBY


def test_an_old_password_is_not_taken() -> None:
    """The server accepts it, but it is the one to replace: nothing changes."""
    world = on_old_password()
    assert world.replies[world.log_in(P1)] is Reason.OLD_PASSWORD
    assert world.vault[HOME].password == P1
    assert world.is_in(State.STANDBY_OLD_PASSWORD)


@pytest.mark.parametrize(
    ("reason", "trouble"),
    [
        (Reason.UNREACHABLE, {"online": False}),
        (Reason.IMPOSTOR, {"impostor": True}),
        (Reason.THROTTLED, {"throttle_s": 30}),
        (Reason.DISABLED, {}),
        (Reason.BLOCKED, {}),
    ],
)
def test_a_failure_on_the_way_is_the_answer(reason: Reason, trouble: dict[str, object]) -> None:
    """The user is informed why it was not proved, and the stored password is tried again later."""
    world = started(online=False)
    world.online = True
    vars(world).update(trouble)
    world.home.says = None if trouble else reason.value
    before = dict(world.vault)
    assert world.replies[world.log_in(P1)] is reason
    assert world.is_in(State.RETRYING, reason)
    assert world.vault == before
    world.online, world.impostor, world.throttle_s, world.home.says = True, False, 0, None
    world.advance(7200)
    assert world.is_in(State.STANDBY)


def test_the_first_login() -> None:
    """A wrong password leaves nothing; the right one leads to standby, also after a restart."""
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


def test_another_user_takes_over() -> None:
    """There is a new device key; the first user's entry and saved state are gone."""
    world = on_old_password()
    key = world.vault[HOME].device_key
    assert world.replies[world.log_in(P1, OTHER)] is None
    assert (world.settings, list(world.vault)) == (OTHER, [OTHER])
    assert world.vault[OTHER].device_key != key
    assert world.memory[OTHER].old_valid_until is None
    assert world.view.user == OTHER.user
    assert world.is_in(State.STANDBY)


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_pairing_brings_its_device_key(identity: Identity) -> None:
    """The PC logs in by it, and keeps it, unless the server knows this user's PC by another key."""
    world = on_old_password()
    known, key = world.vault[HOME].device_key, new_device_key()
    password = P2 if identity is HOME else P1
    assert world.replies[world.log_in(password, identity, key)] is None
    assert world.vault[identity].device_key == (known if identity is HOME else key)
    hello = [each.message for each in world.seen(do.Send) if isinstance(each.message, msg.Hello)]
    assert hello[-1].device.public_key == public_key(world.vault[identity].device_key)


@pytest.mark.parametrize(("typed", "answer"), [(WRONG, "credentials"), (P3, "old_password")])
def test_another_user_who_does_not_get_in(typed: str, answer: str) -> None:
    """A login that is refused, or with an old password, leaves the first user's as it is."""
    world = on_old_password()
    world.accounts[OTHER.user].retired = [(P3, world.server_now + timedelta(days=9))]
    before = dict(world.vault), dict(world.memory), world.settings
    assert world.replies[world.log_in(typed, OTHER)] is Reason(answer)
    assert (world.vault, world.memory, world.settings) == before
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.view.user == HOME.user


@pytest.mark.parametrize("cut", [False, True])
def test_a_request_during_a_push_is_answered_after_it(*, cut: bool) -> None:
    """The push is finished first, or given up with its connection; then it is the user's turn."""
    world = pushed("proof")
    request = world.log_in(P2)
    assert world.replies == {}
    if cut:
        world.hold = set()
        world.proof_jobs.clear()
        world.cut()
    world.release("proof")
    assert world.replies == {request: None}
    assert world.tried == ([P1, P2] if cut else [P1, P2, P2])
    world.assert_updated()


def test_a_second_request_is_refused_as_busy() -> None:
    """One runs at a time, and each is answered."""
    world = on_old_password()
    world.hold = {"proof"}
    first, second = world.log_in(P2), world.log_in(P3)
    assert world.replies == {second: Reason.BUSY}
    world.release("proof")
    assert world.replies == {first: None, second: Reason.BUSY}


@pytest.mark.parametrize(("held", "answer"), [("proof", Reason.OLD_PASSWORD), ("vault", None)])
def test_a_push_during_a_request(held: Kind, answer: Reason | None) -> None:
    """The push waits while the typed password is proved or stored, and is not lost."""
    world = on_old_password()
    world.hold = {held}
    request = world.log_in(P2)
    world.change(P3)
    world.release("proof", "vault")
    assert world.replies == {request: answer}
    world.assert_updated(P3)


def test_an_older_push_does_not_replace_a_typed_password() -> None:
    """A push that has waited for the user's request is dropped, or never tried before it."""
    world = standby()
    world.hold = {"proof"}
    request = world.log_in(P3)
    world.change(P2)
    world.change(P3, push=False)
    world.release("proof")
    assert world.replies == {request: None}
    assert world.tried == [P1, P3]
    world.assert_updated(P3)
    world = pushed("proof")
    world.hold = {"vault"}
    world.release("proof")
    world.change(P3)
    world.log_in(P3)
    world.release("vault")
    assert world.tried == [P1, P2, P3]
    world.assert_updated(P3)


def test_a_change_right_after_the_users_own_login() -> None:
    """The days of the password just stored are what the server said last."""
    world = on_old_password()
    world.hold = {"vault"}
    world.log_in(P2)
    world.advance(5)
    world.change(P3, push=False)
    world.release("vault")
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.view.valid_until == world.server_now + timedelta(days=30)


def test_a_request_ends_another_login() -> None:
    """The user's password is tried at once, on another connection; then the stored one."""
    world = started("proof")
    request = world.log_in(WRONG)
    world.release("proof")
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.tried == [WRONG, P1]
    assert list(world.sessions)[:2] == [1, 2]


def test_a_request_before_the_vault_was_read() -> None:
    """The request waits for the vault, and a wrong password leaves the stored one in use."""
    world = started("vault")
    request = world.log_in(WRONG)
    assert world.replies == {}
    assert world.is_in(State.UPDATING)
    world.release("vault")
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.tried == [WRONG, P1]
    world.assert_updated(P1)


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_request_before_the_start(identity: Identity) -> None:
    """The command `login` can be faster than the program's first event."""
    world = World(identity=None) if identity == HOME else World()
    world.hold = {"connect"}
    request = world.log_in(P1, identity)
    world.start()
    world.release("connect")
    assert world.replies == {request: None}
    assert world.is_in(State.STANDBY)
    assert list(world.vault) == [identity]


@pytest.mark.parametrize("pending", [None, P3])
def test_a_stored_password_typed_again_and_refused(pending: str | None) -> None:
    """The client never sends it again on its own, whether it is the current or the pushed one."""
    word, world = pending or P1, World(pending=pending)
    world.home.password = P1 if pending else P2
    world.online = False
    world.start()
    world.online = True
    assert world.replies[world.log_in(word)] is Reason.CREDENTIALS
    assert world.tried == ([P3, P1] if pending else [P1])
    assert world.state is (State.STANDBY if pending else State.NEEDS_PASSWORD)
    world.restart()
    assert world.tried.count(word) == 1


def test_the_old_password_ends_while_the_new_one_is_typed() -> None:
    """`expired` is about the login in force; the typed password is tried again and taken."""
    world = on_old_password()
    world.advance(timedelta(days=30, seconds=-5))
    world.hold = {"proof"}
    request = world.log_in(P2)
    world.advance(6)
    world.release("proof")
    assert world.replies == {request: None}
    world.assert_updated()


def test_killed_after_any_effect_of_an_update() -> None:
    """The client starts again with the password before or after the update, and either works."""
    for world in killed_at_each_action(on_old_password, lambda world: world.log_in(P2)):
        world.start()
        state = (world.state, world.vault[HOME].password)
        assert state in {(State.STANDBY_OLD_PASSWORD, P1), (State.STANDBY, P2)}
        assert list(world.vault) == [HOME]


def test_killed_while_another_user_takes_over() -> None:
    """The user that the settings name has an entry that works."""
    for world in killed_at_each_action(on_old_password, lambda world: world.log_in(P1, OTHER)):
        world.start()
        home = world.settings == HOME
        assert world.is_in(State.STANDBY_OLD_PASSWORD if home else State.STANDBY)
