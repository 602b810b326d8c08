"""Run the machine: take events in, perform its effects, show its view.

How it works: one event loop, on a thread of its own, takes one event after the other from a queue.
The machine answers an event with effects, which are performed in order. What blocks runs on daemon
threads (`threads.py`), and its outcome comes back as an event: calls to the vault one after the
other (`vault_calls.py`), key derivation. Files are written one after the other (`saving.py`). Vault
and files never wait for each other.

Failures: an exception of an adapter is logged, and the client goes on. An exception of the machine
is a defect: no effect of that event is performed, the loop ends, and `defect` is set.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from agent.connection import Connection
from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Identity
from agent.core.effects import Effect
from agent.core.events import Event, Instant, Timer
from agent.core.failure import Failure, Reason, failure_of
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.state import State
from agent.core.view import View
from agent.logs import WindowsEvent
from agent.ports import Vault, VaultError, call_adapter
from agent.saving import Saver
from agent.threads import DaemonThreads
from agent.vault_calls import VaultCalls
from protocol.scram import ScramError

log = logging.getLogger(__name__)

T = TypeVar("T")

LEAVE_S = 1.0  # seconds to leave the server before Windows, which allows two, suspends the PC
WRITES_S = 5.0  # seconds at the end that writes under way may still take


def follow_time_zone() -> None:
    """Make local time follow a change of the PC's zone, which C libraries look up only once."""
    if sys.platform == "win32":
        ctypes.cdll.ucrtbase._tzset()  # noqa: SLF001 - the C library's name for it
    else:
        time.tzset()


def _on_stray_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle an exception in one of the loop's callbacks, which no coroutine waits for."""
    if isinstance(context.get("exception"), EOFError):
        # websockets reports the end of a proxy's stream twice; `classify` has seen the first.
        log.debug("%s: end of the stream", context.get("message"))
    else:
        loop.default_exception_handler(context)


def instant() -> Instant:
    """Return the present time. The steady clock counts while the PC sleeps, as Windows' does."""
    if sys.platform == "linux":
        steady = time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        steady = time.monotonic()
    return Instant(datetime.now(UTC), steady)


