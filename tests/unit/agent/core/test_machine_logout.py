"""Logging out and quitting: nothing stays behind, and every open request is answered."""

from __future__ import annotations

from agent.core import effects as do
from agent.core import events as ev
from agent.core.events import SignInKind
from agent.core.failure import Reason
from agent.core.state import State
from tests.support.core_driver import HOME, OTHER, P1, P2, WRONG, World


def on_old_password() -> World:
    """Standby with P1, which the console has replaced by P2 without a push."""
    world = World()
    world.start()
    world.change(P2, push=False)
    assert world.view.state is State.STANDBY_OLD_PASSWORD
    world.performed.clear()
    return world


def test_logging_out() -> None:
    """The entry is gone before the answer; a restart finds nothing."""
    world = on_old_password()
    request = world.log_out()
    assert world.replies == {request: None}
    assert world.vault == {}
    assert world.state is State.LOGGED_OUT
    assert world.view.days_left is None
    world.restart()
    assert world.state is State.LOGGED_OUT


def test_logging_out_when_the_vault_fails() -> None:
    """The user gets the message that the password is still there."""
    world = on_old_password()
    world.vault_reason = Reason.VAULT_LOCKED
    request = world.log_out()
    assert world.replies == {request: Reason.VAULT_LOCKED}
    assert world.state is State.LOGGED_OUT


def test_logging_out_twice_at_once() -> None:
    """Each request gets its own answer."""
    world = on_old_password()
    world.hold = {"vault"}
    first, second = world.log_out(), world.log_out()
    world.release("vault")
    assert world.replies == {first: None, second: None}


def test_logging_out_while_another_user_signs_in() -> None:
    """Nothing of either stays behind."""
    world = on_old_password()
    world.hold = {"proof"}
    first = world.sign_in(P1, OTHER)
    out = world.log_out()
    world.release("proof")
    assert world.replies == {first: Reason.BUSY, out: None}
    assert world.vault == {}
    assert world.settings == HOME
    assert world.state is State.LOGGED_OUT


def test_logging_out_while_another_user_is_being_stored() -> None:
    """The entry goes again, and its late answer is no answer to the next one who signs in."""
    world = on_old_password()
    world.hold = {"vault"}
    first = world.sign_in(P1, OTHER)
    out = world.log_out()
    world.hold = {"vault", "connect"}
    again = world.sign_in(WRONG)
    world.release("vault")
    assert world.replies == {first: Reason.BUSY, out: None}
    world.release("connect")
    assert world.replies == {first: Reason.BUSY, out: None, again: Reason.CREDENTIALS}
    assert world.vault == {}
    assert world.settings == HOME


def test_quitting_answers_who_waits() -> None:
    """A request that cannot be finished is not left hanging."""
    world = on_old_password()
    world.hold = {"proof"}
    request = world.sign_in(P2)
    world.tell(ev.QuitRequested())
    assert world.replies == {request: Reason.BUSY}


def test_logging_out_without_an_account() -> None:
    """There is nothing to delete, and the request is answered."""
    world = World(stored=None, identity=None)
    world.start()
    assert world.replies[world.log_out()] is None
    assert world.state is State.LOGGED_OUT


def test_logging_out_during_a_push_answers_who_waits() -> None:
    """The request that waits for the push is refused as busy."""
    world = World()
    world.start()
    world.hold = {"proof"}
    world.change(P2)
    waiting = world.sign_in(P2)
    out = world.log_out()
    assert world.replies == {waiting: Reason.BUSY, out: None}


def test_logging_out_forgets_what_was_wrong_with_the_vault() -> None:
    """Nothing is stored any more, so nothing about its store is shown."""
    world = World()
    world.start()
    world.vault_reason = Reason.VAULT_LOCKED
    world.change(P2)
    assert world.view.vault_problem is Reason.VAULT_LOCKED
    world.log_out()
    assert world.view.vault_problem is None


def asked(world: World) -> list[Reason | None]:
    return [each.reason for each in world.performed if isinstance(each, do.AskForPassword)]


def test_nothing_stored_asks_once_per_sign_in() -> None:
    """A known user without a stored password is asked at each sign-in, and not at an unlock."""
    world = World(stored=None)
    world.come("s1")
    world.start()
    assert world.state is State.LOGGED_OUT
    world.come("s1", SignInKind.UNLOCK)
    assert asked(world) == [None]
    world.come("s2")
    world.kill()
    world.come("s2")
    world.start()
    assert asked(world) == [None, None]


def test_nobody_is_asked_who_logged_out_or_never_logged_in() -> None:
    """A logout is the user's wish, also at later sign-ins; a login ends that."""
    world = World(identity=None)
    world.come("s1")
    world.start()
    assert asked(world) == []
    world = on_old_password()
    world.log_out()
    world.kill()
    world.come("s2")
    world.start()
    assert asked(world) == []
    world.sign_in(P2)
    world.vault.clear()
    world.kill()
    world.come("s3")
    world.start()
    assert asked(world) == [None]
