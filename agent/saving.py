"""Write settings and saved state for the runtime, one file after the other, with retries.

A newer effect replaces an older one of the same kind, which is then not written any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import astuple

from agent.core import effects as do
from agent.core.credentials import Identity
from agent.core.effects import Effect
from agent.core.saved_state import SavedState

log = logging.getLogger(__name__)

AGAIN_S, AGAIN_MAX_S = 60.0, 3600.0


class Saver:
    """Perform SaveIdentity and SaveState on the loop. The two calls run on other threads."""

    def __init__(
        self,
        save_identity: Callable[[Identity], None],
        save_state: Callable[[Identity, SavedState], None],
    ) -> None:
        self._writes: dict[type[Effect], Callable[..., None]] = {
            do.SaveIdentity: save_identity,
            do.SaveState: save_state,
        }
        self._one_at_a_time = asyncio.Lock()
        self._unsaved: dict[type[Effect], do.SaveIdentity | do.SaveState] = {}
        """The newest effect of each kind that is not on the disk yet."""

    async def save(self, effect: do.SaveIdentity | do.SaveState) -> None:
        """Write settings or state, for the next start of the program; retry while that fails."""
        self._unsaved[type(effect)] = effect
        delay_s = AGAIN_S
        while failure := await self._save_once(effect):
            log.warning("%s, next try in %d s", failure, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, AGAIN_MAX_S)

    async def all_written(self) -> bool:
        """Wait for writes, retry failed ones; return whether the settings are on the disk."""
        for effect in list(self._unsaved.values()):
            await self._save_once(effect)
        return do.SaveIdentity not in self._unsaved

    async def _save_once(self, effect: do.SaveIdentity | do.SaveState) -> str | None:
        """Write once. Return the error; None when it is written, or replaced by a newer effect."""
        kind = type(effect)
        async with self._one_at_a_time:
            if self._unsaved.get(kind) is effect:
                try:
                    await asyncio.to_thread(self._writes[kind], *astuple(effect))
                except Exception as exc:  # noqa: BLE001 - it is logged, and the client goes on
                    what = "settings" if kind is do.SaveIdentity else "state"
                    return f"{what} not saved: {exc.strerror if isinstance(exc, OSError) else exc}"
                if self._unsaved.get(kind) is effect:
                    del self._unsaved[kind]
        return None
