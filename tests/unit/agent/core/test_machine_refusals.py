"""A refused password is not sent again automatically; the user is asked once per sign-in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.effects import WriteReason
from agent.core.events import SignInKind
from agent.core.failure import Reason
from agent.core.state import State
from protocol.messages import WarningOutcome
from tests.support.core_driver import HOME, OTHER, P1, P2, P3, World
from tests.support.core_scenes import on_old_password, standby


def refused() -> World:
    """Return a client that has started with a password that the server no longer knows."""
    world = World()
    world.come()
    world.home.password = P2
    world.start()
    assert world.is_in(State.NEEDS_PASSWORD, Reason.CREDENTIALS)
    return world


def test_one_refusal_is_enough() -> None:
    """One refusal marks the password in the vault; no try follows, also after a restart."""
    world = refused()
    assert (world.vault[HOME].password, world.vault[HOME].refused) == (P1, "credentials")
    world.advance(timedelta(days=3))
    world.tell(ev.NetworkChanged())
    world.tell(ev.ReconnectRequested())
    assert world.timers == {}
    assert world.asked == [Reason.CREDENTIALS]
    world.restart(session="s1")
    assert world.is_in(State.NEEDS_PASSWORD, Reason.CREDENTIALS)
    assert (world.sessions, world.tried) == ({}, [P1])


def test_the_user_is_asked_once_per_sign_in() -> None:
    """The user is asked again at the next sign-in, not after a restart or an unlock."""
    world = refused()
    world.restart(session="s1")
    world.come("s1", SignInKind.UNLOCK)
    world.come("s1", SignInKind.CONNECT)
    assert len(world.asked) == 1
    world.come("s2")
    assert len(world.asked) == 2
    world.come("s2", SignInKind.UNLOCK)
    assert len(world.asked) == 2


def test_asking_counts_when_it_was_seen() -> None:
    """An unseen question is repeated each minute, until the user has seen one."""
    world = World()
    world.toast = WarningOutcome.UNSEEN
    world.come()
    world.home.password = P2
    world.start()
    world.advance(timedelta(minutes=2.5))
    assert len(world.asked) == 3
    assert HOME not in world.memory
    world.hold.add("toast")  # no outcome of the next question
    world.advance(timedelta(minutes=1))
    world.toast = WarningOutcome.SHOWN
    world.jobs["toast"].clear()
    world.release("toast")
    world.advance(timedelta(minutes=2))
    world.come("s1", SignInKind.UNLOCK)
    world.advance(timedelta(days=1))
    assert len(world.asked) == 5
    assert (world.memory[HOME].asked_session, world.timers) == ("s1", {})
    assert world.notices == []


def test_a_user_who_is_away_or_without_toasts_is_asked_after_the_return() -> None:
    """No question behind the lock; after a failed toast, the next is at the user's return."""
    world = World()
    world.toast = WarningOutcome.FAILED
    world.come()
    world.tell(ev.UserLeft())
    world.home.password = P2
    world.start()
    assert world.asked == []
    for count in (1, 2):
        world.come("s1", SignInKind.UNLOCK)
        world.advance(timedelta(hours=1))
        assert len(world.asked) == count


def test_a_click_on_a_warning_that_is_gone_is_not_one_on_the_question() -> None:
    """A late click on the warning does not count as an answer to the later question."""
    world = on_old_password()
    world.come()
    world.home.retired.clear()
    world.cut()
    world.toast = WarningOutcome.UNSEEN
    world.advance(10)
    assert world.is_in(State.NEEDS_PASSWORD, Reason.CREDENTIALS)
    world.tell(ev.WarningAnswered(30, WarningOutcome.CLICKED))
    assert world.memory[HOME].asked_session is None
    world.tell(ev.WarningAnswered(None, WarningOutcome.CLICKED))
    assert world.memory[HOME].asked_session == "s1"


def test_the_right_password_ends_it() -> None:
    """The right password removes the mark, and a later refusal asks the user again."""
    world = refused()
    assert world.replies[world.log_in(P3)] is Reason.CREDENTIALS
    assert world.is_in(State.NEEDS_PASSWORD, Reason.CREDENTIALS)
    assert world.tried == [P1, P3], "only the typed password is tried"
    assert world.replies[world.log_in(P2)] is None
    world.assert_updated()
    assert world.memory[HOME].asked_session is None


