"""A password typed by the user: proven first, stored then; until that nothing else changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from agent.core import effects as do
from agent.core.credentials import Pending
from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from tests.support.core_driver import HOME, OTHER, P1, P2, P3, WRONG, Killed, World
from tests.support.core_effects import kinds


def on_old_password() -> World:
    """Standby with P1, which the console has replaced by P2 without a push."""
    world = World()
    world.start()
    world.change(P2, push=False)
    assert world.view.state is State.STANDBY_OLD_PASSWORD
    world.performed.clear()
    return world


def test_the_right_password_is_proven_and_stored() -> None:
    """It happens on the open connection; the old password and its warning are gone."""
    world = on_old_password()
    world.come()
    assert world.warning == 30
    world.performed.clear()
    request = world.sign_in(P2)
    assert world.replies == {request: None}
    assert kinds(world.performed, only="WriteVault") == ["WriteVault TYPED"]
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P2
    assert world.warning is None
    assert world.memory[HOME].old_valid_until is None
    assert list(world.sessions) == [1]


def test_the_reply_comes_after_the_vaults_answer() -> None:
    """Done means durable."""
    world = on_old_password()
    world.hold = {"vault"}
    request = world.sign_in(P2)
    assert request not in world.replies
    assert world.state is State.UPDATING
    world.release("vault")
    assert world.replies[request] is None


@pytest.mark.parametrize("typed", [WRONG, P3, "a\u0007b", ""])
def test_a_wrong_password_changes_nothing(typed: str) -> None:
    """Reported; the client waits on as before, on the same connection."""
    world = on_old_password()
    vault, memory, view = dict(world.vault), dict(world.memory), world.view
    request = world.sign_in(typed)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert (world.vault, world.memory, world.view) == (vault, memory, view)
    assert list(world.sessions) == [1]


@pytest.mark.parametrize("typed", ['"' * 700, "half\ud800"])
def test_a_password_that_no_vault_can_keep_is_not_sent(typed: str) -> None:
    """It could not be stored, so it is not tried."""
    world = on_old_password()
    request = world.sign_in(typed)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert kinds(world.performed) == ["Reply"]


def test_three_wrong_passwords_in_a_row() -> None:
    """The server closes after the third; the client is back in standby and answers each."""
    world = on_old_password()
    answers = [world.replies[world.sign_in(WRONG)] for _ in range(7)]
    assert answers == [Reason.CREDENTIALS] * 7
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.view.reason is None


def test_an_accepted_password_ends_the_count_of_refusals() -> None:
    """Server and client count from zero after a welcome, so one connection is enough."""
    world = on_old_password()
    for word, answer in (
        (WRONG, Reason.CREDENTIALS),
        (WRONG, Reason.CREDENTIALS),
        (P2, None),
        (WRONG, Reason.CREDENTIALS),
        (WRONG, Reason.CREDENTIALS),
    ):
        assert world.replies[world.sign_in(word)] is answer
    assert list(world.sessions) == [1]
    world.sign_in(WRONG)
    assert list(world.sessions) == [1, 2]
    assert world.state is State.STANDBY


def test_an_old_password_is_not_taken() -> None:
    """It works, but it is the one to get rid of: nothing changes."""
    world = on_old_password()
    request = world.sign_in(P1)
    assert world.replies == {request: Reason.OLD_PASSWORD}
    assert world.vault[HOME].password == P1
    assert world.state is State.STANDBY_OLD_PASSWORD


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("offline", Reason.UNREACHABLE),
        ("impostor", Reason.IMPOSTOR),
        ("throttled", Reason.THROTTLED),
        ("disabled", Reason.DISABLED),
    ],
)
def test_trouble_on_the_way_is_the_answer(spoil: str, reason: Reason) -> None:
    """The user gets the reason, and the client tries what was stored again."""
    world = World()
    world.online = False
    world.start()
    world.online, world.impostor = spoil != "offline", spoil == "impostor"
    world.throttle_s = 30 if spoil == "throttled" else 0
    world.home.says = "disabled" if spoil == "disabled" else None
    before = dict(world.vault)
    request = world.sign_in(P1)
    assert world.replies == {request: reason}
    assert world.view.state is State.RETRYING
    assert world.vault == before
    world.online, world.impostor, world.throttle_s, world.home.says = True, False, 0, None
    world.advance(7200)
    assert world.state is State.STANDBY


def test_a_silent_server_is_an_answer_too() -> None:
    """The user does not wait for ever."""
    world = on_old_password()
    world.hold = {"server"}
    request = world.sign_in(P2)
    world.advance(21)
    assert world.replies == {request: Reason.TIMED_OUT}


def test_the_first_sign_in() -> None:
    """From nothing to standby, with a device key of its own; a restart logs in again."""
    world = World(stored=None, identity=None)
    world.start()
    request = world.sign_in(P1)
    assert world.replies == {request: None}
    assert world.state is State.STANDBY
    assert world.settings == HOME
    world.restart()
    assert world.state is State.STANDBY


def test_a_failed_first_sign_in_leaves_nothing() -> None:
    """No settings, no entry, no memory."""
    world = World(stored=None, identity=None)
    world.start()
    request = world.sign_in(WRONG)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.state is State.LOGGED_OUT
    assert (world.settings, world.vault, world.memory) == (None, {}, {})


def test_another_user_takes_over() -> None:
    """Another key, the first user's entry gone, nothing of the first user's memory."""
    world = on_old_password()
    key = world.vault[HOME].device_key
    request = world.sign_in(P1, OTHER)
    assert world.replies == {request: None}
    assert world.settings == OTHER
    assert list(world.vault) == [OTHER]
    assert world.vault[OTHER].device_key != key
    assert world.memory[OTHER].old_valid_until is None
    assert world.view.user == OTHER.user
    assert world.state is State.STANDBY


def test_another_user_who_does_not_get_in() -> None:
    """The first one goes on."""
    world = on_old_password()
    request = world.sign_in(WRONG, OTHER)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.settings == HOME
    assert list(world.vault) == [HOME]
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.view.user == HOME.user


def test_another_user_who_is_on_an_old_password() -> None:
    """Nobody's memory changes by a sign-in that does not count."""
    world = World()
    world.start()
    memory = dict(world.memory)
    world.accounts[OTHER.user].retired = [(P3, world.server_now + timedelta(days=9))]
    request = world.sign_in(P3, OTHER)
    assert world.replies == {request: Reason.OLD_PASSWORD}
    assert world.memory == memory
    assert world.state is State.STANDBY


