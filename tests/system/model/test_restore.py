"""A client after the server's database was restored from an older copy (docs/backup.md)."""

from __future__ import annotations

from datetime import timedelta

from agent.core.state import State
from tests.support.core_driver import HOME, P1, P2, World


def state(world: World) -> State:
    """As it is now."""
    return world.state


def restore(world: World) -> None:
    """Take the server back to the time before the change to P2, with all clients reconnected."""
    world.home.password = P1
    world.home.retired.clear()
    world.home.pushes.clear()
    world.hold.clear()
    world.restart()


def test_the_new_password_was_taken() -> None:
    """It is refused, once, and the user asked; the one from before, typed once, is kept."""
    world = World()
    world.start()
    world.change(P2)
    assert world.vault[HOME].password == P2
    restore(world)
    assert state(world) is State.NEEDS_PASSWORD
    world.restart()
    world.advance(timedelta(days=1))
    assert world.tried[-2:] == [P2, P2], "the proof of the change, and one after the restore"
    assert world.replies[world.sign_in(P1)] is None
    assert state(world) is State.STANDBY
    assert world.vault[HOME].password == P1


def test_the_new_password_was_on_its_way() -> None:
    """Stored and not proven: it is tried, given up, and the client goes on with the one before."""
    world = World()
    world.start()
    world.hold.add("proof")
    world.change(P2)
    pending = world.vault[HOME].pending
    assert pending is not None
    assert pending.password == P2
    restore(world)
    assert state(world) is State.STANDBY
    assert world.tried[-2:] == [P2, P1]
    assert (world.vault[HOME].password, world.vault[HOME].pending) == (P1, None)


def test_the_new_password_was_not_pushed() -> None:
    """The client still has the one before, which is current again: it does not warn any more."""
    world = World()
    world.start()
    world.change(P2, push=False)
    assert state(world) is State.STANDBY_OLD_PASSWORD
    restore(world)
    assert state(world) is State.STANDBY
    assert world.view.days_left is None
