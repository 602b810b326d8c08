"""The event loop of a gateway, and what keeps the interpreter from holding it up."""

from __future__ import annotations

import asyncio
import gc
import sys

GC_THRESHOLDS = (10_000, 1_000, 100)
"""A collection of the young takes about a millisecond at such a number of objects. Older ones,
which belong to clients that wait, are hardly ever looked at: that takes half a second for ten
thousand clients. A connection that closes leaves nothing to collect (`test_gateway_transport.py`).
"""
SWITCH_SECONDS = 0.0005
"""How long a busy loop keeps the interpreter from a thread that has an answer of the database."""


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one: half of the CPU, and a tenth of the memory for TLS."""
    try:
        import uvloop
    except ImportError:  # on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def tune() -> None:
    """Once, when all is imported and set up: what is there by then is never collected."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