def test_a_request_during_a_push_is_answered_after_it() -> None:
    """The update is finished first; then it is the user's turn."""
    world = World()
    world.start()
    world.hold = {"proof"}
    world.change(P2)
    request = world.sign_in(P2)
    assert world.replies == {}
    world.release("proof")
    assert world.replies == {request: None}
    assert world.tried == [P1, P2, P2]
    assert world.state is State.STANDBY


def test_a_request_during_a_push_that_is_cut_off() -> None:
    """The queue moves on when the connection is lost, too."""
    world = World()
    world.start()
    world.hold = {"proof"}
    world.change(P2)
    request = world.sign_in(P2)
    world.hold = set()
    world.proof_jobs.clear()
    world.cut()
    assert world.replies == {request: None}
    assert world.vault[HOME].password == P2


def test_a_second_request_is_told_to_wait() -> None:
    """One at a time, and each is answered."""
    world = on_old_password()
    world.hold = {"proof"}
    first, second = world.sign_in(P2), world.sign_in(P3)
    assert world.replies == {second: Reason.BUSY}
    world.release("proof")
    assert world.replies == {first: None, second: Reason.BUSY}


def test_a_push_during_a_request() -> None:
    """The console changes the password while the user types it: both come to an end."""
    world = on_old_password()
    world.hold = {"proof"}
    request = world.sign_in(P2)
    world.change(P3)
    world.release("proof")
    assert world.replies == {request: Reason.OLD_PASSWORD}
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P3


