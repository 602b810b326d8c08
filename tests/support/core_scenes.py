"""Starting points of tests on core_driver.py: in standby, after a push, on an old password."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agent.core.state import State
from tests.support.core_driver import P2, Killed, Kind, World


def started(*held: Kind, **attributes: object) -> World:
    """Return a started client; `attributes` set its world, and answers of kinds `held` wait."""
    world = World()
    world.hold = set(held)
    vars(world).update(attributes)
    world.start()
    return world


def standby(*held: Kind) -> World:
    """Return a client in standby with P1; from now on answers of the kinds `held` wait."""
    world = started()
    assert world.state is State.STANDBY
    world.performed.clear()
    world.hold = set(held)
    return world


def pushed(*held: Kind) -> World:
    """Return a client in standby after a push of P2; answers of the kinds `held` wait."""
    world = standby(*held)
    world.change(P2)
    return world


def on_old_password(*held: Kind) -> World:
    """Return a client in standby with P1, after a change to P2 without a push."""
    world = standby()
    world.change(P2, push=False)
    assert world.state is State.STANDBY_OLD_PASSWORD
    world.performed.clear()
    world.hold = set(held)
    return world


def killed_at_each_action(
    begin: Callable[[], World], act: Callable[[World], object]
) -> Iterator[World]:
    """Yield a world killed at each action of `act` in turn; then run `act` to its end."""
    for kill_at in range(500):
        world = begin()
        world.actions, world.kill_at = 0, kill_at
        try:
            act(world)
        except Killed:
            world.hold = set()
            world.kill()
            yield world
        else:
            assert kill_at > 10, "too few actions to show anything"
            return
    raise AssertionError("never finished")
