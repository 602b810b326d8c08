"""Trouble with the vault, at every step: a state that the user sees, and nothing lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from tests.support.core_driver import HOME, OTHER, P1, P2, P3, Killed, World
from tests.support.core_effects import kinds

REASONS = [Reason.VAULT_LOCKED, Reason.VAULT_MISSING, Reason.VAULT_BROKEN]


def waiting() -> World:
    world = World()
    world.start()
    world.performed.clear()
    return world


@pytest.mark.parametrize("reason", REASONS)
def test_a_vault_that_cannot_be_read(reason: Reason) -> None:
    """Shown as the reason; asked again later, and then all is well."""
    world = World()
    world.vault_reason = reason
    world.start()
    assert world.view.state is State.RETRYING
    assert world.view.reason is world.view.vault_problem is reason
    world.vault_reason = None
    world.advance(7200)
    assert world.state is State.STANDBY
    assert world.view.vault_problem is None


def test_an_unreadable_entry_is_replaced_when_the_user_signs_in() -> None:
    """Broken for good, it is no obstacle to the right password."""
    world = World()
    world.vault_reason = Reason.VAULT_BROKEN
    world.start()
    world.vault_reason = None
    request = world.sign_in(P1)
    assert world.replies == {request: None}
    assert world.state is State.STANDBY
    assert world.view.vault_problem is None


def test_a_failed_sign_in_does_not_hide_an_unreadable_vault() -> None:
    """The vault is asked again; it may hold a password that works."""
    world = World()
    world.vault_reason = Reason.VAULT_LOCKED
    world.start()
    world.vault_reason = None
    request = world.sign_in(P3)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.state is State.STANDBY
    assert world.tried == [P3, P1]


def test_pending_cannot_be_written() -> None:
    """The client reports it, waits on with the old one, and tries again later."""
    world = waiting()
    world.vault_reason = Reason.VAULT_LOCKED
    change = world.change(P2)
    assert world.failed == [msg.UpdateFailed(change_id=change, reason="vault")]
    assert world.view.state is State.STANDBY_OLD_PASSWORD
    assert world.view.vault_problem is Reason.VAULT_LOCKED
    assert world.view.days_left == 30
    assert world.tried == [P1]
    world.vault_reason = None
    world.advance(100)
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P2
    assert world.view.vault_problem is None


def test_pending_cannot_be_written_and_the_connection_is_lost() -> None:
    """Nothing is said before the next login; the server sends the push again."""
    world = waiting()
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
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P2


def test_the_commit_cannot_be_written() -> None:
    """The vault still has both, so a restart works; it is made up for when the vault works."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.vault_reason = Reason.VAULT_MISSING
    world.release("proof")
    assert world.view.state is State.STANDBY
    assert world.view.vault_problem is Reason.VAULT_MISSING
    assert world.vault[HOME].password == P1
    world.advance(300)
    world.vault_reason = None
    world.advance(100)
    assert world.vault[HOME].password == P2
    assert world.vault[HOME].pending is None
    assert world.view.vault_problem is None
    assert world.state is State.STANDBY


def test_a_failed_write_is_not_forgotten_over_a_wrong_password() -> None:
    """The time to make up for it comes while the user's password is tried: it comes again."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.vault_reason = Reason.VAULT_MISSING
    world.release("proof")
    world.vault_reason = None
    world.advance(50)
    world.hold = {"proof"}
    world.sign_in(P3)
    world.advance(15)
    assert world.vault[HOME].password == P1
    world.release("proof")
    world.advance(91)
    assert world.vault[HOME].password == P2


def test_killed_before_the_commit_was_made_up_for() -> None:
    """Pending is tried first, and committed then."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.vault_reason = Reason.VAULT_MISSING
    world.release("proof")
    world.kill()
    world.vault_reason = None
    world.tried.clear()
    world.start()
    assert world.tried == [P2]
    assert world.vault[HOME].pending is None
    assert world.state is State.STANDBY


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_candidate_cannot_be_written(identity: object) -> None:
    """The user gets the reason; everything is as before."""
    world = waiting()
    world.accounts[OTHER.user].password = P2
    world.change(P2, push=False)
    before = dict(world.vault)
    world.vault_reason = Reason.VAULT_LOCKED
    request = world.sign_in(P2, HOME if identity == HOME else OTHER)
    assert world.replies == {request: Reason.VAULT_LOCKED}
    assert world.vault == before
    assert world.settings == HOME
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.view.days_left == 30


def test_a_candidate_is_written_while_the_connection_is_lost() -> None:
    """Proven is proven: the vault's answer decides."""
    world = waiting()
    world.change(P2, push=False)
    world.hold = {"vault"}
    request = world.sign_in(P2)
    world.cut()
    assert world.replies == {}
    world.release("vault")
    assert world.replies == {request: None}
    assert world.state is State.STANDBY
    assert world.tried == [P1, P2, P2]


def test_a_late_answer_about_a_push_is_no_answer_to_a_candidate() -> None:
    """Answers belong to jobs by their order, not by what is going on when they come."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    world.cut()
    request = world.sign_in(P2)
    world.step("vault")  # the memory's
    world.step("vault")
    assert request not in world.replies
    world.release("vault")
    assert world.replies == {request: None}
    assert world.state is State.STANDBY


def test_writes_are_retried_neither_often_nor_in_the_middle_of_an_update() -> None:
    """Every half minute or more, and not between proof and commit."""
    world = waiting()
    world.vault_reason = Reason.VAULT_LOCKED
    world.change(P2)
    world.performed.clear()
    world.advance(600)
    assert 6 <= len(kinds(world.performed, only="WriteVault")) <= 20
    world.hold = {"proof"}
    world.vault_reason = None
    world.advance(91)
    assert "WriteVault COMMIT" not in kinds(world.performed)
    world.release("proof")
    world.advance(91)
    assert world.state is State.STANDBY


@pytest.mark.parametrize("reason", REASONS)
def test_killed_at_any_moment_with_a_vault_that_comes_and_goes(reason: Reason) -> None:
    """Failing writes and kills together: the client comes back, the update is finished or known."""
    for kill_at in range(300):
        world = World()
        world.start()
        world.actions, world.kill_at = 0, kill_at
        try:
            world.hold = {"proof"}
            world.change(P2)
            world.vault_reason = reason
            world.release("proof")
            world.advance(100)
            world.vault_reason = None
            world.advance(100)
        except Killed:
            world.hold, world.vault_reason = set(), None
            world.restart()
            world.advance(timedelta(hours=1))
        assert world.state is State.STANDBY
        assert world.vault[HOME].password == world.home.password
        assert world.vault[HOME].pending is None
        if world.kill_at is not None:
            return
    raise AssertionError("never finished")
