"""The control channel on a Unix socket; the client that locks a file is the only one."""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError("for Linux")

import asyncio
import errno
import fcntl
import hashlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from logging import getLogger
from pathlib import Path

from agent.control import (
    LAST_WORDS_S,
    LINE_TIMEOUT_S,
    MAX_CONNECTIONS,
    MAX_LINE_BYTES,
    Handler,
    answer,
)
from agent.paths import Paths, make_private
from agent.ports import ChannelBusy, ChannelError, NotRunning

log = getLogger(__name__)

SOCKET_NAME = "control.sock"
LOCK_NAME = "client.lock"
_UNWRITABLE = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES}


class SocketChannel:
    """Implement `ports.ControlChannel` in `paths.runtime_dir`, which only this user can enter."""

    def __init__(self, paths: Paths) -> None:
        self._directory = paths.runtime_dir
        self._connections: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self, handle: Handler, *, claimed: Callable[[], None]) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # Not a coroutine: asyncio would make a task of it that has no owner.
            peer = writer.get_extra_info("socket")
            if len(self._connections) >= MAX_CONNECTIONS or _peer_uid(peer) != os.getuid():
                writer.close()
                return
            task = asyncio.create_task(self._serve_one(handle, reader, writer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        with _claim(self._directory) as listener:
            server = await asyncio.start_unix_server(accept, sock=listener, limit=MAX_LINE_BYTES)
            claimed()
            try:
                # Not serve_forever, which from Python 3.12 on waits for idle peers when cancelled.
                await asyncio.get_running_loop().create_future()
            finally:
                server.close()
                if self._answering:
                    # The sender of "quit" gets its answer.
                    await asyncio.wait(self._answering, timeout=LAST_WORDS_S)
                for connection in list(self._connections):
                    connection.cancel()
                await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve_one(
        self, handle: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        try:
            while True:
                async with asyncio.timeout(LINE_TIMEOUT_S):
                    line = await reader.readuntil(b"\n")
                self._answering.add(task)
                writer.write(await answer(handle, line))
                async with asyncio.timeout(LINE_TIMEOUT_S):
                    await writer.drain()
                self._answering.discard(task)
        except (ChannelError, OSError, EOFError, asyncio.LimitOverrunError) as exc:
            log.debug("control connection closed: %s", type(exc).__name__)
        finally:
            self._answering.discard(task)
            writer.close()


async def exchange(paths: Paths, line: bytes, *, timeout_s: float) -> bytes:
    """Send one line to the running client, return its answer. Raise ChannelError."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connect(paths.runtime_dir)
            try:
                writer.write(line)
                return await reader.readuntil(b"\n")
            finally:
                writer.close()
    except TimeoutError:
        raise ChannelError("the client does not answer") from None
    except (EOFError, asyncio.LimitOverrunError):
        raise ChannelError("the client gave no answer") from None
    except OSError as exc:
        raise NotRunning(f"no client is running: {exc.strerror}") from None


@contextmanager
def _claim(directory: Path) -> Iterator[socket.socket]:
    """Yield the listening socket. Raise ChannelBusy or ChannelError.

    On a disk that is full or read-only the socket has no file but an abstract name: a client that
    cannot write goes on waiting.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_lock(directory))
            listener = stack.enter_context(_listening_socket(directory))
        except _NoPlace as exc:
            log.warning("%s; the channel goes without a file", exc)
            listener = stack.enter_context(_abstract_socket(directory))
        yield listener


class _NoPlace(ChannelError):
    """Nothing can be created in the directory, for a reason that is no attack."""


def _error(where: Path, exc: OSError) -> ChannelError:
    kind = _NoPlace if exc.errno in _UNWRITABLE else ChannelError
    return kind(f"{where}: {exc.strerror}")


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Hold the lock, which ends with the process. The file stays, so that all lock the same one."""
    try:
        make_private(directory)
        # Read-only, so that an existing file can be locked on any disk.
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(directory / LOCK_NAME, flags, 0o600)
    except OSError as exc:
        raise _error(directory, exc) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ChannelBusy("another client of this user is running") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def _listening_socket(directory: Path) -> Iterator[socket.socket]:
    with _socket_path(directory) as path, socket.socket(socket.AF_UNIX) as listener:
        try:
            # The process that created it has ended: this one holds the lock.
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(MAX_CONNECTIONS)
            listener.setblocking(False)
        except OSError as exc:
            raise _error(directory / SOCKET_NAME, exc) from None
        try:
            yield listener
        finally:
            with suppress(OSError):
                path.unlink()


@contextmanager
def _abstract_socket(directory: Path) -> Iterator[socket.socket]:
    name = _abstract_name(directory)
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(name)
        except OSError:
            # An OSError here means that a client is just ending.
            with socket.socket(socket.AF_UNIX) as peer, suppress(OSError):
                peer.connect(name)
                _check_server(peer)
            raise ChannelBusy("another client of this user is running") from None
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
        yield listener


def _abstract_name(directory: Path) -> str:
    """Return an abstract name. Any user can take it, so both ends check the other's user."""
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:32]
    return f"\0coconowork-{os.getuid()}-{digest}"


async def _connect(directory: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    peer = socket.socket(socket.AF_UNIX)
    loop = asyncio.get_running_loop()
    try:
        peer.setblocking(False)
        try:
            with _socket_path(directory) as path:
                await loop.sock_connect(peer, str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            await loop.sock_connect(peer, _abstract_name(directory))
        _check_server(peer)
        return await asyncio.open_unix_connection(sock=peer, limit=MAX_LINE_BYTES)
    except BaseException:
        peer.close()
        raise


def _check_server(peer: socket.socket) -> None:
    if _peer_uid(peer) != os.getuid():
        raise ChannelError("the channel belongs to another user")


@contextmanager
def _socket_path(directory: Path) -> Iterator[Path]:
    """Yield a path through the open directory, because a socket's path may have 107 bytes only."""
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{handle}/{SOCKET_NAME}")
    finally:
        os.close(handle)


def _peer_uid(peer: socket.socket) -> int:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
