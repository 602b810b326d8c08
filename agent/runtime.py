"""Runs the machine: events in, effects performed, views out. Owns the loop and every task on it.

The loop lives on one worker thread; the keyring and the files have a thread of their own, one
after the other, so that writes keep their order; key derivation has another.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from agent.connection import Connection
from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Identity
from agent.core.effects import Effect
from agent.core.events import Event, Instant, Timer
from agent.core.failure import Reason, failure_of
from agent.core.machine import Machine
from agent.core.state import State
from agent.core.view import View
from agent.ports import SavedStateStore, Vault, VaultError
from agent.worker import Worker
from protocol.scram import ClientLogin, ScramError

log = logging.getLogger(__name__)

T = TypeVar("T")

SAVE_AGAIN_S = 60.0
STORAGE_S = 5.0
"""Seconds at the end that writes under way may still take."""


def _steady() -> float:
    """Seconds that go on while the PC sleeps; on Windows `monotonic` does."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def follow_time_zone() -> None:
    """Have local time follow the PC's zone: C libraries look it up once and keep to it."""
    if sys.platform == "win32":
        ctypes.cdll.ucrtbase._tzset()  # noqa: SLF001 - the C library's name for it
    else:
        time.tzset()


def _on_stray_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What is raised in a callback of the loop's, where nobody waits for it."""
    if isinstance(context.get("exception"), EOFError):
        # websockets tells its reader twice when a proxy hangs up; once was told by `classify`.
        log.debug("%s: end of the stream", context.get("message"))
    else:
        loop.default_exception_handler(context)


def instant() -> Instant:
    """Now."""
    return Instant(datetime.now(UTC), _steady())


@dataclass(frozen=True)
class Hooks:
    """What the machine wants done outside of the loop. Called on the loop's thread; must return."""

    show: Callable[[View], None]
    warn: Callable[[int], None]
    withdraw_warning: Callable[[], None]
    ask_for_password: Callable[[Reason], None]
    save_identity: Callable[[Identity], None]
    """Raise OSError or AgentError; it is logged."""
    quit: Callable[[], None]


