"""24 hours of the real client in some seconds: its loop's clock jumps to the next timer whenever
nothing else is to be done. Runtime, connection, keepalive, files and sockets are the real ones; the
server is on the same loop, so that it lives in the same time. Only the keyring is the fake.

The day: the server restarts every half an hour, the network is away from 1 to 3, the PC sleeps from
3 to 7, a user comes back every hour, the password is an old one from 8 to 20, its clock is ten
years wrong for an hour each way, and somebody moves to another time zone.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from agent import logs, runtime
from agent.app import host_info
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.state import State
from agent.runtime import Hooks, Runtime
from agent.state_file import StateFile
from protocol.sealing import new_device_key
from soak import sample
from soak.sample import Sample
from tests.support.fake_gateway import PASSWORD, FakeGateway, Peer
from tests.support.fakes import FakeVault

HOUR_S = 3600.0
BEGIN = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
LAST_HOUR = 24


class SqueezedClock:
    """The time of the loop, which is the PC's steady clock, and a wall clock that may be wrong."""

    def __init__(self) -> None:
        self.now = 0.0
        self.error = timedelta(0)
        self.outstanding = 0
        """Jobs on other threads: while there are any, time passes as it does."""

    def instant(self) -> ev.Instant:
        return ev.Instant(BEGIN + timedelta(seconds=self.now) + self.error, self.now)

    def server_time(self) -> datetime:
        return BEGIN + timedelta(seconds=self.now)


class _Selector(selectors.DefaultSelector):
    """Where a loop would sleep, its clock jumps."""

    def __init__(self, clock: SqueezedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self._clock.outstanding:
            return super().select(0.02)
        self._clock.now += max(timeout, 0.0)
        return []


class SqueezedLoop(asyncio.SelectorEventLoop):
    """A loop in squeezed time. Executors' jobs are waited for in real time."""

    def __init__(self, clock: SqueezedClock) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(  # type: ignore[override] # of any function
        self, executor: Executor | None, function: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, function, *arguments)
        self._clock.outstanding += 1
        future.add_done_callback(self._one_less)
        return future

    def _one_less(self, _: asyncio.Future[Any]) -> None:
        self._clock.outstanding -= 1


def _on_the_wire(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class Day:
    """The client and its day."""

    def __init__(self, home: Path) -> None:
        self.clock = SqueezedClock()
        self.log_dir = home / "log"
        self.samples: list[Sample] = []
        self.seen: list[str] = []
        """States, as they were shown."""
        self.warned: list[int] = []
        """Days left, as they were warned of."""
        self.offsets: list[timedelta | None] = []
        """Of local time, as the process sees it, at each full hour."""
        self._gateway = FakeGateway(self._serve)
        self._server: AsyncExitStack | None = None
        self._old = False
        self._trouble: Exception | None = None
        self._port = 0
        self._loop = SqueezedLoop(self.clock)
        self.runtime = self._make_client(home)

    def _make_client(self, home: Path) -> Runtime:
        # The address is needed before the server is there.
        self._loop.run_until_complete(self._open())
        assert self._server is not None
        vault = FakeVault()
        identity = Identity(server=f"ws://127.0.0.1:{self._port}/gateway", user="tanaka")
        vault.write(identity, Credentials(password=PASSWORD, device_key=new_device_key()))
        vault.writes.clear()
        with (
            mock.patch.object(asyncio, "new_event_loop", return_value=self._loop),
            mock.patch.object(runtime, "instant", self.clock.instant),
        ):
            made = Runtime(
                Machine(host_info(), identity, SavedState()),
                vault=vault,
                saved_state=StateFile(home / "state"),
                hooks=Hooks(
                    show=lambda view: self.seen.append(view.state.value),
                    warn=self._warn,
                    withdraw_warning=lambda: None,
                    ask_for_password=lambda _: None,
                    save_identity=lambda _: None,
                    quit=lambda: None,
                ),
            )
        made.add_background_task(self._live)
        return made

    def run(self) -> list[Sample]:
        """From midnight to midnight."""
        with mock.patch.object(runtime, "instant", self.clock.instant):
            self.runtime.start()
            self.runtime.join()
        if self._trouble is not None:
            raise self._trouble
        return self.samples

    def _warn(self, days: int) -> None:
        self.warned.append(days)
        self.runtime.post(ev.WarningShown(days))

    async def _serve(self, peer: Peer) -> None:
        """Log the client in, on the day's clock."""
        now = self.clock.server_time()
        kind = "old" if self._old else "current"
        end: dict[str, Any] = (
            {"valid_until": _on_the_wire(now + timedelta(days=30))} if self._old else {}
        )
        await peer.log_in({PASSWORD: kind}, server_time=_on_the_wire(now), **end)

    # --- the day

    async def _live(self) -> None:
        # Here, on the loop, whose hours fly by: another thread would come late with it.
        self.runtime.post(ev.SignedIn("session-1", ev.SignInKind.SIGN_IN))
        self.runtime.post(ev.Started())
        try:
            while self.clock.now < LAST_HOUR * HOUR_S:
                hour = int(self.clock.now // HOUR_S) + 1
                await self._hour(hour)
                self.samples.append(sample.take(hour, self._loop, self.log_dir))
        except Exception as exc:  # noqa: BLE001 - `run` raises it, on the caller's thread
            self._trouble = exc
        finally:
            await self._close()
            self.runtime.post(ev.QuitRequested())

    async def _hour(self, hour: int) -> None:
        """To the full hour `hour`, beginning one before it."""
        end = hour * HOUR_S
        self._old = 8 < hour <= 20
        self.clock.error = timedelta(days={10: 3650, 12: -3650}.get(hour, 0))
        if hour == 14:
            os.environ["TZ"] = "America/New_York"
        if hour == 2:
            await self._close()
        if hour == 4:
            await self._open()
            self.clock.now = end = 7 * HOUR_S  # nothing has run meanwhile
            self.runtime.post(ev.NetworkChanged())
        elif hour not in {2, 3}:
            await self._restart()
            self.runtime.post(ev.SignedIn("session-1", ev.SignInKind.UNLOCK))
            await asyncio.sleep(HOUR_S / 2)
            await self._restart()
        await asyncio.sleep(max(end - self.clock.now, 600))
        if hour not in {2, 3}:
            state = self.runtime.view.state
            expected = State.STANDBY_OLD_PASSWORD if self._old else State.STANDBY
            assert state is expected, (hour, state, self.runtime.view)
        self.offsets.append(datetime.now().astimezone().utcoffset())

    async def _open(self) -> None:
        self._server = AsyncExitStack()
        address = await self._server.enter_async_context(self._gateway.running(port=self._port))
        self._port = self._gateway.port
        assert address

    async def _close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.aclose()

    async def _restart(self) -> None:
        await self._close()
        await self._open()


def run() -> list[Sample]:
    """The samples of the whole day, the first after an hour. Raise when it was not lived through.

    For a process of its own: it changes the process's time zone and logging.
    """
    home = Path(tempfile.mkdtemp(prefix="coconowork-day-"))
    try:
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        logs.set_up(home / "log" / "client.log", to_stderr=False)
        day = Day(home)
        samples = day.run()
        assert set(day.seen) == {
            "connecting", "retrying", "standby", "standby_old_password", "stopped"
        }  # fmt: skip
        assert day.offsets[0] == timedelta(hours=9)
        assert day.offsets[-1] == timedelta(hours=-5)
        # At the first unlock with the old password, and once more on a new day.
        assert 1 <= len(day.warned) <= 3, day.warned
        return samples
    finally:
        logs.tear_down()
        shutil.rmtree(home)
