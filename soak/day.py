"""Run 24 hours of the real client in some seconds, on a simulated clock.

Whenever the client's event loop would sleep, its clock jumps to the next timer. Runtime, keepalive,
files and sockets are real. Keyring and server are fakes; the server uses the same loop and time.

During the day, the server restarts every half hour, and a user unlocks the PC every hour. The
network is away from 1 to 3 o'clock, the PC sleeps from 3 to 7, and the password is an old one from
8 to 20. The PC's clock is ten years fast for an hour and ten years slow for an hour, and its time
zone changes.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from agent import logs, runtime
from agent.core import events as ev
from agent.core.effects import Effect, ShowWarning
from agent.core.state import State
from agent.state_file import StateFile
from protocol.messages import WarningOutcome
from soak import sample
from soak.sample import Sample
from tests.support.fake_gateway import PASSWORD, FakeGateway, Peer, at
from tests.support.runtimes import ClientInMemory

HOUR_S = 3600.0
BEGIN = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
SEEN = {"connecting", "retrying", "standby", "standby_old_password", "stopped"}
"""All states that the client must show during the day."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock_error = timedelta(0)
        """How far the PC's clock is ahead of the right time."""
        self.jobs = 0
        """Number of running executor jobs; while there are any, the clock does not jump."""
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now

    def server_time(self) -> datetime:
        """Return the right time, by the loop's clock."""
        return BEGIN + timedelta(seconds=self.now)

    def instant(self) -> ev.Instant:
        """Return the time by the PC's clock."""
        return ev.Instant(self.server_time() + self.clock_error, self.now)

    def run_in_executor(  # type: ignore[override] # of any function
        self, executor: Executor | None, function: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        def on_done(_: object) -> None:
            self.jobs -= 1

        future = super().run_in_executor(executor, function, *arguments)
        self.jobs += 1
        future.add_done_callback(on_done)
        return future


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self._loop.jobs:
            return super().select(0.02)
        self._loop.now += max(timeout, 0.0)
        return []


async def _live(loop: Loop, home: Path) -> list[Sample]:
    """Run client and server through the day on one loop; return a sample for each hour."""
    seen: set[str] = set()
    warned: list[int] = []
    samples: list[Sample] = []
    is_old, gateway, server = False, FakeGateway(), AsyncExitStack()

    async def log_in(peer: Peer) -> None:
        now = loop.server_time()
        more: dict[str, Any] = {"valid_until": at(30, now)} if is_old else {}
        kind = "old" if is_old else "current"
        await peer.log_in({PASSWORD: kind}, server_time=at(0, now), **more)

    async def restart() -> None:
        await server.aclose()
        await server.enter_async_context(gateway.running(port=gateway.port))

    def tell(effect: Effect) -> None:
        if isinstance(effect, ShowWarning):
            warned.append(effect.days_left)
            client.post(ev.WarningAnswered(effect.days_left, WarningOutcome.SHOWN))

    gateway.play(log_in)
    await restart()
    with mock.patch.object(asyncio, "new_event_loop", return_value=loop):
        client = ClientInMemory(
            gateway.address,
            save_state=StateFile(home / "state").save,
            show=lambda view: seen.add(view.state.value),
            tell=tell,
        )
    running = asyncio.create_task(client._main(asyncio.all_tasks()))
    client.post(ev.SignedIn("session-1", ev.SignInKind.SIGN_IN))
    client.post(ev.Started())
    for hour in (1, 2, 3, *range(7, 25)):  # run each hour to its end
        end, is_away = hour * HOUR_S, hour in {2, 3}
        is_old = 8 < hour <= 20
        loop.clock_error = timedelta(days={10: 3650, 12: -3650}.get(hour, 0))
        if hour == 14:
            os.environ["TZ"] = "America/New_York"
        if is_away:
            await server.aclose()
        else:
            await restart()
            if hour == 7:
                loop.now = end  # the PC has slept since 3: nothing has run
                client.post(ev.NetworkChanged())
            client.post(ev.SignedIn("session-1", ev.SignInKind.UNLOCK))
            await asyncio.sleep(max(end - loop.now, 0) / 2)
            await restart()
        await asyncio.sleep(max(end - loop.now, 600))
        expected = State.STANDBY_OLD_PASSWORD if is_old else State.STANDBY
        assert is_away or client.view.state is expected, (hour, client.view)
        samples.append(sample.take(hour, loop, home / "log"))
    await server.aclose()
    client.post(ev.QuitRequested())
    await running
    assert seen == SEEN, seen
    assert datetime.now().astimezone().utcoffset() == timedelta(hours=-5)
    # Warnings come at the first unlock with the old password, and on a new day.
    assert 1 <= len(warned) <= 3, warned
    return samples


def run() -> list[Sample]:
    """Run the day; return a sample for each hour. Raise AssertionError for wrong behaviour.

    Use a process of its own, because the time zone and the logging of the process change.
    """
    with tempfile.TemporaryDirectory(prefix="coconowork-day-") as home, closing(Loop()) as loop:
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        logs.set_up(Path(home, "log", "client.log"), to_stderr=False)
        try:
            with mock.patch.object(runtime, "instant", loop.instant):
                return loop.run_until_complete(_live(loop, Path(home)))
        finally:
            logs.tear_down()
