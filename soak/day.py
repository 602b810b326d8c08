"""Run 24 hours of the real client in some seconds, on a simulated clock.

Whenever the client's event loop would sleep, its clock jumps to the next timer. Runtime, connection
keepalive, files and sockets are real. The server is a fake one on the same loop, so that it has the
same time, and the keyring is a fake.

The day: the server restarts every half an hour, the network is away from 1 to 3, the PC sleeps from
3 to 7, a user unlocks it every hour, the password is an old one from 8 to 20, the PC's clock is ten
years wrong for an hour each way, and the PC moves to another time zone.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from agent import logs, runtime
from agent.core import events as ev
from agent.core.state import State
from agent.state_file import StateFile
from protocol.messages import WarningOutcome
from soak import sample
from soak.sample import Sample
from tests.support.fake_gateway import PASSWORD, FakeGateway, Peer
from tests.support.runtimes import runtime_in_memory

HOUR_S = 3600.0
LAST_HOUR = 24
BEGIN = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
SEEN = {"connecting", "retrying", "standby", "standby_old_password", "stopped"}
"""All states that the client shows on this day."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps where it would sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock_error = timedelta(0)
        """How wrong the PC's clock is."""
        self.jobs = 0
        """Jobs of executors under way: while there are any, time does not jump."""
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now

    def server_time(self) -> datetime:
        """Return the right time."""
        return BEGIN + timedelta(seconds=self.now)

    def instant(self) -> ev.Instant:
        """Return the time as the client sees it."""
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


class Day:
    """The client, its server, and what happens to them."""

    def __init__(self, home: Path) -> None:
        self.samples: list[Sample] = []
        self.seen: list[str] = []
        """The states that were shown."""
        self.warned: list[int] = []
        """The days left of each warning."""
        self.error: Exception | None = None
        self._log_dir = home / "log"
        self._loop = Loop()
        self._old = False
        self._gateway, self._port = FakeGateway(self._serve), 0
        self._server = AsyncExitStack()
        self._loop.run_until_complete(self._open())
        with mock.patch.object(asyncio, "new_event_loop", return_value=self._loop):
            self.runtime = runtime_in_memory(
                f"ws://127.0.0.1:{self._port}/gateway",
                password=PASSWORD,
                saved_state=StateFile(home / "state"),
                show=lambda view: self.seen.append(view.state.value),
                warn=self._warn,
            )
        self.runtime.add_background_task(self._live)

    def run(self) -> None:
        """Run from midnight to midnight."""
        with mock.patch.object(runtime, "instant", self._loop.instant):
            self.runtime.start()
            self.runtime.join()
        if self.error is not None:
            raise self.error

    def _warn(self, days: int, _last_day: date) -> None:
        self.warned.append(days)
        self.runtime.post(ev.WarningAnswered(days, WarningOutcome.SHOWN))

    async def _serve(self, peer: Peer) -> None:
        """Log the client in, on the simulated clock."""
        now = self._loop.server_time()
        kind = "old" if self._old else "current"
        until: dict[str, Any] = (
            {"valid_until": _on_the_wire(now + timedelta(days=30))} if self._old else {}
        )
        await peer.log_in({PASSWORD: kind}, server_time=_on_the_wire(now), **until)

    async def _live(self) -> None:
        # On the loop itself: another thread would be hours late.
        self.runtime.post(ev.SignedIn("session-1", ev.SignInKind.SIGN_IN))
        self.runtime.post(ev.Started())
        try:
            while self._loop.now < LAST_HOUR * HOUR_S:
                hour = int(self._loop.now // HOUR_S) + 1
                await self._hour(hour)
                self.samples.append(sample.take(hour, self._loop, self._log_dir))
        except Exception as exc:  # noqa: BLE001 - `run` raises it, on the caller's thread
            self.error = exc
        finally:
            await self._server.aclose()
            self.runtime.post(ev.QuitRequested())

    async def _hour(self, hour: int) -> None:
        """Live from the full hour `hour - 1` to `hour`."""
        end, is_away = hour * HOUR_S, hour in {2, 3}
        self._old = 8 < hour <= 20
        self._loop.clock_error = timedelta(days={10: 3650, 12: -3650}.get(hour, 0))
        if hour == 14:
            os.environ["TZ"] = "America/New_York"
        if hour == 2:
            await self._server.aclose()
        if hour == 4:
            await self._open()
            self._loop.now = end = 7 * HOUR_S  # asleep: nothing has run
            self.runtime.post(ev.NetworkChanged())
        elif not is_away:
            await self._open()
            self.runtime.post(ev.SignedIn("session-1", ev.SignInKind.UNLOCK))
            await asyncio.sleep(HOUR_S / 2)
            await self._open()
        await asyncio.sleep(max(end - self._loop.now, 600))
        expected = State.STANDBY_OLD_PASSWORD if self._old else State.STANDBY
        assert is_away or self.runtime.view.state is expected, (hour, self.runtime.view)

    async def _open(self) -> None:
        """Start the server, or start it again."""
        await self._server.aclose()
        await self._server.enter_async_context(self._gateway.running(port=self._port))
        self._port = self._gateway.port


def _on_the_wire(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def run() -> list[Sample]:
    """Return a sample of each hour. Raise when anything is not as it should be.

    For a process of its own: it changes the process's time zone and logging.
    """
    with tempfile.TemporaryDirectory(prefix="coconowork-day-") as home:
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        logs.set_up(Path(home, "log", "client.log"), to_stderr=False)
        try:
            day = Day(Path(home))
            day.run()
        finally:
            logs.tear_down()
    assert set(day.seen) == SEEN, day.seen
    assert datetime.now().astimezone().utcoffset() == timedelta(hours=-5)
    # At the first unlock with the old password, and on a new day.
    assert 1 <= len(day.warned) <= 3, day.warned
    return day.samples
