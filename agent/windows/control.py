"""The control channel's ends on Windows: a named pipe of the client that has locked a file.

There is one client for each user, whatever the number of logon sessions, because vault, settings
and device are the user's.

Any user of the PC can take any name of a pipe first, and so keep a client out. So the lock is a
file in this user's own folder, and the pipe has a random name, which that file holds. In a folder
that refuses files, the pipe has a fixed name, and the pipe itself is the lock.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import asyncio
import hashlib
import os
import secrets
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from logging import getLogger
from typing import Any

import win32api
import win32con
import win32file
import win32security

from agent.files import insist
from agent.paths import Paths, make_private
from agent.ports import Accept, ChannelBusy, ChannelError, NotRunning
from agent.windows.lock import lock

log = getLogger(__name__)

PREFIX = r"\\.\pipe\coconowork-client-"
NAME_BYTES = 16


class PipeEnds:
    """Implement `ports.ChannelEnds`; clients with different `paths` do not see each other."""

    def __init__(self, paths: Paths) -> None:
        self._lock_file = paths.lock_file
        digest = hashlib.sha256(str(self._lock_file).casefold().encode()).hexdigest()[:16]
        user = win32security.ConvertSidToStringSid(_this_user())
        self._fixed_name = f"{PREFIX}{user}-{digest}"

    @asynccontextmanager
    async def listen(self, accept: Accept, *, limit: int) -> AsyncIterator[None]:
        loop: Any = asyncio.get_running_loop()  # Windows' event loop, which has pipes

        def protocol() -> StreamReaderProtocol:
            return StreamReaderProtocol(StreamReader(limit), accept)

        with self._claimed() as name:
            with suppress(FileNotFoundError):  # no client has the name
                _, writer = await _open(name, limit=limit)
                writer.close()
                raise ChannelBusy("another client of this user is running")
            [server] = await loop.start_serving_pipe(protocol, name)
            try:
                _keep_others_out(name)
                yield
            finally:
                server.close()

    async def connect(self, *, limit: int) -> tuple[StreamReader, StreamWriter]:
        for name in self.names():
            with suppress(FileNotFoundError):
                return await _open(name, limit=limit)
        raise NotRunning("no client is running")

    def names(self) -> list[str]:
        """Return the names that a client may have: the one in the lock file, and the fixed one.

        This does not try the lock: holding it for a moment would keep a client from starting.
        """
        with suppress(OSError), insist(lambda: self._lock_file.open("rb")) as file:
            name = file.read(len(PREFIX) + 2 * NAME_BYTES).decode("ascii", "replace")
            if name.startswith(PREFIX):
                return [name, self._fixed_name]
        return [self._fixed_name]

    @contextmanager
    def _claimed(self) -> Iterator[str]:
        """Hold the lock, and yield the name for the pipe. Raise ChannelBusy."""
        try:
            make_private(self._lock_file.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_BINARY | os.O_NOINHERIT
            handle = insist(lambda: os.open(self._lock_file, flags, 0o600))
        except OSError as exc:
            log.warning("no lock file (%s); the pipe is the lock", exc.strerror)
            yield self._fixed_name
            return
        try:
            if not lock(handle):
                raise ChannelBusy("another client of this user is running")
            name = PREFIX + secrets.token_hex(NAME_BYTES)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, name.encode())
            yield name
        finally:
            os.close(handle)


async def _open(name: str, *, limit: int) -> tuple[StreamReader, StreamWriter]:
    """Connect to the pipe. Raise FileNotFoundError, or ChannelError for another user's."""
    reader = StreamReader(limit)
    loop: Any = asyncio.get_running_loop()
    transport, protocol = await loop.create_pipe_connection(
        lambda: StreamReaderProtocol(reader), name
    )
    # Another user may have made a pipe of this name after the client's end.
    if _owner(transport.get_extra_info("pipe").handle) != _this_user():
        transport.close()
        raise ChannelError("the channel belongs to another user")
    return reader, StreamWriter(transport, protocol, reader, loop)


def _keep_others_out(name: str) -> None:
    """Let only this user open the pipe, in this instance and in all later ones.

    asyncio makes the pipe with default rights, by which every user may read.
    """
    sid = win32security.ConvertSidToStringSid(_this_user())
    wanted = win32security.ConvertStringSecurityDescriptorToSecurityDescriptor(
        f"O:{sid}D:P(A;;GA;;;{sid})", win32security.SDDL_REVISION_1
    )
    access = win32con.WRITE_DAC | win32con.WRITE_OWNER
    pipe: Any = win32file.CreateFile(name, access, 0, None, win32file.OPEN_EXISTING, 0, None)
    try:
        win32security.SetKernelObjectSecurity(
            pipe,
            win32security.OWNER_SECURITY_INFORMATION | win32security.DACL_SECURITY_INFORMATION,
            wanted,
        )
    finally:
        pipe.Close()


def _owner(pipe: int) -> Any:
    return win32security.GetSecurityInfo(
        pipe, win32security.SE_KERNEL_OBJECT, win32security.OWNER_SECURITY_INFORMATION
    ).GetSecurityDescriptorOwner()


def _this_user() -> Any:
    this_process = win32api.GetCurrentProcess()
    token: Any = win32security.OpenProcessToken(this_process, win32security.TOKEN_QUERY)
    try:
        return win32security.GetTokenInformation(token, win32security.TokenUser)[0]
    finally:
        token.Close()
