"""Wait by polling for a change by another process or thread."""

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
    """Return the first true result of `check`. Raise AssertionError with `or_say` after `within_s`.

    `or_say` is a text, or a function that returns the text at the time-out.
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
    """Return the first true result of `check`. Raise TimeoutError after `within_s`."""
    async with asyncio.timeout(within_s):
        while not (answer := await check()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(PAUSE_S)
        return answer
