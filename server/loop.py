"""Make the event loop of a gateway, and tune the interpreter for it."""

from __future__ import annotations

import asyncio
import gc
import sys

GC_THRESHOLDS = (10_000, 1_000, 100)
"""With so many new objects, a collection of the youngest generation takes about a millisecond. The
oldest generation is hardly ever collected: that takes half a second for ten thousand clients. A
connection that closes leaves nothing to collect (`test_gateway_connections.py`)."""
SWITCH_SECONDS = 0.0005
"""How long a busy loop delays a thread that has an answer of the database."""


def new_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop, which takes half of the CPU, or asyncio's where there is no uvloop."""
    try:
        import uvloop
    except ImportError:  # on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def tune() -> None:
    """Tune the interpreter. Call it once, when all is set up: no object of then is collected."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
