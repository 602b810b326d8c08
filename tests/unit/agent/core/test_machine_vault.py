"""A vault that fails, at every step: the user sees a reason, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core.credentials import Credentials
from agent.core.effects import WriteReason
from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from tests.support.core_driver import (
    HOME,
    OTHER,
    P1,
    P2,
    P3,
    World,
    killed_at_each_action,
    on_old_password,
    standby,
)

REASONS = [Reason.VAULT_LOCKED, Reason.VAULT_MISSING, Reason.VAULT_BROKEN]


def unreadable(reason: Reason = Reason.VAULT_LOCKED) -> World:
    """Return a client that has started while its vault could not be read."""
    world = World()
    world.vault_reason = reason
    world.start()
    assert world.is_in(State.RETRYING, reason)
    assert world.view.vault_problem is reason
    return world


def uncommitted() -> World:
    """Return a client that could not write that the pushed P2, proved now, is current."""
    world = standby()
    world.hold = {"proof"}
    world.change(P2)
    world.vault_reason = Reason.VAULT_MISSING
    world.release("proof")
    assert world.state is State.STANDBY
    assert world.view.vault_problem is Reason.VAULT_MISSING
    assert world.vault[HOME].password == P1
    return world


@pytest.mark.parametrize("reason", REASONS)
def test_a_vault_that_cannot_be_read(reason: Reason) -> None:
    """The client asks it again later, and logs in then."""
    world = unreadable(reason)
    world.vault_reason = None
    world.advance(7200)
    world.assert_updated(P1)


@pytest.mark.parametrize(("typed", "answer"), [(P1, None), (P3, Reason.CREDENTIALS)])
def test_a_login_while_the_vault_is_unreadable(typed: str, answer: Reason | None) -> None:
    """The right password replaces the entry; a wrong one leaves the stored one to be tried."""
    world = unreadable(Reason.VAULT_BROKEN)
    world.vault_reason = None
    assert world.replies[world.log_in(typed)] is answer
    assert world.tried == ([P1] if typed == P1 else [P3, P1])
    world.assert_updated(P1)


def test_the_vault_is_read_again_before_a_key_is_made() -> None:
    """A login while the vault is not read keeps the device key, so the server sees the same PC."""
    world = unreadable()
    key = world.vault[HOME].device_key
    world.vault_reason = None
    world.change(P2)
    assert world.replies[world.log_in(P2)] is None
    assert world.vault[HOME] == Credentials(password=P2, device_key=key)


def test_a_vault_that_stays_locked_does_not_hold_up_the_answer() -> None:
    """The second read fails, too: the password is tried, and cannot be stored."""
    world = unreadable()
    assert world.replies[world.log_in(P1)] is Reason.VAULT_LOCKED
    assert world.tried == [P1]
    assert world.state is State.RETRYING


def test_pending_cannot_be_written() -> None:
    """The server is informed, the client waits with the old password, and tries again later."""
    world = standby()
    world.vault_reason = Reason.VAULT_LOCKED
    change = world.change(P2)
    assert world.failed == [msg.UpdateFailed(change_id=change, reason="vault")]
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.view.vault_problem is Reason.VAULT_LOCKED
    assert world.view.days_left == 30
    assert world.tried == [P1]
    world.vault_reason = None
    world.advance(100)
    world.assert_updated()


def test_pending_cannot_be_written_and_the_connection_is_lost() -> None:
    """Nothing is sent before the next login; the server repeats the push."""
    world = standby()
    world.hold = {"vault"}
    world.change(P2)
    world.cut()
    world.hold.add("proof")
    world.advance(5)
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    assert world.failed == []
    assert not world.sessions[2].closed
    world.vault_reason = None
    world.release("proof")
    world.advance(100)
    world.assert_updated()


def test_an_older_push_does_not_replace_a_newer_one() -> None:
    """The first cannot be stored while the second waits: only the second is kept."""
    world = standby()
    world.hold = {"vault"}
    world.change(P2)
    world.change(P3)
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    world.vault_reason = None
    world.advance(91)
    world.assert_updated(P3)
    assert P2 not in world.tried


def test_the_commit_cannot_be_written() -> None:
    """A commit that the vault refuses is repeated until the vault works."""
    world = uncommitted()
    world.advance(300)
    world.vault_reason = None
    world.advance(100)
    world.assert_updated()


def test_a_failed_write_is_repeated_after_a_wrong_password() -> None:
    """Its timer fires while the user's password is tried, and is set again."""
    world = uncommitted()
    world.vault_reason = None
    world.advance(50)
    world.hold = {"proof"}
    world.log_in(P3)
    world.advance(15)
    assert world.vault[HOME].password == P1
    world.release("proof")
    world.advance(91)
    world.assert_updated()


def test_killed_before_the_commit_was_repeated() -> None:
    """The vault still has both passwords: the pending one is tried first, and committed."""
    world = uncommitted()
    world.kill()
    world.vault_reason = None
    world.tried.clear()
    world.start()
    assert world.tried == [P2]
    world.assert_updated()


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_typed_password_cannot_be_written(identity: object) -> None:
    """The user is informed; everything is as before."""
    world = on_old_password()
    world.accounts[OTHER.user].password = P2
    before = dict(world.vault)
    world.vault_reason = Reason.VAULT_LOCKED
    request = world.log_in(P2, HOME if identity == HOME else OTHER)
    assert world.replies == {request: Reason.VAULT_LOCKED}
    assert (world.vault, world.settings) == (before, HOME)
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.view.days_left == 30


def test_a_typed_password_is_written_while_the_connection_is_lost() -> None:
    """A proved password is stored even when the connection is lost during the write."""
    world = on_old_password()
    world.hold = {"vault"}
    request = world.log_in(P2)
    world.cut()
    assert world.replies == {}
    world.release("vault")
    assert world.replies == {request: None}
    assert world.tried == [P1, P2, P2]
    world.assert_updated()


def test_a_late_answer_about_a_push_is_no_answer_to_a_typed_password() -> None:
    """Answers belong to requests by their numbers."""
    world = standby()
    world.hold = {"vault"}
    world.change(P2)
    world.cut()
    request = world.log_in(P2)
    world.step("vault")  # the saved state's
    world.step("vault")
    assert request not in world.replies
    world.release("vault")
    assert world.replies == {request: None}
    world.assert_updated()


def test_writes_are_repeated_neither_often_nor_in_the_middle_of_an_update() -> None:
    """Every half minute or more, and not between proof and commit."""
    world = standby()
    world.vault_reason = Reason.VAULT_LOCKED
    world.change(P2)
    world.performed.clear()
    world.advance(600)
    assert 6 <= len(world.seen(do.WriteVault)) <= 20
    world.hold = {"proof"}
    world.vault_reason = None
    world.advance(91)
    assert WriteReason.COMMIT not in {each.reason for each in world.seen(do.WriteVault)}
    world.release("proof")
    world.advance(91)
    world.assert_updated()


@pytest.mark.parametrize("reason", REASONS)
def test_killed_at_any_moment_with_a_vault_that_comes_and_goes(reason: Reason) -> None:
    """After failing writes and a kill together, the update is finished or still known."""

    def update(world: World) -> None:
        world.hold = {"proof"}
        world.change(P2)
        world.vault_reason = reason
        world.release("proof")
        world.advance(100)
        world.vault_reason = None
        world.advance(100)
        world.assert_updated()

    for world in killed_at_each_action(standby, update):
        world.vault_reason = None
        world.start()
        world.advance(timedelta(hours=1))
        world.assert_updated(world.home.password)
