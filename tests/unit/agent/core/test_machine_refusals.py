"""A refused password is never sent again without the user, who is asked once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.effects import WriteReason
from agent.core.events import SignInKind
from agent.core.failure import Reason
from agent.core.state import State
from tests.support.core_driver import HOME, P1, P2, P3, World


def asked(world: World) -> list[Reason | None]:
    return [each.reason for each in world.performed if isinstance(each, do.AskForPassword)]


def refused(*, session: str = "s1") -> World:
    """Return a client that started with a password that the server no longer knows."""
    world = World()
    world.come(session)
    world.home.password = P2
    world.start()
    assert world.state is State.NEEDS_PASSWORD
    assert world.view.reason is Reason.CREDENTIALS
    return world


def test_one_refusal_is_enough() -> None:
    """Marked durably, the connection closed, and nothing for days but a word to the user."""
    world = refused()
    assert world.tried == [P1]
    assert world.vault[HOME].refused == "credentials"
    assert world.vault[HOME].password == P1
    world.advance(timedelta(days=3))
    world.tell(ev.NetworkChanged())
    world.tell(ev.ReconnectRequested())
    assert world.tried == [P1]
    assert world.timers == {}
    assert asked(world) == [Reason.CREDENTIALS]


def test_nor_after_a_restart() -> None:
    """The mark is in the vault; not even a connection is opened."""
    world = refused()
    world.sessions.clear()
    world.kill()
    world.come("s1")
    world.start()
    assert world.state is State.NEEDS_PASSWORD
    assert world.sessions == {}
    assert world.tried == [P1]


def test_the_user_is_asked_once_per_sign_in() -> None:
    """Not again after a restart or an unlock in the same session, again in the next one."""
    world = refused()
    world.kill()
    world.come("s1")
    world.start()
    world.come("s1", SignInKind.UNLOCK)
    world.come("s1", SignInKind.CONNECT)
    assert len(asked(world)) == 1
    world.come("s2")
    assert len(asked(world)) == 2
    world.come("s2", SignInKind.UNLOCK)
    assert len(asked(world)) == 2


def test_the_right_password_mends_it() -> None:
    """The mark goes with the password; the next trouble is asked about again."""
    world = refused()
    request = world.sign_in(P2)
    assert world.replies == {request: None}
    assert world.state is State.STANDBY
    assert world.vault[HOME].refused is None
    assert world.memory[HOME].asked_session is None


def test_a_wrong_password_leaves_it() -> None:
    """Only the user's own is tried, the stored one not."""
    world = refused()
    request = world.sign_in(P3)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.state is State.NEEDS_PASSWORD
    assert world.tried == [P1, P3]
    assert world.view.reason is Reason.CREDENTIALS


def test_expired_while_waiting() -> None:
    """At its end the old password is given up at once, and the user asked for the new one."""
    world = World()
    world.come()
    world.start()
    world.change(P2, push=False)
    world.advance(timedelta(days=29, hours=23))
    assert world.view.state is State.STANDBY_OLD_PASSWORD
    world.advance(timedelta(hours=2))
    assert world.state is State.NEEDS_PASSWORD
    assert world.view.reason is Reason.EXPIRED
    assert world.view.days_left is None
    assert world.vault[HOME].refused == "expired"
    assert world.memory[HOME].old_valid_until is None
    assert asked(world) == [Reason.EXPIRED]
    world.restart()
    assert world.tried == [P1]
    assert world.view.reason is Reason.EXPIRED


def test_expired_at_a_login() -> None:
    """The PC was off when it ended."""
    world = World()
    world.start()
    world.change(P2, push=False)
    world.kill()
    world.server_now += timedelta(days=31)
    world.start()
    assert world.state is State.NEEDS_PASSWORD
    assert world.view.reason is Reason.EXPIRED
    assert world.tried == [P1, P1]


def test_expired_while_a_push_is_being_stored() -> None:
    """The stored one is given up, the pushed one is tried: the update is not lost."""
    world = World()
    world.start()
    world.change(P2, push=False)
    world.advance(timedelta(days=30, seconds=-5))
    device = world.session.device
    assert device is not None
    world.home.pushes[device.id] = ("a" * 32, world.seal(P2, "a" * 32, device))
    world.hold = {"vault"}
    world.session.push()
    world.run()
    world.advance(6)
    assert P2 not in world.tried
    world.release("vault")
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P2
    assert world.vault[HOME].refused is None


@pytest.mark.parametrize("reason", [Reason.VAULT_LOCKED, Reason.VAULT_BROKEN])
def test_a_mark_that_the_vault_does_not_take_is_made_up_for(reason: Reason) -> None:
    """In this run it holds all the same; it is written as soon as the vault works."""
    world = World()
    world.home.password = P2
    world.hold = {"server"}
    world.start()
    world.vault_reason = reason
    world.release("server")
    assert world.state is State.NEEDS_PASSWORD
    assert world.view.vault_problem is reason
    assert world.vault[HOME].refused is None
    world.advance(600)
    world.vault_reason = None
    world.advance(100)
    assert world.vault[HOME].refused == "credentials"
    assert world.view.vault_problem is None
    assert world.tried == [P1]
    steps = {each.reason for each in world.performed if isinstance(each, do.WriteVault)}
    assert steps == {WriteReason.REFUSED, WriteReason.COMMIT}
