"""Run a part of a bench in a process of its own, on one core, and call its coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from bench import machine

Ask = Callable[..., Any]
_loop: asyncio.AbstractEventLoop
_part: Any
"""The part; set only in the other process."""


@contextmanager
def running(
    part: Callable[..., Any],
    *arguments: Any,
    core: int = machine.LOAD_CORE,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[Ask]:
    """Call `part` in a new process, and run an event loop there until the end of the block.

    Yield a function that runs a coroutine of the returned object, by its name.
    """
    begin = (core, new_loop, part, *arguments)
    with ProcessPoolExecutor(1, get_context("spawn"), _begin, begin) as process:
        try:
            yield lambda *asked: process.submit(_answer, *asked).result()
        finally:
            process.submit(_end)


def _begin(
    core: int,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    part: Callable[..., Any],
    *arguments: Any,
) -> None:
    global _loop, _part
    machine.keep_on(core)
    _loop, _part = new_loop(), part(*arguments)
    threading.Thread(target=_loop.run_forever, daemon=True).start()


def _answer(name: str, *arguments: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(getattr(_part, name)(*arguments), _loop).result()


def _end() -> None:
    _loop.call_soon_threadsafe(_loop.stop)