class Runtime:
    """Run one machine: `start`, then `post` from any thread, then `join`.

    The loop ends after a Quit effect, or at a defect; then it calls `quit`. `tell` performs an
    effect about a notification or a window. The loop's thread calls all functions but
    `save_…`, so they must not block.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        vault: Vault,
        show: Callable[[View], None],
        tell: Callable[[Effect], None],
        save_identity: Callable[[Identity], None],
        save_state: Callable[[Identity, SavedState], None],
        quit: Callable[[], None],  # noqa: A002 - the effect's name
        proxy: str = "system",
        moved: tuple[Identity, Identity] | None = None,
    ) -> None:
        self.defect = False  # whether the machine has raised, which ends the client
        self._machine = machine
        self._moved = moved
        self._vault_calls = VaultCalls(vault, moved=moved)
        self.saver = Saver(save_identity, save_state)
        self._show, self._tell, self._quit = show, tell, quit
        self._proxy = proxy
        self._view = machine.view(instant())
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(DaemonThreads())
        self._thread = threading.Thread(target=self._run, name="coconowork-loop", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: dict[int, tuple[Connection, asyncio.Task[None]]] = {}
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._requests: dict[int, Future[Reason | None]] = {}
        self._numbers = itertools.count(1)
        self._quitting = False
        self._ended = False
        self._ending = threading.RLock()  # held to set `_ended`, and to hand over work

    # --- from any thread

    @property
    def view(self) -> View:
        return self._view

    def start(self) -> None:
        self._thread.start()

    def look(self) -> View:
        """Return a snapshot of this moment. Run it on the loop."""
        return self._machine.view(instant())

    def post(self, event: Event) -> None:
        """Hand over an event to the loop, or drop it after the loop's end."""
        with self._ending:
            if not self._ended:
                self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def request(self, make: Callable[[int], Event]) -> Future[Reason | None]:
        """Post a request of the user; the future gets None on success, else the reason."""
        number = next(self._numbers)
        future: Future[Reason | None] = Future()
        self._requests[number] = future
        self.post(make(number))
        return future

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop. It is cancelled with its future, or when the client ends."""
        with self._ending:
            if not self._ended:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        ended: Future[T] = Future()
        ended.cancel()
        return ended

    def leave(self, event: Event) -> None:
        """Hand over an event; return when the client has left the server, after LEAVE_S at most."""
        self.post(event)
        wait([self.begin(self._has_left())], LEAVE_S)

    async def _has_left(self) -> None:
        await self._events.join()
        await asyncio.gather(
            *(task for _, task in self._connections.values() if task.cancelling()),
            return_exceptions=True,
        )

    def join(self, timeout_s: float | None = None) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- on the loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main(set()))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except Exception:
            log.critical("a defect of the client ends it", exc_info=True)
            self.defect = True
        finally:
            self._loop.close()
            for future in self._requests.values():
                if not future.done():
                    future.set_result(Reason.INTERNAL)
            call_adapter(self._quit)

    async def _main(self, not_ours: set[asyncio.Task[Any]]) -> None:
        """Handle events until the client quits. Then cancel all tasks but `not_ours`."""
        self._loop.set_exception_handler(_on_stray_error)
        call_adapter(self._show, self._view)
        try:
            while not self._quitting:
                self._handle(await self._events.get())
                self._events.task_done()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITES_S):
                    await asyncio.gather(self.saver.all_written(), self._vault_calls.changes_made())
            with self._ending:
                self._ended = True
            await asyncio.sleep(0)  # work that was handed over until now becomes a task
            await _cancel({task for _, task in self._connections.values()})
            # Last, so that `leave` returns after the end of the connections.
            await _cancel(asyncio.all_tasks() - not_ours - {asyncio.current_task()})
            for _ in range(3):  # transports that are closed release their sockets a turn later
                await asyncio.sleep(0)

    def _handle(self, event: Event) -> None:
        follow_time_zone()
        now = instant()
        if isinstance(event, ev.SignedIn):
            log.info("the user has come to the desktop (%s)", event.kind.value)
        before = self._machine.state
        effects = self._machine.handle(event, now)  # raises only by a defect, which ends the loop
        after = self._machine.state
        if after is not before:
            self._log_change(before, after, now)
        for effect in effects:
            log.debug("%s -> %s", type(event).__name__, type(effect).__name__)
            self._perform(effect)
        if self._moved and after in {State.STANDBY, State.STANDBY_OLD_PASSWORD}:
            self._spawn(self._finish_move(*self._moved))
            self._moved = None
        view = self._machine.view(now)
        if view != self._view:
            self._view = view
            call_adapter(self._show, view)

    async def _finish_move(self, former: Identity, identity: Identity) -> None:
        """Move the stored password to the server's new address, after a login there."""
        if self._machine.account.identity != identity:  # the user has logged in as another
            self._perform(do.DeleteFromVault(0, former))  # the machine ignores the answer to 0
            return
        try:
            await self._vault_calls.move(former, identity)
        except VaultError as exc:  # the next start tries again
            log.warning("vault: %s: %s", exc.reason.value, exc)
        else:
            if self._machine.account.identity == identity:
                self._perform(do.SaveIdentity(identity))

    def _log_change(self, before: State, after: State, now: Instant) -> None:
        machine = self._machine
        failure, reason = machine.failure, machine.why
        if failure is not None:
            reason += f": {failure.reason.value}"
            reason += f" ({failure.detail})" if failure.detail else ""
        if (next_try_at := machine.next_try_at) is not None:
            reason += f"; next try in {(next_try_at - now.wall).total_seconds():.1f} s"
        # A server that stays away is worth one warning; each further try is logged at DEBUG.
        trying = after in {State.RETRYING, State.CONNECTING} and machine.tries > 1
        level = logging.DEBUG if trying else logging.INFO
        if failure is not None and not trying:
            level = logging.WARNING
        refused = WindowsEvent.PASSWORD_REFUSED.extra if after is State.NEEDS_PASSWORD else None
        log.log(level, "%s -> %s: %s", before.value, after.value, reason, extra=refused)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case do.ReadVault() | do.WriteVault() | do.DeleteFromVault():
                self._spawn(self._post_outcome(self._vault_calls.perform(effect)))
            case do.SaveState() | do.SaveIdentity():
                self._spawn(self.saver.save(effect))
            case do.Connect(number, server):
                connection = Connection(
                    number, server, proxy_setting=self._proxy, emit=self._events.put_nowait
                )
                task = self._loop.create_task(connection.run())
                self._connections[number] = (connection, task)
                task.add_done_callback(lambda _: self._connections.pop(number, None))
            case do.Disconnect(number, farewell):
                if number in self._connections:
                    connection, task = self._connections[number]
                    connection.farewell = farewell
                    task.cancel()
            case do.Probe(number):
                if number in self._connections:
                    self._spawn(self._connections[number][0].probe())
            case do.Send(number, message):
                if number in self._connections:
                    log.debug("connection %d: send %s", number, type(message).__name__)
                    self._spawn(self._connections[number][0].send(message))
            case do.ComputeProof():
                self._spawn(self._post_outcome(self._compute_proof(effect)))
            case do.StartTimer(timer, delay_s):
                self._stop_timer(timer)
                self._timers[timer] = self._loop.call_later(
                    delay_s, self._events.put_nowait, ev.TimerFired(timer)
                )
            case do.StopTimer(timer):
                self._stop_timer(timer)
            case do.Reply(number, failure):
                future = self._requests.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(failure)
            case do.Quit():
                self._quitting = True
            case _:
                call_adapter(self._tell, effect)

    def _stop_timer(self, timer: Timer) -> None:
        if handle := self._timers.pop(timer, None):
            handle.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("a task has failed", exc_info=exc)

    async def _post_outcome(self, work: Awaitable[Event]) -> None:
        self._events.put_nowait(await work)

    async def _compute_proof(self, effect: do.ComputeProof) -> Event:
        try:
            proof = await asyncio.to_thread(effect.handshake.proof, effect.challenge)
        except ScramError as exc:
            return ev.ProofRefused(effect.connection, failure_of(exc))
        except Exception as exc:
            log.exception("the key derivation has failed")
            failure = Failure(Reason.INTERNAL, detail=type(exc).__name__)
            return ev.ProofRefused(effect.connection, failure)
        return ev.ProofReady(effect.connection, proof)


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel these tasks, and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