def test_an_ended_pending_password_gives_way_on_another_connection() -> None:
    """After `expired` for a pending password, the next connection tries the current one."""
    world = World(pending=P3)
    world.home.retired = [(P3, world.server_now)]
    world.start()
    assert world.tried == [P3, P1]
    assert list(world.sessions) == [1, 2]
    world.assert_updated(P1)


def test_expired_while_waiting() -> None:
    """When the old password ends, the client asks the user for the new one."""
    world = on_old_password()
    world.come()
    world.advance(timedelta(days=29, hours=23))
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    world.advance(timedelta(hours=2))
    assert world.is_in(State.NEEDS_PASSWORD, Reason.EXPIRED)
    assert world.view.days_left is None
    assert world.vault[HOME].refused == "expired"
    assert world.memory[HOME].old_valid_until is None
    assert world.asked == [Reason.EXPIRED]
    world.restart()
    assert world.tried == [P1]
    assert world.is_in(State.NEEDS_PASSWORD, Reason.EXPIRED)
    world = on_old_password()  # the PC is off when it ends
    world.kill()
    world.server_now += timedelta(days=31)
    world.start()
    assert world.is_in(State.NEEDS_PASSWORD, Reason.EXPIRED)
    assert world.tried == [P1, P1]


@pytest.mark.parametrize(
    ("reason", "writes"),
    [
        (Reason.VAULT_LOCKED, {WriteReason.REFUSED, WriteReason.COMMIT}),
        (Reason.VAULT_NO_ANSWER, {WriteReason.REFUSED}),
    ],
)
def test_a_mark_that_the_vault_does_not_take_is_written_later(
    reason: Reason, writes: set[WriteReason]
) -> None:
    """A refusal counts at once, and is written to the vault as soon as the vault works."""
    world = World()
    world.home.password = P2
    world.hold = {"server"}
    world.start()
    world.vault_reason = reason
    world.release("server")
    assert world.is_in(State.NEEDS_PASSWORD, Reason.CREDENTIALS)
    assert world.view.vault_problem is reason
    assert world.vault[HOME].refused is None
    world.advance(600)
    world.vault_reason = None
    world.advance(100)
    assert world.vault[HOME].refused == "credentials"
    assert world.view.vault_problem is None
    assert world.tried == [P1]
    assert {each.reason for each in world.seen(do.WriteVault)} == writes


@pytest.mark.parametrize("held", [True, False])
def test_a_refused_password_is_not_sent_when_the_vault_opens(*, held: bool) -> None:
    """A password refused while the vault is closed is not sent once the vault opens."""
    world = World()
    world.home.password = P2
    world.hold = {"vault"} if held else set()
    world.vault_reason = None if held else Reason.VAULT_LOCKED
    world.start()
    request = world.log_in(P1)
    world.advance(91)
    assert world.replies == {request: Reason.CREDENTIALS}
    world.vault_reason = None
    world.release("vault")
    world.advance(7200)
    assert world.state is State.NEEDS_PASSWORD
    assert world.tried == [P1]
    assert world.vault[HOME].refused == "credentials"


def test_a_refused_password_may_be_typed_again() -> None:
    """A refused password that the user types is tried, and stored if the server accepts it."""
    world = refused()
    world.home.password = P1
    assert world.replies[world.log_in(P1)] is None
    world.tell(ev.ReconnectRequested())
    world.assert_updated(P1)


def test_a_refused_password_that_is_pushed_is_tried() -> None:
    """A pushed password is tried even when it was refused before the change."""
    world = standby()
    world.log_in(P2)
    world.change(P2)
    assert world.tried == [P1, P2, P2]
    world.assert_updated()
    world.log_in(P3)
    world.tell(ev.ReconnectRequested())
    world.assert_updated()


def test_another_users_refused_password_is_another_one() -> None:
    """A password that was refused for one user is tried for another."""
    world = standby()
    world.accounts[OTHER.user].password = P3
    assert world.replies[world.log_in(P1, OTHER)] is Reason.CREDENTIALS
    world.tell(ev.ReconnectRequested())
    world.assert_updated(P1)
