"""Logging out and quitting leave nothing behind, and answer every request that waits."""

from __future__ import annotations

from agent.core import events as ev
from agent.core.events import SignInKind, Timer
from agent.core.failure import Reason
from agent.core.state import State
from tests.support.core_driver import HOME, OTHER, P1, P2, P3, WRONG, World
from tests.support.core_scenes import on_old_password, pushed


def test_logging_out() -> None:
    """The vault's entry is deleted before the logout is answered; a restart finds none."""
    world = on_old_password()
    assert world.replies[world.log_out()] is None
    assert world.vault == {}
    assert world.is_in(State.LOGGED_OUT)
    assert world.view.days_left is None
    world.restart()
    assert world.is_in(State.LOGGED_OUT)
    without = World(stored=None, identity=None)
    without.start()
    assert without.replies[without.log_out()] is None


def test_logging_out_when_the_vault_fails() -> None:
    """When the vault fails, the logout's answer says so; later views do not show the failure."""
    world = on_old_password()
    world.vault_reason = Reason.VAULT_LOCKED
    world.change(P3)
    assert world.view.vault_problem is Reason.VAULT_LOCKED
    assert world.replies[world.log_out()] is Reason.VAULT_LOCKED
    assert world.is_in(State.LOGGED_OUT)
    assert world.view.vault_problem is None
    assert Timer.VAULT_RETRY not in world.timers


def test_logging_out_while_another_user_logs_in() -> None:
    """A logout refuses the other user's login as busy, and leaves no entry of either."""
    world = on_old_password("proof")
    first = world.log_in(P1, OTHER)
    out = world.log_out()
    world.release("proof")
    assert world.replies == {first: Reason.BUSY, out: None}
    assert (world.vault, world.settings) == ({}, HOME)
    assert world.is_in(State.LOGGED_OUT)


def test_logging_out_while_another_user_is_being_stored() -> None:
    """A logout deletes an entry whose write is under way; the write's late answer is ignored."""
    world = on_old_password("vault")
    first = world.log_in(P1, OTHER)
    out = world.log_out()
    world.hold = {"vault", "connect"}
    again = world.log_in(WRONG)
    world.release("vault")
    assert world.replies == {first: Reason.BUSY, out: None}
    world.release("connect")
    assert world.replies == {first: Reason.BUSY, out: None, again: Reason.CREDENTIALS}
    assert (world.vault, world.settings) == ({}, HOME)


def test_a_request_that_waits_is_answered() -> None:
    """Logout and quit refuse, as busy, a login that waits for a push or is being proved."""
    world = pushed("proof")
    waiting = world.log_in(P2)
    assert world.replies[world.log_out()] is None
    assert world.replies[waiting] is Reason.BUSY
    world = on_old_password("proof")
    proving = world.log_in(P2)
    world.tell(ev.QuitRequested())
    assert world.replies[proving] is Reason.BUSY


def test_nothing_stored_asks_once_per_sign_in() -> None:
    """A known user without a stored password is asked at each sign-in, not at an unlock."""
    world = World(stored=None)
    world.come("s1")
    world.start()
    assert world.is_in(State.LOGGED_OUT)
    world.come("s1", SignInKind.UNLOCK)
    assert world.asked == [None]
    world.come("s2")
    assert world.asked == [None, None]
    world.restart(session="s2")
    assert world.asked == [None, None]


def test_a_user_who_logged_out_or_never_logged_in_is_not_asked() -> None:
    """After a logout, or before any login, sign-ins do not ask for the password."""
    world = World(identity=None)
    world.restart(session="s1")
    assert world.asked == []
    world = on_old_password()
    world.log_out()
    world.restart(session="s2")
    assert world.asked == []
    world.log_in(P2)
    world.vault.clear()
    world.restart(session="s3")
    assert world.asked == [None]