def test_a_push_right_after_the_users_own_login() -> None:
    """It comes while the user's password is being stored, and is not dropped."""
    world = on_old_password()
    world.hold = {"vault"}
    request = world.sign_in(P2)
    world.change(P3)
    world.release("vault")
    assert world.replies == {request: None}
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P3


def test_a_change_right_after_the_users_own_login() -> None:
    """Without a push: the days of the password just stored are the server's latest word."""
    world = on_old_password()
    world.hold = {"vault"}
    world.sign_in(P2)
    world.advance(5)
    world.change(P3, push=False)
    world.release("vault")
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.view.valid_until == world.server_now + timedelta(days=30)


def test_a_request_before_the_vault_was_read() -> None:
    """The request waits for the vault, and a wrong password leaves the stored one in use."""
    world = World()
    world.hold = {"vault"}
    world.start()
    request = world.sign_in(WRONG)
    assert (world.replies, world.state) == ({}, State.UPDATING)
    world.release("vault")
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.state is State.STANDBY
    assert world.tried == [WRONG, P1]


def test_a_request_before_the_start() -> None:
    """A second program's `login` may be faster than the first event."""
    world = World(stored=None, identity=None)
    world.hold = {"connect"}
    request = world.sign_in(P1)
    world.start()
    world.release("connect")
    assert world.replies == {request: None}
    assert world.state is State.STANDBY


def test_the_stored_password_typed_again_and_refused() -> None:
    """The client knows then that it is wrong, and does not send it again."""
    world = World()
    world.online = False
    world.start()
    world.online = True
    world.home.password = P2
    request = world.sign_in(P1)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.tried == [P1]
    assert world.state is State.NEEDS_PASSWORD
    world.restart()
    assert world.tried == [P1]


def test_the_pending_password_typed_and_refused() -> None:
    """The same for one that was pushed."""
    world = World()
    world.vault[HOME] = replace(world.vault[HOME], pending=Pending(change_id="a" * 32, password=P3))
    world.hold = {"connect"}
    world.start()
    world.hold = set()
    request = world.sign_in(P3)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.tried == [P3, P1]
    assert world.state is State.STANDBY


def test_the_old_password_ends_while_the_new_one_is_typed() -> None:
    """`expired` is about the login in force; the user's password is tried again and accepted."""
    world = on_old_password()
    world.advance(timedelta(days=30, seconds=-5))
    world.hold = {"proof"}
    request = world.sign_in(P2)
    world.advance(6)
    world.release("proof")
    assert world.replies == {request: None}
    assert world.state is State.STANDBY


def test_killed_after_any_effect_of_an_update() -> None:
    """The client comes back with the password before or after it, and either works."""
    total = _update_until(kill_at=None).actions
    for kill_at in range(total):
        world = _update_until(kill_at=kill_at)
        world.restart()
        state = (world.state, world.vault[HOME].password)
        assert state in {(State.STANDBY_OLD_PASSWORD, P1), (State.STANDBY, P2)}
        assert list(world.vault) == [HOME]


def _update_until(*, kill_at: int | None) -> World:
    world = on_old_password()
    world.actions, world.kill_at = 0, kill_at
    try:
        world.sign_in(P2)
    except Killed:
        pass
    else:
        assert kill_at is None
    return world


def test_killed_while_another_user_takes_over() -> None:
    """The user that the settings name has an entry that works."""
    for kill_at in range(200):
        world = on_old_password()
        world.actions, world.kill_at = 0, kill_at
        try:
            world.sign_in(P1, OTHER)
        except Killed:
            world.restart()
            expected = State.STANDBY_OLD_PASSWORD if world.settings == HOME else State.STANDBY
            assert world.state is expected
        else:
            return
    raise AssertionError("never finished")


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    """`notice` and `update_failed` come after a login only; before it a server would hang up."""
    world = on_old_password()
    for effect in world.performed:
        if isinstance(effect, do.Send):
            assert isinstance(effect.message, msg.Hello | msg.Proof)