class Runtime:
    """`start`, `post` from any thread, `join`. The loop ends after a Quit effect."""

    def __init__(
        self,
        machine: Machine,
        *,
        vault: Vault,
        memory: SavedStateStore,
        hooks: Hooks,
        proxy: str = "system",
    ) -> None:
        self._machine = machine
        self._vault = vault
        self._memory = memory
        self._hooks = hooks
        self._proxy = proxy
        self._view = machine.view(instant())
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="coconowork-loop", daemon=True)
        # Looking up a name may hang; the next try looks it up all the same.
        self._loop.set_default_executor(Worker("coconowork-names", 4))
        self._storage = Worker("coconowork-storage")
        self._keys = Worker("coconowork-keys")
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: dict[int, tuple[Connection, asyncio.Task[None]]] = {}
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._requests: dict[int, Future[Reason | None]] = {}
        self._numbers = itertools.count(1)
        self._unsaved: dict[type[Effect], do.SaveIdentity | do.SaveState] = {}
        """The newest of each kind that is not on the disk yet."""
        self._quitting = False
        self._companions: list[Callable[[], Coroutine[Any, Any, None]]] = []

    # --- from any thread

    @property
    def view(self) -> View:
        """The newest snapshot."""
        return self._view

    def accompany(self, companion: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run this on the loop, too, until the end. Before `start` only."""
        self._companions.append(companion)

    def start(self) -> None:
        """Begin on a thread of its own."""
        self._thread.start()

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
        """Run this on the loop and wait for its answer."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def written(self) -> None:
        """Return when what was to be stored so far has been tried, once more where it has failed.

        On the loop.
        """
        await self._loop.run_in_executor(self._storage, int)
        for kind, effect in list(self._unsaved.items()):
            failure = await self._loop.run_in_executor(self._storage, self._save_now, effect)
            if failure is None and self._unsaved.get(kind) is effect:
                del self._unsaved[kind]

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- on the loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except Exception:
            log.exception("the client's loop has failed")
        finally:
            self._loop.close()
            self._storage.shutdown(wait=False, cancel_futures=True)
            self._keys.shutdown(wait=False, cancel_futures=True)
            for future in self._requests.values():
                if not future.done():
                    future.set_result(Reason.INTERNAL)
            self._hooks.quit()

    async def _main(self) -> None:
        self._loop.set_exception_handler(_on_stray_error)
        for companion in self._companions:
            self._spawn(companion())
        self._hooks.show(self._view)
        try:
            while not self._quitting:
                self._handle(await self._events.get())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._vault.close()  # else the process would stay until its prompt is answered
            with suppress(TimeoutError):
                async with asyncio.timeout(STORAGE_S):
                    await self.written()
            tasks = [*self._tasks, *(task for _, task in self._connections.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _handle(self, event: Event) -> None:
        follow_time_zone()
        now = instant()
        before = self._machine.state
        effects = self._machine.handle(event, now)  # raises only by a defect, which ends the loop
        after = self._machine.state
        if after is not before:
            self._log_change(before, after, now)
        for effect in effects:
            log.debug("%s -> %s", type(event).__name__, type(effect).__name__)
            self._perform(effect)
        view = self._machine.view(now)
        if view != self._view:
            self._view = view
            self._hooks.show(view)

    def _log_change(self, before: State, after: State, now: Instant) -> None:
        client = self._machine.client
        failure, reason = client.failure, client.why
        if failure is not None:
            reason += f": {failure.reason.value}"
            reason += f" ({failure.detail})" if failure.detail else ""
        if (next_try_at := client.next_try_at) is not None:
            reason += f"; next try in {(next_try_at - now.wall).total_seconds():.1f} s"
        # A server that stays away is worth one warning, not one for every try.
        trying = after in {State.RETRYING, State.CONNECTING} and client.tries > 1
        level = logging.DEBUG if trying else logging.INFO
        if failure is not None and not trying:
            level = logging.WARNING
        log.log(level, "%s -> %s: %s", before.value, after.value, reason)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case do.ReadVault() | do.WriteVault() | do.DeleteFromVault():
                self._spawn(self._store(effect))
            case do.SaveState():
                self._spawn(self._save(effect))
            case do.SaveIdentity():
                self._spawn(self._save(effect))
            case do.Connect(number, server):
                connection = Connection(
                    number, server, proxy_setting=self._proxy, emit=self._events.put_nowait
                )
                task = self._loop.create_task(connection.run())
                self._connections[number] = (connection, task)
                task.add_done_callback(lambda _: self._connections.pop(number, None))
            case do.Disconnect(number):
                self._cut(number)
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
            case do.ShowWarning(days):
                self._hooks.warn(days)
            case do.WithdrawWarning():
                self._hooks.withdraw_warning()
            case do.AskForPassword(reason):
                self._hooks.ask_for_password(reason)
            case do.Reply(number, failure):
                future = self._requests.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(failure)
            case do.Quit():
                self._quitting = True

    def _stop_timer(self, timer: Timer) -> None:
        if handle := self._timers.pop(timer, None):
            handle.cancel()

    def _cut(self, number: int) -> None:
        if number in self._connections:
            self._connections[number][1].cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("a task has failed", exc_info=exc)

    async def _compute_proof(self, number: int, handshake: ClientLogin, challenge: str) -> None:
        event: Event
        try:
            proof = await self._loop.run_in_executor(self._keys, handshake.proof, challenge)
            event = ev.ProofReady(number, proof)
        except ScramError as exc:
            event = ev.ProofRefused(number, failure_of(exc))
        self._events.put_nowait(event)

    async def _save(self, effect: do.SaveIdentity | do.SaveState) -> None:
        """Write to the settings or the state; while that fails, again and again, the newest.

        Neither is worth stopping for, but the next start of the program goes by them.
        """
        kind = type(effect)
        self._unsaved[kind] = effect
        for delay_s in _save_again_s():
            failure = await self._loop.run_in_executor(self._storage, self._save_now, effect)
            if failure is None or self._unsaved.get(kind) is not effect:
                break
            log.warning("%s, next try in %d s", failure, delay_s)
            await asyncio.sleep(delay_s)
            if self._unsaved.get(kind) is not effect:
                return
        if self._unsaved.get(kind) is effect:
            del self._unsaved[kind]

    def _save_now(self, effect: do.SaveIdentity | do.SaveState) -> str | None:
        """Perform on the storage thread; what was wrong."""
        try:
            if isinstance(effect, do.SaveIdentity):
                self._hooks.save_identity(effect.identity)
            else:
                self._memory.save(effect.identity, effect.saved_state)
        except Exception as exc:  # noqa: BLE001 - told by the log, and the client goes on
            what = "settings" if isinstance(effect, do.SaveIdentity) else "state"
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            return f"{what} not saved: {reason}"
        return None

    async def _store(self, effect: do.ReadVault | do.WriteVault | do.DeleteFromVault) -> None:
        answer = await self._loop.run_in_executor(self._storage, self._store_now, effect)
        self._events.put_nowait(answer)

    def _store_now(self, effect: do.ReadVault | do.WriteVault | do.DeleteFromVault) -> Event:
        """Perform on the storage thread, and return the event that answers."""
        try:
            match effect:
                case do.ReadVault(number, identity):
                    return ev.VaultRead(number, self._vault.read(identity))
                case do.WriteVault(number, identity, credentials):
                    self._vault.write(identity, credentials)
                case do.DeleteFromVault(number, identity):
                    self._vault.delete(identity)
            return ev.VaultWritten(number)
        except VaultError as exc:
            log.warning("vault: %s: %s", exc.reason.value, exc)
            return ev.VaultFailed(effect.number, exc.reason)
        except Exception:
            log.exception("storage has failed")
            return ev.VaultFailed(effect.number, Reason.VAULT_BROKEN)


def _save_again_s() -> Iterator[float]:
    """Seconds between tries to save: a minute at first, an hour in the end."""
    delay_s = SAVE_AGAIN_S
    while True:
        yield delay_s
        delay_s = min(delay_s * 2, 3600.0)
