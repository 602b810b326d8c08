"""The control channel's ends on Linux: a socket with an abstract name, and no file.

The kernel gives a name to one process, and takes it back when that process ends. Any user can take
a name first, so each end checks the other's user.
"""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError("for Linux")

import asyncio
import hashlib
import os
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from agent.paths import Paths
from agent.ports import Accept, ChannelBusy, ChannelError, NotRunning


class SocketEnds:
    """Implement `ports.ChannelEnds`; clients with different `paths` do not see each other."""

    def __init__(self, paths: Paths) -> None:
        digest = hashlib.sha256(os.fsencode(paths.state_dir)).hexdigest()[:32]
        self._name = f"\0coconowork-{os.getuid()}-{digest}"

    @asynccontextmanager
    async def listen(self, accept: Accept, *, limit: int) -> AsyncIterator[None]:
        def accept_this_user(reader: StreamReader, writer: StreamWriter) -> None:
            if _peer_uid(writer) == os.getuid():
                accept(reader, writer)
            else:
                writer.close()

        try:
            server = await asyncio.start_unix_server(accept_this_user, self._name, limit=limit)
        except OSError:
            with suppress(NotRunning):  # the other client is just ending
                _, writer = await self.connect(limit=limit)
                writer.close()
            raise ChannelBusy("another client of this user is running") from None
        try:
            # Not serve_forever, which from Python 3.12 on waits for idle peers when cancelled.
            yield
        finally:
            # asyncio loses the socket of a peer that it is accepting while the server closes.
            asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
            for _ in range(3):
                await asyncio.sleep(0)
            server.close()

    async def connect(self, *, limit: int) -> tuple[StreamReader, StreamWriter]:
        try:
            reader, writer = await asyncio.open_unix_connection(self._name, limit=limit)
        except OSError as exc:
            raise NotRunning(f"no client is running: {exc.strerror}") from None
        if _peer_uid(writer) != os.getuid():
            writer.close()
            raise ChannelError("the channel belongs to another user")
        return reader, writer


def _peer_uid(writer: StreamWriter) -> int:
    peer = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
