"""Run the machine: take events in, perform its effects, show its view.

How it works: one event loop, on a thread of its own, takes one event after the other from a queue.
The machine answers an event with effects, which are performed in order. What blocks runs on daemon
threads (`threads.py`), and its outcome comes back as an event: calls to the vault one after the
other (`vault_calls.py`), writes of files one after the other, key derivation. Vault and files never
wait for each other.

What may fail: every hook is guarded. A hook that raises is logged and counts as failed, and the
client goes on. A machine that raises is a defect of this program: nothing of that event is
performed, the loop ends, and `defect` is set.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from agent.connection import Connection
from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Identity
from agent.core.effects import Effect
from agent.core.events import Event, Instant, Timer
from agent.core.failure import Failure, Reason, failure_of
from agent.core.machine import Machine
from agent.core.state import State
from agent.core.view import View
from agent.logs import WindowsEvent
from agent.ports import SavedStateStore, Vault, VaultError
from agent.threads import DaemonThreads
from agent.vault_calls import VaultCalls
from protocol.messages import WarningOutcome
from protocol.scram import ClientLogin, ScramError

log = logging.getLogger(__name__)

T = TypeVar("T")

SAVE_AGAIN_S, SAVE_AGAIN_MAX_S = 60.0, 3600.0
LEAVE_S = 1.0
"""Seconds that leaving the server may take before Windows suspends the PC: it allows two."""
WRITES_S = 5.0
"""Seconds at the end that writes under way may still take."""


def _steady() -> float:
    """Return seconds of a clock that counts while the PC sleeps, as `monotonic` does on Windows."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


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
    """Return the present time."""
    return Instant(datetime.now(UTC), _steady())


@dataclass(frozen=True)
class Hooks:
    """What the machine wants done outside of the loop. Called on the loop's thread; must return."""

    show: Callable[[View], None]
    warn: Callable[[int, date], None]
    withdraw_warning: Callable[[], None]
    open_status: Callable[[], None]
    ask_for_password: Callable[[Reason | None], None]
    tell_received: Callable[[], None]
    save_identity: Callable[[Identity], None]
    """Called on another thread. Raise OSError or AgentError, which is logged."""
    quit: Callable[[], None]


