"""A vault that fails, at every step: the user sees a reason, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core.credentials import Identity
from agent.core.effects import WriteReason
from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from tests.support.core_driver import HOME, OTHER, P1, P2, P3, World
from tests.support.core_scenes import (
    killed_at_each_action,
    on_old_password,
    pushed,
    standby,
    started,
)

REASONS = [Reason.VAULT_LOCKED, Reason.VAULT_MISSING, Reason.VAULT_BROKEN]


def uncommitted() -> World:
    """Return a client that could not write that the pushed P2, proved now, is current."""
    world = pushed("proof")
    world.vault_reason = Reason.VAULT_MISSING
    world.release("proof")
    assert world.state is State.STANDBY
    assert world.view.vault_problem is Reason.VAULT_MISSING
    assert world.vault[HOME].password == P1
    return world


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize(
    ("typed", "works", "answer", "tried"),
    [
        pytest.param(None, True, None, [P1], id="asked again later"),
        pytest.param(P1, True, None, [P1], id="replaced by the right password"),
        pytest.param(P3, True, Reason.CREDENTIALS, [P3, P1], id="a wrong password leaves it"),
        pytest.param(P1, False, None, [P1], id="stays locked, and does not hold up the answer"),
    ],
)
def test_a_vault_that_cannot_be_read(
    reason: Reason, typed: str | None, works: bool, answer: Reason | None, tried: list[str]
) -> None:
    """The user sees why; the client asks it again, also before it makes a new device key."""
    world = started(vault_reason=reason)
    assert world.is_in(State.RETRYING, reason)
    assert world.view.vault_problem is reason
    entry = world.vault[HOME]
    world.vault_reason = None if works else reason
    if typed is None:
        world.advance(7200)
    else:
        assert world.replies[world.log_in(typed)] is (answer if works else reason)
    assert world.tried == tried
    assert world.vault[HOME] == entry
    assert world.state is (State.STANDBY if works else State.RETRYING)


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
    world = pushed("vault")
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
    world = pushed("vault")
    world.change(P3)
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    world.vault_reason = None
    world.advance(91)
    world.assert_updated(P3)
    assert P2 not in world.tried


@pytest.mark.parametrize("killed", [False, True])
def test_the_commit_cannot_be_written(*, killed: bool) -> None:
    """A commit that the vault refuses is repeated until the vault works, also after a restart."""
    world = uncommitted()
    if killed:
        world.kill()
        world.start()
    world.advance(300)
    world.vault_reason = None
    world.advance(100)
    world.assert_updated()
    assert world.tried == ([P1, P2, P2] if killed else [P1, P2])


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


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_typed_password_cannot_be_written(identity: Identity) -> None:
    """The user is informed; everything is as before."""
    world = on_old_password()
    world.accounts[OTHER.user].password = P2
    before = dict(world.vault)
    world.vault_reason = Reason.VAULT_LOCKED
    request = world.log_in(P2, identity)
    assert world.replies == {request: Reason.VAULT_LOCKED}
    assert (world.vault, world.settings) == (before, HOME)
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.view.days_left == 30


def test_a_typed_password_is_written_while_the_connection_is_lost() -> None:
    """A proved password is stored even when the connection is lost during the write."""
    world = on_old_password()
    world.hold = {"vault"}
    request = world.log_in(P2)
    assert world.is_in(State.UPDATING)
    world.cut()
    assert world.replies == {}
    world.release("vault")
    assert world.replies == {request: None}
    assert world.tried == [P1, P2, P2]
    world.assert_updated()


def test_a_late_answer_about_a_push_is_no_answer_to_a_typed_password() -> None:
    """Answers belong to requests by their numbers."""
    world = pushed("vault")
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
