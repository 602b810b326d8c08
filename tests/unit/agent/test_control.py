"""The control channel, without the ends of a platform."""

from __future__ import annotations

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.control import ControlChannel
from agent.ports import Accept
from tests.support.channel_contract import echo
from tests.support.fakes import FakeEnds


class Ends(FakeEnds):
    """Ends at which the test lets peers in."""

    @asynccontextmanager
    async def listen(self, accept: Accept, *, limit: int) -> AsyncIterator[None]:
        self.accept = accept
        yield


async def peer() -> tuple[StreamReader, StreamWriter, socket.socket]:
    """Return the client's side of a connection, and the other side."""
    ours, theirs = socket.socketpair()
    return *await asyncio.open_connection(sock=ours), theirs


async def test_peers_that_come_at_the_end_are_hung_up_on() -> None:
    """No connection is left open: not one that just begins, and none that comes later."""
    ends, claimed = Ends(), asyncio.Event()
    task = asyncio.create_task(ControlChannel(ends).serve(echo, claimed=claimed.set))
    await claimed.wait()
    for end in (task.cancel, lambda: None):
        reader, writer, other = await peer()
        with other:
            end()
            ends.accept(reader, writer)
            await asyncio.wait({task})
            assert writer.is_closing()
