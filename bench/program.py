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

_loop: asyncio.AbstractEventLoop
_part: Any
"""Of the other process."""


class Program:
    """The part in its process, where the event loop also runs between the questions."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def ask(self, name: str, *arguments: Any) -> Any:
        """Run a coroutine of the part. Return its result, or raise what it raises."""
        return self._process.submit(_answer, name, *arguments).result()


@contextmanager
def running(
    part: Callable[..., Any],
    *arguments: Any,
    core: int = machine.LOAD_CORE,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[Program]:
    """Make the part, by a call in its process, and run it until the end of the block."""
    begin = (core, new_loop, part, *arguments)
    with ProcessPoolExecutor(1, get_context("spawn"), _begin, begin) as process:
        try:
            yield Program(process)
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
