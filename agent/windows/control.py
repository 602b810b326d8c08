"""The control channel on a named pipe; the client that locks a file is the only one.

There is one client for each user, whatever the number of logon sessions, because vault, settings
and device are the user's. Pipes block, so each connection has a thread; commands run on the loop.

Any user of the PC can take any name of a pipe or mutex first, and so keep a client out. So the lock
is a file in this user's own folder, and the pipe has a random name, which that file holds. In a
folder that refuses files, the pipe has a fixed name, and a mutex is the lock.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import asyncio
import hashlib
import msvcrt
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from threading import Thread
from time import monotonic
from typing import Any

import pywintypes
import win32api
import win32event
import win32file
import win32pipe
import win32security

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

PIPE_REJECT_REMOTE_CLIENTS = 8
ERROR_FILE_NOT_FOUND, ERROR_ALREADY_EXISTS = 2, 183
ERROR_PIPE_BUSY, ERROR_NO_DATA, ERROR_PIPE_CONNECTED = 231, 232, 535
LOCK_NAME = "client.lock"
LOCKED_BYTE = 1_000_000
"""Far behind the content, which all may read."""
PREFIX = "coconowork-client-"
NAME_BYTES = 16
FILE_FLAG_FIRST_PIPE_INSTANCE = 0x00080000
SECURITY_IDENTIFICATION = 0x00110000
"""With SECURITY_SQOS_PRESENT: the server may identify this user, but not act as this user."""


class PipeChannel:
    """Implement `ports.ControlChannel`; clients with different `paths` do not see each other."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._name = ""
        self._mutex: Any = None
        self._lock: int | None = None
        """The handle of the lock file; the lock ends with it, or with the process."""
        self._answering: set[asyncio.Task[Any]] = set()
        self._peers: list[Thread] = []
        """Used by the accepting thread only, and by other threads after its end."""

    async def serve(self, handle: Handler, *, claimed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        stop: Any = win32event.CreateEvent(None, True, False, None)
        try:
            self._claim()
            first = _create_pipe(self._name, first=True)
            accepting = Thread(
                target=self._accept,
                args=(first, stop, loop, handle, ended),
                name="coconowork-control",
                daemon=True,
            )
            accepting.start()
            claimed()
            try:
                await ended
            finally:
                if self._answering:
                    # The sender of "quit" gets its answer.
                    await asyncio.wait(self._answering, timeout=LAST_WORDS_S)
                for task in list(self._answering):
                    task.cancel()
                win32event.SetEvent(stop)
                await asyncio.to_thread(self._join, accepting)
        finally:
            stop.Close()
            if self._mutex is not None:
                self._mutex.Close()
                self._mutex = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _claim(self) -> None:
        """Take the lock, and choose the pipe's name. Raise ChannelBusy."""
        try:
            make_private(self._paths.runtime_dir)
            flags = os.O_RDWR | os.O_CREAT | os.O_BINARY | os.O_NOINHERIT
            self._lock = os.open(self._paths.runtime_dir / LOCK_NAME, flags, 0o600)
        except OSError as exc:
            log.warning("no lock file (%s); a mutex is the lock", exc.strerror)
            self._name = _fixed_name(self._paths)
            self._mutex = _create_mutex(self._name)
            return
        os.lseek(self._lock, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(self._lock, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise ChannelBusy("another client of this user is running") from None
        self._name = PREFIX + secrets.token_hex(NAME_BYTES)
        os.lseek(self._lock, 0, os.SEEK_SET)
        os.write(self._lock, self._name.encode())

    def _accept(
        self,
        pipe: Any,
        stop: Any,
        loop: asyncio.AbstractEventLoop,
        handle: Handler,
        ended: asyncio.Future[None],
    ) -> None:
        try:
            while _connect(pipe, stop):
                # The next instance first: no other program can take the name while one exists.
                connected, pipe = pipe, _create_pipe(self._name, first=False)
                self._peers = [peer for peer in self._peers if peer.is_alive()]
                if len(self._peers) >= MAX_CONNECTIONS:
                    connected.Close()
                    continue
                thread = Thread(
                    target=self._converse,
                    args=(_Stream(connected, stop), loop, handle),
                    name="coconowork-control-peer",
                    daemon=True,
                )
                thread.start()
                self._peers.append(thread)
        except (ChannelError, pywintypes.error) as exc:
            error = ChannelError(f"the control pipe has failed: {type(exc).__name__}")
            loop.call_soon_threadsafe(_fail, ended, error)
        finally:
            pipe.Close()

    def _converse(self, stream: _Stream, loop: asyncio.AbstractEventLoop, handle: Handler) -> None:
        try:
            while True:
                line = stream.read_line(LINE_TIMEOUT_S)
                reply = asyncio.run_coroutine_threadsafe(self._answer(handle, line), loop).result()
                stream.write(reply, LINE_TIMEOUT_S)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends this connection only
            log.debug("control connection closed: %s", type(exc).__name__)
        finally:
            stream.close()

    async def _answer(self, handle: Handler, line: bytes) -> bytes:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        self._answering.add(task)
        try:
            return await answer(handle, line)
        finally:
            self._answering.discard(task)

    def _join(self, accepting: Thread) -> None:
        deadline = monotonic() + LAST_WORDS_S
        accepting.join(LAST_WORDS_S)
        for peer in self._peers:
            peer.join(max(deadline - monotonic(), 0))


async def exchange(paths: Paths, line: bytes, *, timeout_s: float) -> bytes:
    """Send one line to the running client, return its answer. Raise ChannelError."""
    return await asyncio.to_thread(_exchange, paths, line, monotonic() + timeout_s)


class _Stream:
    """One pipe as a stream; every wait has a deadline, and the event `stop` ends it."""

    def __init__(self, pipe: Any, stop: Any = None) -> None:
        self._pipe = pipe
        self._stop = stop
        self._done: Any = win32event.CreateEvent(None, True, False, None)
        self._rest = b""

    def read_line(self, timeout_s: float) -> bytes:
        """Return a line. Raise ChannelError, or pywintypes.error when the peer has hung up."""
        deadline = monotonic() + timeout_s
        while b"\n" not in self._rest:
            if len(self._rest) >= MAX_LINE_BYTES:
                raise ChannelError("line too long")
            buffer = win32file.AllocateReadBuffer(4096)
            overlapped = self._overlapped()
            win32file.ReadFile(self._pipe, buffer, overlapped)
            count = self._wait(overlapped, deadline, self._stop)
            self._rest += bytes(buffer[:count])
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def write(self, data: bytes, timeout_s: float) -> None:
        """Write `data`. Raise as `read_line`. `stop` does not end it: it may be the last answer."""
        deadline = monotonic() + timeout_s
        overlapped = self._overlapped()
        win32file.WriteFile(self._pipe, data, overlapped)
        self._wait(overlapped, deadline, None)

    def close(self) -> None:
        # Not DisconnectNamedPipe, which discards what the peer has not read yet.
        self._pipe.Close()
        self._done.Close()

    def _overlapped(self) -> Any:
        overlapped = pywintypes.OVERLAPPED()
        overlapped.hEvent = self._done
        win32event.ResetEvent(self._done)
        return overlapped

    def _wait(self, overlapped: Any, deadline: float, stop: Any) -> int:
        events = [self._done] if stop is None else [self._done, stop]
        left_ms = max(int((deadline - monotonic()) * 1000), 0)
        if win32event.WaitForMultipleObjects(events, False, left_ms) != win32event.WAIT_OBJECT_0:
            win32file.CancelIo(self._pipe)
            # The buffer must live until the kernel has released it.
            with suppress(pywintypes.error):
                win32file.GetOverlappedResult(self._pipe, overlapped, True)
            raise ChannelError("no answer in time, or stopped")
        return int(win32file.GetOverlappedResult(self._pipe, overlapped, False))


def _exchange(paths: Paths, line: bytes, deadline: float) -> bytes:
    try:
        stream = _Stream(_open_any(paths, deadline))
        try:
            stream.write(line, deadline - monotonic())
            return stream.read_line(deadline - monotonic())
        finally:
            stream.close()
    except pywintypes.error as exc:
        if exc.winerror == ERROR_FILE_NOT_FOUND:
            raise NotRunning("no client is running") from None
        raise ChannelError(f"the client gave no answer (error {exc.winerror})") from None


def _open_any(paths: Paths, deadline: float) -> Any:
    """Return the pipe named in the lock file, else the one with the fixed name."""
    try:
        return _open(pipe_name_of(paths), deadline)
    except pywintypes.error as exc:
        if exc.winerror != ERROR_FILE_NOT_FOUND:
            raise
        return _open(_fixed_name(paths), deadline)


def _open(name: str, deadline: float) -> Any:
    while True:
        try:
            pipe: Any = win32file.CreateFile(
                _pipe_name(name),
                win32file.GENERIC_READ | win32file.GENERIC_WRITE,
                0,
                None,
                win32file.OPEN_EXISTING,
                win32file.FILE_FLAG_OVERLAPPED | SECURITY_IDENTIFICATION,
                None,
            )
        except pywintypes.error as exc:
            left_ms = int((deadline - monotonic()) * 1000)
            if exc.winerror != ERROR_PIPE_BUSY or left_ms <= 0:
                raise
            win32pipe.WaitNamedPipe(_pipe_name(name), left_ms)
            continue
        owner = win32security.GetSecurityInfo(
            pipe, win32security.SE_KERNEL_OBJECT, win32security.OWNER_SECURITY_INFORMATION
        ).GetSecurityDescriptorOwner()
        if owner != _user():
            pipe.Close()
            raise ChannelError("the channel belongs to another user")
        return pipe


def _connect(pipe: Any, stop: Any) -> bool:
    """Wait for a peer; return False when `stop` is set."""
    connected: Any = win32event.CreateEvent(None, True, False, None)
    overlapped = pywintypes.OVERLAPPED()
    overlapped.hEvent = connected
    try:
        try:
            code = win32pipe.ConnectNamedPipe(pipe, overlapped)
        except pywintypes.error as exc:
            if exc.winerror != ERROR_NO_DATA:
                raise
            return True  # the peer has hung up already, which the first read reports
        if code == ERROR_PIPE_CONNECTED:
            return True
        which = win32event.WaitForMultipleObjects([connected, stop], False, win32event.INFINITE)
        if which != win32event.WAIT_OBJECT_0:
            win32file.CancelIo(pipe)
            with suppress(pywintypes.error):
                win32file.GetOverlappedResult(pipe, overlapped, True)
            return False
        with suppress(pywintypes.error):  # as above
            win32file.GetOverlappedResult(pipe, overlapped, False)
        return True
    finally:
        connected.Close()


def _create_pipe(name: str, *, first: bool) -> Any:
    try:
        return win32pipe.CreateNamedPipe(
            _pipe_name(name),
            win32pipe.PIPE_ACCESS_DUPLEX
            | win32file.FILE_FLAG_OVERLAPPED
            | (FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0),
            win32pipe.PIPE_TYPE_BYTE
            | win32pipe.PIPE_READMODE_BYTE
            | win32pipe.PIPE_WAIT
            | PIPE_REJECT_REMOTE_CLIENTS,
            MAX_CONNECTIONS + 2,
            MAX_LINE_BYTES,
            MAX_LINE_BYTES,
            0,
            _only_this_user(),
        )
    except pywintypes.error as exc:
        raise ChannelError(f"the control pipe cannot be made (error {exc.winerror})") from None


def _create_mutex(name: str) -> Any:
    """Return the mutex, which ends with the process. Raise ChannelBusy or ChannelError."""
    try:
        mutex: Any = win32event.CreateMutex(_only_this_user(), False, rf"Global\{name}")
        error = win32api.GetLastError()
    except pywintypes.error as exc:
        raise ChannelError(f"the control channel cannot be claimed ({exc.winerror})") from None
    if error == ERROR_ALREADY_EXISTS:
        mutex.Close()
        raise ChannelBusy("another client of this user is running")
    return mutex


def _only_this_user() -> Any:
    sid = win32security.ConvertSidToStringSid(_user())
    attributes = win32security.SECURITY_ATTRIBUTES()
    attributes.SECURITY_DESCRIPTOR = (
        win32security.ConvertStringSecurityDescriptorToSecurityDescriptor(
            f"O:{sid}D:P(A;;GA;;;{sid})", win32security.SDDL_REVISION_1
        )
    )
    return attributes


def _user() -> Any:
    this_process = win32api.GetCurrentProcess()
    token: Any = win32security.OpenProcessToken(this_process, win32security.TOKEN_QUERY)
    try:
        return win32security.GetTokenInformation(token, win32security.TokenUser)[0]
    finally:
        token.Close()


def pipe_name_of(paths: Paths) -> str:
    """Return the name in the lock file, the fixed one when there is none."""
    try:
        handle = os.open(paths.runtime_dir / LOCK_NAME, os.O_RDONLY | os.O_BINARY)
    except OSError:
        return _fixed_name(paths)
    try:
        return os.read(handle, len(PREFIX) + 2 * NAME_BYTES).decode("ascii", "replace")
    finally:
        os.close(handle)


def _fixed_name(paths: Paths) -> str:
    digest = hashlib.sha256(str(paths.runtime_dir).casefold().encode()).hexdigest()[:16]
    return f"{PREFIX}{win32security.ConvertSidToStringSid(_user())}-{digest}"


def _pipe_name(name: str) -> str:
    return rf"\\.\pipe\{name}"


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