class Runtime:
    """Run one machine: `start`, then `post` from any thread, then `join`.

    The loop ends after a Quit effect, or at a defect.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        vault: Vault,
        saved_state: SavedStateStore,
        hooks: Hooks,
        proxy: str = "system",
        moved: tuple[Identity, Identity] | None = None,
    ) -> None:
        self.defect = False
        """Whether the machine has raised: the client has ended at a defect of its own."""
        self._machine = machine
        self._moved = moved
        self._vault_calls = VaultCalls(vault, moved=moved)
        self._saved_state = saved_state
        self._hooks = hooks
        self._proxy = proxy
        self._view = machine.view(instant())
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(DaemonThreads())
        self._thread = threading.Thread(target=self._run, name="coconowork-loop", daemon=True)
        self._one_file_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: dict[int, tuple[Connection, asyncio.Task[None]]] = {}
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._requests: dict[int, Future[Reason | None]] = {}
        self._numbers = itertools.count(1)
        self._unsaved: dict[type[Effect], do.SaveIdentity | do.SaveState] = {}
        """The newest effect of each kind that is not on the disk yet."""
        self._quitting = False
        self._background: list[Callable[[], Coroutine[Any, Any, None]]] = []

    # --- from any thread

    @property
    def view(self) -> View:
        """The newest snapshot."""
        return self._view

    def add_background_task(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` on the loop until the end. Call it before `start`."""
        self._background.append(work)

    def start(self) -> None:
        """Start the loop on a thread of its own."""
        self._thread.start()

    def look(self) -> View:
        """Return a snapshot of this moment. Run it on the loop."""
        return self._machine.view(instant())

    def post(self, event: Event) -> None:
        """Hand over an event; after the end it is dropped."""
        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._events.put_nowait, event)
            except RuntimeError:  # the loop has closed between the two lines
                log.debug("event after the end: %s", type(event).__name__)

    def request(self, make: Callable[[int], Event]) -> Future[Reason | None]:
        """Post a request of the user; the future has None when it was done, else the reason."""
        number = next(self._numbers)
        future: Future[Reason | None] = Future()
        self._requests[number] = future
        self.post(make(number))
        return future

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop; the end of the client, or of the future, cancels it."""

        async def kept() -> T:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - it runs in one
            self._tasks.add(task)
            try:
                return await work
            finally:
                self._tasks.discard(task)

        started = kept()
        try:
            return asyncio.run_coroutine_threadsafe(started, self._loop)
        except RuntimeError:  # the loop has closed
            started.close()
            work.close()
            ended: Future[T] = Future()
            ended.cancel()
            return ended

    async def files_written(self) -> None:
        """Wait for the writes of files; try once more what has failed. Run it on the loop."""
        for effect in list(self._unsaved.values()):
            await self._save_once(effect)

    def leave(self, event: Event) -> None:
        """Hand over an event after which the client leaves the server; return when it has left.

        Windows may suspend or end this process once its messages are answered.
        """
        self.post(event)
        work = self._has_left()
        try:
            wait([asyncio.run_coroutine_threadsafe(work, self._loop)], LEAVE_S)
        except RuntimeError:  # the loop has closed
            work.close()

    async def _has_left(self) -> None:
        await self._events.join()
        await asyncio.gather(
            *(task for _, task in self._connections.values() if task.cancelling()),
            return_exceptions=True,
        )

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; return whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- on the loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except Exception:
            log.critical("a defect of the client ends it", exc_info=True)
            self.defect = True
        finally:
            self._loop.close()
            for future in self._requests.values():
                if not future.done():
                    future.set_result(Reason.INTERNAL)
            self._call_hook(self._hooks.quit)

    async def _main(self) -> None:
        self._loop.set_exception_handler(_on_stray_error)
        for work in self._background:
            self._spawn(work())
        self._call_hook(self._hooks.show, self._view)
        try:
            while not self._quitting:
                self._handle(await self._events.get())
                self._events.task_done()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITES_S):
                    await asyncio.gather(self.files_written(), self._vault_calls.changes_made())
            tasks = [*self._tasks, *(task for _, task in self._connections.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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
            self._finish_move(*self._moved)
        view = self._machine.view(now)
        if view != self._view:
            self._view = view
            self._call_hook(self._hooks.show, view)

    def _finish_move(self, former: Identity, identity: Identity) -> None:
        """Forget the server's former address, after a login at the new one."""
        self._moved = None
        self._perform(do.DeleteFromVault(0, former))  # the machine ignores the answer to number 0
        if self._machine.client.account.identity == identity:
            self._perform(do.SaveIdentity(identity))

    def _call_hook(self, hook: Callable[..., None], *arguments: Any) -> bool:
        """Return whether `hook` has returned; what it raises is logged."""
        try:
            hook(*arguments)
        except Exception:
            log.exception("an adapter has failed")
            return False
        return True

    def _log_change(self, before: State, after: State, now: Instant) -> None:
        client = self._machine.client
        failure, reason = client.failure, client.why
        if failure is not None:
            reason += f": {failure.reason.value}"
            reason += f" ({failure.detail})" if failure.detail else ""
        if (next_try_at := client.next_try_at) is not None:
            reason += f"; next try in {(next_try_at - now.wall).total_seconds():.1f} s"
        # A server that stays away is worth one warning; each further try is logged at DEBUG.
        trying = after in {State.RETRYING, State.CONNECTING} and client.tries > 1
        level = logging.DEBUG if trying else logging.INFO
        if failure is not None and not trying:
            level = logging.WARNING
        refused = WindowsEvent.PASSWORD_REFUSED.extra if after is State.NEEDS_PASSWORD else None
        log.log(level, "%s -> %s: %s", before.value, after.value, reason, extra=refused)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case do.ReadVault() | do.WriteVault() | do.DeleteFromVault():
                self._spawn(self._call_vault(effect))
            case do.SaveState() | do.SaveIdentity():
                self._spawn(self._save(effect))
            case do.Connect(number, server):
                connection = Connection(
                    number, server, proxy_setting=self._proxy, emit=self._events.put_nowait
                )
                task = self._loop.create_task(self._run_connection(connection))
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
            case do.ComputeProof(number, handshake, challenge):
                self._spawn(self._compute_proof(number, handshake, challenge))
            case do.StartTimer(timer, delay_s):
                self._stop_timer(timer)
                self._timers[timer] = self._loop.call_later(
                    delay_s, self._events.put_nowait, ev.TimerFired(timer)
                )
            case do.StopTimer(timer):
                self._stop_timer(timer)
            case do.ShowWarning(days, last_day):
                if not self._call_hook(self._hooks.warn, days, last_day):
                    self._events.put_nowait(ev.WarningAnswered(days, WarningOutcome.FAILED))
            case do.OpenStatus():
                self._call_hook(self._hooks.open_status)
            case do.WithdrawWarning():
                self._call_hook(self._hooks.withdraw_warning)
            case do.AskForPassword(reason):
                if not self._call_hook(self._hooks.ask_for_password, reason):
                    self._events.put_nowait(ev.WarningAnswered(None, WarningOutcome.FAILED))
            case do.TellReceived():
                self._call_hook(self._hooks.tell_received)
            case do.Reply(number, failure):
                future = self._requests.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(failure)
            case do.Quit():
                self._quitting = True

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

    async def _run_connection(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception as exc:
            log.exception("connection %d: unexpected", connection.number)
            failure = Failure(Reason.INTERNAL, detail=type(exc).__name__)
            self._events.put_nowait(ev.Disconnected(connection.number, failure))

    async def _compute_proof(self, number: int, handshake: ClientLogin, challenge: str) -> None:
        event: Event
        try:
            proof = await self._loop.run_in_executor(None, handshake.proof, challenge)
            event = ev.ProofReady(number, proof)
        except ScramError as exc:
            event = ev.ProofRefused(number, failure_of(exc))
        except Exception as exc:
            log.exception("the key derivation has failed")
            failure = Failure(Reason.INTERNAL, detail=type(exc).__name__)
            event = ev.ProofRefused(number, failure)
        self._events.put_nowait(event)

    # --- files

    async def _save(self, effect: do.SaveIdentity | do.SaveState) -> None:
        """Write settings or state, and try again while that fails.

        The client goes on without, but the next start of the program uses what is on the disk.
        """
        self._unsaved[type(effect)] = effect
        delay_s = SAVE_AGAIN_S
        while failure := await self._save_once(effect):
            log.warning("%s, next try in %d s", failure, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, SAVE_AGAIN_MAX_S)

    async def _save_once(self, effect: do.SaveIdentity | do.SaveState) -> str | None:
        """Return what was wrong; None when it is written, or a newer one has taken its place."""
        kind, failure = type(effect), None
        async with self._one_file_at_a_time:
            if self._unsaved.get(kind) is effect:
                try:
                    failure = await self._loop.run_in_executor(None, self._write_file, effect)
                except OSError as exc:  # there is no thread for it
                    failure = f"not saved: {exc.strerror}"
                if failure is None and self._unsaved.get(kind) is effect:
                    del self._unsaved[kind]
        return failure

    def _write_file(self, effect: do.SaveIdentity | do.SaveState) -> str | None:
        """Run on a thread of its own."""
        try:
            if isinstance(effect, do.SaveIdentity):
                self._hooks.save_identity(effect.identity)
            else:
                self._saved_state.save(effect.identity, effect.saved_state)
        except Exception as exc:  # noqa: BLE001 - the caller logs it, and the client goes on
            what = "settings" if isinstance(effect, do.SaveIdentity) else "state"
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            return f"{what} not saved: {reason}"
        return None

    # --- the vault

    async def _call_vault(self, effect: do.ReadVault | do.WriteVault | do.DeleteFromVault) -> None:
        """Make the call; answer with an event."""
        answer: Event
        try:
            match effect:
                case do.ReadVault(number, identity):
                    answer = ev.VaultRead(number, await self._vault_calls.read(identity))
                case do.WriteVault(number, identity, credentials):
                    await self._vault_calls.write(identity, credentials)
                    log.info("vault: the entry is stored (%s)", effect.reason.value)
                    answer = ev.VaultWritten(number)
                case do.DeleteFromVault(number, identity):
                    await self._vault_calls.delete(identity)
                    log.info("vault: the entry is deleted")
                    answer = ev.VaultWritten(number)
        except VaultError as exc:
            log.warning("vault: %s: %s", exc.reason.value, exc)
            answer = ev.VaultFailed(effect.number, exc.reason)
        except Exception:
            log.exception("vault: unexpected")
            answer = ev.VaultFailed(effect.number, Reason.VAULT_BROKEN)
        self._events.put_nowait(answer)
