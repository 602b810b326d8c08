"""A network between client and server, with faults: silence, resets, loss and delay.

The network is a TCP relay on loopback. A lost segment is imitated by its effect at the receiver:
all data behind that segment is late.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from tests.support.loop_thread import LoopThread

SEGMENT_BYTES = 1448
RETRANSMISSION_S = 1.2
"""TCP's retransmission time at 500 ms one way: a round trip and TCP's margin."""


@dataclass
class Weather:
    """Delay (one way) and loss of segments."""

    delay_s: float = 0.0
    loss: float = 0.0
    lost: int = 0

    def due(self, last_due: float) -> float:
        """Return the arrival time of a segment sent now, never before the previous segment's."""
        due = monotonic() + self.delay_s
        while random.random() < self.loss:
            self.lost += 1
            due += RETRANSMISSION_S
        return max(due, last_due)


class Wire:
    """Relays to `target` on loopback. Call its methods on any thread except that of `servers`."""

    def __init__(self, servers: LoopThread, target: int) -> None:
        self._servers = servers
        self._target = target
        self._writers: set[StreamWriter] = set()
        self._pulled = False
        self._cut: set[StreamWriter] = set()
        """Writers that no longer get data."""
        self.weather = Weather()
        self.port = servers.serve(self._relay)

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}/gateway"

    def pull(self) -> None:
        """Drop all data from now on, without closing a connection."""
        self._pulled = True
        self._cut |= self._writers

    def plug_in(self) -> None:
        """Let new connections pass. Earlier connections stay cut."""
        self._pulled = False

    def reset(self) -> None:
        """Send an RST on every connection."""
        self._servers.call(self._reset())

    async def _reset(self) -> None:
        for writer in list(self._writers):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            writer.transport.abort()

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._pulled:
            await self._swallow(reader)
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, far_writer))
                group.create_task(self._pass_on(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}
            self._cut -= {writer, far_writer}
            for end in (far_writer, writer):
                end.transport.abort() if end.is_closing() else end.close()

    async def _swallow(self, reader: StreamReader) -> None:
        with suppress(OSError):
            while await reader.read(65_536):
                pass

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        segments: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(segments, writer))
            due = 0.0
            with suppress(OSError):
                while data := await reader.read(SEGMENT_BYTES):
                    due = self.weather.due(due)
                    segments.put_nowait((due, data))
            segments.put_nowait((due, b""))

    async def _deliver(
        self, segments: asyncio.Queue[tuple[float, bytes]], writer: StreamWriter
    ) -> None:
        while True:
            due, data = await segments.get()
            if (wait := due - monotonic()) > 0:
                await asyncio.sleep(wait)
            if writer in self._cut:
                continue  # drops also the end of the stream
            if not data:
                writer.close()
                return
            with suppress(OSError):
                writer.write(data)
                await writer.drain()
