"""Call the vault for the machine, from the event loop, each call with a deadline.

How it works: calls are made one after the other, in the order of the requests, each on
a daemon thread of its own. A call that does not return in time is reported as a VaultError with
VAULT_NO_ANSWER, and its thread is abandoned: it goes on, and neither the next call nor the end of
the program waits for it. While MAX_ABANDONED threads hang, every call fails at once.

An abandoned write may still take place later, and would then replace a newer password by an older
one. So when an abandoned call returns, the newest write of the same entry is done again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.events import Event
from agent.core.failure import Reason
from agent.ports import Vault, VaultError
from agent.threads import DaemonThreads

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ABANDONED = 3


class VaultCalls:
    """Make the calls of `agent.ports.Vault` on the loop. Each call raises VaultError.

    `moved` has two identities when policy has changed the server's address. Until `move`, a
    read of the second falls back to the first, so that a wrong address leaves no copy behind.
    """

    call_s = 15.0  # seconds for a call
    prompt_s = 75.0  # seconds for a call during which the user is asked to unlock the keyring

    def __init__(self, vault: Vault, *, moved: tuple[Identity, Identity] | None = None) -> None:
        self._vault = vault
        self._former = {moved[1]: moved[0]} if moved else {}
        self._threads = DaemonThreads()
        self._one_at_a_time = asyncio.Lock()
        self._abandoned = 0
        self._changes = 0
        self._newest: dict[Identity, Callable[[], None]] = {}
        """The newest write or deletion of each entry since a call was abandoned."""
        self._repeats: set[asyncio.Task[None]] = set()

    async def perform(self, effect: do.ReadVault | do.WriteVault | do.DeleteFromVault) -> Event:
        """Make the call that the machine wants. Return its outcome; never raise."""
        try:
            match effect:
                case do.ReadVault(number, identity):
                    return ev.VaultRead(number, await self.read(identity))
                case do.WriteVault(_, identity, credentials, reason):
                    await self.write(identity, credentials)
                    log.info("vault: the entry is stored (%s)", reason.value)
                case do.DeleteFromVault(_, identity):
                    await self.delete(identity)
                    log.info("vault: the entry is deleted")
        except VaultError as exc:
            log.warning("vault: %s: %s", exc.reason.value, exc)
            return ev.VaultFailed(effect.number, exc.reason)
        except Exception:
            log.exception("vault: unexpected")
            return ev.VaultFailed(effect.number, Reason.VAULT_BROKEN)
        return ev.VaultWritten(effect.number)

    async def read(self, identity: Identity) -> Credentials | None:
        found = await self._call(partial(self._vault.read, identity), identity)
        if found is None and (former := self._former.get(identity)):
            found = await self._call(partial(self._vault.read, former), former)
        return found

    async def move(self, former: Identity, identity: Identity) -> None:
        """Move the entry to the new identity. Called after a login with that identity."""

        def work() -> None:  # one call, so that no other write comes between the steps
            found = self._vault.read(former)
            if found is not None and self._vault.read(identity) is None:
                self._vault.write(identity, found)
            self._vault.delete(former)

        await self._change(work, identity)
        self._former.clear()
        log.info("the stored password has moved from %s to %s", former.server, identity.server)

    async def write(self, identity: Identity, record: Credentials) -> None:
        await self._change(partial(self._vault.write, identity, record), identity)

    async def delete(self, identity: Identity) -> None:
        await self._change(partial(self._vault.delete, identity), identity)
        if former := self._former.pop(identity, None):
            await self.delete(former)

    async def changes_made(self) -> None:
        """Wait for the writes and deletions that were asked for so far."""
        if self._changes:
            async with self._one_at_a_time:
                pass

    async def _change(self, change: Callable[[], None], identity: Identity) -> None:
        if self._abandoned:
            self._newest[identity] = change
        self._changes += 1
        try:
            await self._call(change, identity)
        finally:
            self._changes -= 1

    async def _call(self, work: Callable[[], T], identity: Identity) -> T:
        async with self._one_at_a_time:
            if self._abandoned >= MAX_ABANDONED:
                raise VaultError(Reason.VAULT_NO_ANSWER, "earlier calls still hang")
            loop = asyncio.get_running_loop()
            try:
                call = loop.run_in_executor(self._threads, work)
            except OSError as exc:  # there is no thread for the call
                raise VaultError(Reason.VAULT_NO_ANSWER, str(exc)) from None
            limit_s = self.call_s
            await asyncio.wait({call}, timeout=limit_s)
            if not call.done() and self._vault.has_asked_user:
                limit_s = self.prompt_s
                await asyncio.wait({call}, timeout=limit_s - self.call_s)
            if not call.done():
                self._abandon(call, identity)
                raise VaultError(Reason.VAULT_NO_ANSWER, f"no answer within {limit_s:.0f} s")
            return call.result()

    def _abandon(self, call: asyncio.Future[T], identity: Identity) -> None:
        self._abandoned += 1

        def on_return(call: asyncio.Future[T]) -> None:
            self._abandoned -= 1
            error = None if call.cancelled() else call.exception()
            log.warning("an abandoned call to the vault has returned (%s)", type(error).__name__)
            if change := self._newest.get(identity):
                task = asyncio.ensure_future(self._repeat(change, identity))
                self._repeats.add(task)
                task.add_done_callback(self._repeats.discard)
            if not self._abandoned:
                self._newest.clear()

        call.add_done_callback(on_return)

    async def _repeat(self, change: Callable[[], None], identity: Identity) -> None:
        try:
            await self._call(change, identity)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is logged
            log.warning("the newest write could not be repeated: %s", exc)
