"""The control channel: how other processes of this user, and of no other user, talk to the client.

One JSON object on a line each way, at most 16 KiB. Passwords travel through it, so no line is ever
logged. `windows/control.py` and `linux/control.py` have the two ends of the way: a named pipe, a
Unix socket. Only one client can listen, so the channel also ensures that only one client runs.
"""

from __future__ import annotations

import asyncio
import traceback
from asyncio import LimitOverrunError, StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Any

import msgspec

from agent.ports import ChannelBusy, ChannelEnds, ChannelError, Request

log = getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024
LINE_TIMEOUT_S = 10.0  # seconds that a peer may take to send or to receive a line
LAST_WORDS_S = 1.0  # seconds that the end of the client waits for answers under way
MAX_CONNECTIONS = 16
TURN_S = 0.5  # seconds between two attempts to claim a channel that will be free soon
STATUS_S = 2.0
GONE_TIMES = 10  # tries in a row at which the channel is taken and its client cannot be asked

Handler = Callable[[Request], Awaitable[Request]]


class ControlChannel:
    """One client's channel: the client calls `serve`, other processes call `ask`."""

    def __init__(self, ends: ChannelEnds) -> None:
        self._ends = ends
        self._accepts = True
        self._peers: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self, handle: Handler, *, claimed: Callable[[], None]) -> None:
        """Claim the channel, call `claimed`, and answer. Raise ChannelBusy or ChannelError."""

        def accept(reader: StreamReader, writer: StreamWriter) -> None:
            # Not a coroutine: asyncio would make a task that has no owner.
            if len(self._peers) >= MAX_CONNECTIONS or not self._accepts:
                writer.close()
                return
            task = asyncio.create_task(self._serve_one(handle, reader, writer))
            self._peers.add(task)
            task.add_done_callback(self._peers.discard)
            # Not in the task: a task that is cancelled before it starts closes nothing.
            task.add_done_callback(lambda _: writer.close())

        self._accepts = True
        try:
            async with self._ends.listen(accept, limit=MAX_LINE_BYTES):
                claimed()
                await asyncio.get_running_loop().create_future()
        finally:
            self._accepts = False
            if self._answering:
                # The sender of "quit" gets its answer.
                await asyncio.wait(self._answering, timeout=LAST_WORDS_S)
            for peer in self._peers:
                peer.cancel()
            await asyncio.gather(*self._peers, return_exceptions=True)

    async def serve_in_turn(self, handle: Handler, *, claimed: Callable[[], None]) -> None:
        """Call `serve`, but first wait while a client for one command has the channel."""
        gone = 0
        while True:
            try:
                await self.serve(handle, claimed=claimed)
            except ChannelBusy as busy:
                try:
                    status = await self.ask({"command": "status"}, timeout_s=STATUS_S)
                    gone, is_free_soon = 0, bool(status.get("one_command"))
                except ChannelError as exc:
                    # That client has just ended, is ending, or is about to listen.
                    gone += 1
                    hangs = isinstance(exc.__context__, TimeoutError)
                    is_free_soon = gone < GONE_TIMES and not hangs
                if not is_free_soon:
                    raise busy from None
            log.info("a command has the channel; trying again")
            await asyncio.sleep(TURN_S)

    async def ask(self, request: Request, *, timeout_s: float) -> Request:
        """Return the running client's answer. Raise NotRunning; ChannelError without an answer."""
        line = encode_line(request)
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await self._ends.connect(limit=MAX_LINE_BYTES)
                try:
                    writer.write(line)
                    return decode_line(await reader.readuntil(b"\n"))
                finally:
                    writer.close()
        except TimeoutError:
            raise ChannelError("the client does not answer") from None
        except (OSError, EOFError, LimitOverrunError):
            raise ChannelError("the client gave no answer") from None

    async def _serve_one(self, handle: Handler, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        try:
            while True:
                async with asyncio.timeout(LINE_TIMEOUT_S):
                    line = await reader.readuntil(b"\n")
                self._answering.add(task)
                writer.write(await answer(handle, line))
                async with asyncio.timeout(LINE_TIMEOUT_S):
                    await writer.drain()
                self._answering.discard(task)
        except (ChannelError, OSError, EOFError, LimitOverrunError) as exc:
            log.debug("control connection closed: %s", type(exc).__name__)
        finally:
            self._answering.discard(task)


def encode_line(message: Request) -> bytes:
    """Return `message` as a line. Raise ChannelError when it is too long."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ChannelError(f"more than {MAX_LINE_BYTES} bytes")
    return line


def decode_line(line: bytes) -> Request:
    """Return the object in `line`. Raise ChannelError, which does not quote `line`, otherwise."""
    try:
        message: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ChannelError("not a JSON object") from None
    return message


async def answer(handle: Handler, line: bytes) -> bytes:
    """Return the answer to `line`. Raise ChannelError when the connection is to be closed."""
    request = decode_line(line)
    try:
        return encode_line(await handle(request))
    except Exception as exc:  # noqa: BLE001 - a defect in one command must not end the channel
        # Without the exception's text, which may quote the request.
        where = "".join(traceback.format_tb(exc.__traceback__))
        log.error("a command failed with %s\n%s", type(exc).__name__, where)  # noqa: TRY400
        return encode_line({"error": "internal"})
