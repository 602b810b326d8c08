"""A client after the server's database was restored from an older copy (docs/backup.md)."""

from __future__ import annotations

from datetime import timedelta

from agent.core.state import State
from tests.support.core_driver import HOME, P1, P2, World


def state(world: World) -> State:
    """Return the client's state."""
    return world.state


def restore(world: World) -> None:
    """Take the server back to before the change to P2, and reconnect all clients."""
    world.home.password = P1
    world.home.retired.clear()
    world.home.pushes.clear()
    world.hold.clear()
    world.restart()


def test_the_new_password_was_taken() -> None:
    """A client with the newer password asks its user once, and takes the older one."""
    world = World()
    world.start()
    world.change(P2)
    assert world.vault[HOME].password == P2
    restore(world)
    assert state(world) is State.NEEDS_PASSWORD
    world.restart()
    world.advance(timedelta(days=1))
    assert world.tried[-2:] == [P2, P2], "the proof of the change, and one after the restore"
    assert world.replies[world.log_in(P1)] is None
    assert state(world) is State.STANDBY
    assert world.vault[HOME].password == P1


def test_the_new_password_was_on_its_way() -> None:
    """A pushed password that is refused is dropped, and the older one works."""
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
    """A client with the older password works, and warns no more."""
    world = World()
    world.start()
    world.change(P2, push=False)
    assert state(world) is State.STANDBY_OLD_PASSWORD
    restore(world)
    assert state(world) is State.STANDBY
    assert world.view.days_left is None
