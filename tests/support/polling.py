"""Wait until something is true that another process or thread changes without telling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")
PAUSE_S = 0.02


def eventually(
    check: Callable[[], _T | None],
    *,
    within_s: float = 30.0,
    pause_s: float = PAUSE_S,
    or_say: str | Callable[[], object] = "it did not happen",
) -> _T:
    """Return the first true answer of `check`. Raise AssertionError with `or_say` when it is late.

    `or_say` is a text, or a function that is called for the text when the time is over.
    """
    end = time.monotonic() + within_s
    while not (answer := check()):
        if time.monotonic() > end:
            what = or_say if isinstance(or_say, str) else or_say()
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(pause_s)
    return answer


async def eventually_async(
    check: Callable[[], Awaitable[_T | None]], *, within_s: float = 20.0
) -> _T:
    """Return the first true answer of `check`, on an event loop. Raise TimeoutError when late."""
    async with asyncio.timeout(within_s):
        while not (answer := await check()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(PAUSE_S)
        return answer
