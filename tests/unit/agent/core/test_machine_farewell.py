"""What the machine says to the server when the client leaves."""

from __future__ import annotations

import pytest

from agent.core import effects as do
from agent.core.events import Event, NetworkChanged, QuitRequested, SessionEnding, Suspending
from agent.core.state import State
from protocol.messages import Farewell
from tests.support.core_scenes import standby, started


@pytest.mark.parametrize(
    ("events", "farewell"),
    [
        ([QuitRequested()], "quit"),
        ([QuitRequested("update")], "update"),
        ([SessionEnding("sign_out"), QuitRequested()], "sign_out"),
        ([SessionEnding("shutdown"), QuitRequested()], "shutdown"),
        ([SessionEnding("shutdown"), SessionEnding(None), QuitRequested()], "quit"),
    ],
)
def test_reason_of_a_quit(events: list[Event], farewell: Farewell) -> None:
    """The end of the session is the reason when there is one, else what asked to quit."""
    world = standby()
    *before, last = events
    for event in before:
        assert world.handle(event) == []
    assert do.Disconnect(1, farewell) in world.handle(last)
    assert world.state is State.STOPPED


def test_sleep_and_resume() -> None:
    """The client leaves before the PC sleeps, does not come back before, and does so after."""
    world = standby()
    effects = world.handle(Suspending())
    assert effects[0] == do.Disconnect(1, "sleep")
    [retry] = [each for each in effects if isinstance(each, do.StartTimer)]
    assert retry.delay_s >= 60
    assert world.state is State.RETRYING
    [soon] = world.handle(NetworkChanged())
    assert isinstance(soon, do.StartTimer)
    assert soon.delay_s < 2


def test_sleep_without_a_connection() -> None:
    """A client that is not connected has no one to tell."""
    world = started("connect")
    assert world.handle(Suspending()) == []
    assert world.state is State.CONNECTING
