"""Handle one client's connection: its socket, its WebSocket, its deadlines, its login.

A connection goes through these stages, and each has a deadline:

    OPENING      its HTTP request has yet to come               `OPEN_SECONDS`
    LOGGING_IN   upgraded, before the first accepted login; or  `LOGIN_SECONDS`
                a client that waits logs in again
    WAITING      logged in, or showing a pairing code           ping after `PING_SECONDS` of silence
    PINGED       the same, a pong is expected                   `PONG_SECONDS`
    CLOSING      nothing more is sent                           `CLOSE_SECONDS`

`ClientConnection` is an `asyncio.Protocol` around websockets' sans-I/O protocol. While a client
waits, it has no task and no timer: one sweep (`listener.py`) checks all deadlines. A message starts
a task. The task handles this message and any that arrive before it is done, and then ends.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, cast, get_args

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol

from protocol import messages
from server import metrics
from server.gateway import handshake
from server.gateway.queries import AcceptedLogin, WaitingDevice

log = logging.getLogger(__name__)

OPEN_SECONDS = 10
"""Longest time from the connection to the end of its upgrade."""
LOGIN_SECONDS = 20
"""Longest time from the upgrade to the first `welcome`, or from a later `hello` to its answer."""
GIVE_WAY_SECONDS = 3
"""When an address has as many connections as allowed, one that has not logged in for this long is
closed in favour of a new one. A login takes less time."""
PING_SECONDS, PONG_SECONDS = 30, 20
"""Silence after which a client is pinged, and how long it may then stay silent."""
CLOSE_SECONDS = 5
"""From the server's close frame to the end of the connection."""
UNREAD_BYTES = 64 * 1024
"""Most bytes that a client may leave unread, beyond the kernel's buffers, before it is cut off."""
FRAME_BURST, FRAMES_PER_S = 60, 2
"""Size and refill of the token bucket for a client's frames; pings and fragments count, too."""
MAX_QUEUED = 4
"""Most messages in a client's queue. While it is full, nothing more is read from the client."""
SLICE_BYTES = 512
"""Bytes that are parsed before the limit of frames is checked: at most 85 frames."""
UNAVAILABLE_SECONDS = (5, 60)
"""Range of the random delay after which a client that was sent away comes back."""

# Plain integers, because the members of an enum would cost memory and time.
OPENING, LOGGING_IN, WAITING, PINGED, CLOSING = range(5)


class ConnectionEnded(Exception):
    """Raised to the task that waits for a message when the connection ends."""


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """The functions of the gateway that a connection calls, all on the gateway's loop."""

    may_accept: Callable[[ClientConnection], bool]
    """Count a new connection by its `peer` and return True, or return False to refuse it."""
    admit: Callable[[ClientConnection, Request], None]
    """Set the connection's `address` for a request to upgrade. Raise Answer for any other."""
    converse: Callable[[ClientConnection], Coroutine[Any, Any, None]]
    """Handle the messages that have come, until `next_text` returns None."""
    on_closed: Callable[[ClientConnection], None]
    """Called last, and always, when the connection and its task have ended."""
    call_soon: Callable[[Callable[[], None]], None]
    """Queue a function for the loop, which also runs other callbacks in between."""


class ClientConnection(asyncio.Protocol):
    """One connection. Used on the gateway's loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callbacks: Callbacks) -> None:
        self._loop, self._callbacks = loop, callbacks
        self._transport: asyncio.Transport | None = None
        self._websocket: Protocol | None = None
        self._head: bytearray | None = bytearray()
        self._parts = b""
        self._inbox: deque[bytes] | None = None
        self._expected: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_lost = False
        self._heard_at = loop.time()
        self._allowance = float(FRAME_BURST)
        self.stage = OPENING
        self.due = self._heard_at + OPEN_SECONDS
        """When to call `check_deadline`, in seconds on the loop's clock."""
        self.peer = ""
        """The address at the other end of the socket: the client's or a proxy's."""
        self.address = ""
        """The client's address; empty before the upgrade."""
        self.counted_as: tuple[str, str] | None = None
        """The kind and address that limits count it by; only the registry sets them."""
        self.device: WaitingDevice | None = None
        """The device that logged in; None before the first accepted login."""
        self.accepted: AcceptedLogin | None = None
        """The password that the client logged in with; None exactly when `device` is None."""
        self.server_key = b""
        """The SCRAM ServerKey of the `accepted` password's verifier, which signs pushes."""
        self.pushed: frozenset[str] = frozenset()
        """Sealed boxes that were sent to the client since its last login."""
        self.serial = 0
        """Number of accepted logins: a state that was read before a login is not applied later."""
        self.has_changed = False
        """Whether the user has changed while the login was being written."""
        self.farewell = ""
        """The reason that the client gave for leaving; empty if it gave none."""
        self.refusals = 0
        """Passwords refused in a row."""

    # --- called by the gateway

    def send(self, message: messages.ServerMessage) -> None:
        """Send a message; do nothing when the connection is closing."""
        if self._websocket is not None and self.stage != CLOSING:
            self._websocket.send_text(messages.encode(message))
            self._flush()

    def end(self, message: messages.Bye | messages.Rejected, code: CloseCode) -> None:
        """Send a last message and close; do nothing when the connection is closing."""
        self.send(message)
        self.close(code, message.reason)

    def close(self, code: CloseCode, reason: str) -> None:
        """Send a close frame. Later messages of the client are dropped."""
        if self._websocket is not None and self.stage != CLOSING:
            self._websocket.send_close(code, reason)
            self._begin_closing()
            self._flush()

    def send_away(self) -> None:
        """Tell the client to come back after a random delay."""
        seconds = random.randint(*UNAVAILABLE_SECONDS)  # noqa: S311 - it only spreads the load
        bye = messages.Bye(reason="shutting_down", retry_after_s=seconds)
        self.end(bye, CloseCode.TRY_AGAIN_LATER)

    def fail(self, code: CloseCode, reason: str) -> None:
        """Close because the client broke the protocol; `reason` quotes nothing that it sent."""
        if self._websocket is not None and self.stage != CLOSING:
            self._note_violation(reason)
            self._websocket.fail(code, reason)
            self._flush()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def keeps_waiting(self) -> bool:
        """Return whether the gateway has waited too long for the client's request or login."""
        seconds = {OPENING: OPEN_SECONDS, LOGGING_IN: LOGIN_SECONDS}.get(self.stage)
        if seconds is None or self._is_working:
            return False
        return self._loop.time() >= self.due - seconds + GIVE_WAY_SECONDS

    def give_way(self) -> None:
        """Close the connection to make room for another of its address; the client may retry."""
        log.info("a connection from %s gives way: it does not log in", self.address or self.peer)
        metrics.connections_cut.labels("gave_way").inc()
        if self.stage == OPENING:
            self.abort()
        else:
            self.send_away()

    def begin_login(self) -> None:
        """Start the deadline of a later login; the deadline of the first starts at the upgrade."""
        if self.stage in {WAITING, PINGED}:
            self.stage = LOGGING_IN
            self.due = self._loop.time() + LOGIN_SECONDS

    def enter_standby(self) -> None:
        """Replace the login's deadline by keepalive."""
        if self.stage == LOGGING_IN:
            self.stage = WAITING
            self.due = self._loop.time() + PING_SECONDS

    @property
    def _is_working(self) -> bool:
        """Return whether the task works on a message, instead of waiting for one."""
        return self._task is not None and self._expected is None

    # --- called by its task

    def next_text(self) -> bytes | None:
        """Return the next message; None when the queue is empty or the connection is closing."""
        if not self._inbox or self.stage == CLOSING:
            return None
        if len(self._inbox) == MAX_QUEUED and self._transport is not None:
            self._transport.resume_reading()
        return self._inbox.popleft()

    async def receive(self) -> messages.ClientMessage:
        """Wait for the next message. Raise ConnectionEnded, or MessageError for a malformed one."""
        while (text := self.next_text()) is None:
            if self.stage == CLOSING:
                raise ConnectionEnded
            self._expected = self._loop.create_future()
            await self._expected
            self._expected = None
        return messages.decode_from_client(text)

    # --- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNREAD_BYTES)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        if not self._callbacks.may_accept(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._read_head(self._head, data)
            return
        now = self._loop.time()
        gained = (now - self._heard_at) * FRAMES_PER_S
        self._allowance = min(self._allowance + gained, float(FRAME_BURST))
        self._heard_at = now
        for start in range(0, len(data), SLICE_BYTES):
            self._read_frames(data[start : start + SLICE_BYTES])

    def eof_received(self) -> bool:
        if self._transport is not None:
            self._callbacks.call_soon(self._transport.close)
        return True

    def pause_writing(self) -> None:
        log.info("client at %s does not read; its connection is cut", self.address or self.peer)
        metrics.connections_cut.labels("slow_reader").inc()
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        self._transport = None
        self._finish()
        self._callbacks.call_soon(self._on_lost)

    # --- called by the listener

    def check_deadline(self, now: float) -> None:
        """Act on a deadline that has passed: ping the client, or cut the connection."""
        if self.stage == WAITING:
            if self._heard_at + PING_SECONDS > now:
                self.due = self._heard_at + PING_SECONDS
            elif self._websocket is not None:
                self.stage = PINGED
                self.due = now + PONG_SECONDS
                self._websocket.send_ping(b"")
                self._flush()
        elif self.stage == PINGED and self._heard_at + PONG_SECONDS > self.due:
            self.stage = WAITING
            self.due = self._heard_at + PING_SECONDS
        elif self.stage == LOGGING_IN:
            metrics.connections_cut.labels("login_deadline").inc()
            if self._is_working:
                self.send_away()  # the server is late, not the client
            else:
                self.close(CloseCode.POLICY_VIOLATION, "login took too long")
        else:
            if self.stage != CLOSING:
                reason = "silent" if self.stage == PINGED else "upgrade_deadline"
                metrics.connections_cut.labels(reason).inc()
            self.abort()

    # --- HTTP

    def _read_head(self, head: bytearray, data: bytes) -> None:
        found = handshake.split_head(head, data)
        if found is None:
            return
        self._head = None
        request, rest = found
        response = handshake.respond(request, partial(self._callbacks.admit, self))
        self._write(response.serialize())
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._finish()
            return
        self._websocket = handshake.new_websocket()
        self.stage = LOGGING_IN
        self.due = self._loop.time() + LOGIN_SECONDS
        self.data_received(rest)

    # --- frames, and the socket

    def _read_frames(self, data: bytes) -> None:
        websocket = self._websocket
        if websocket is None:
            return
        websocket.receive_data(data)
        frames = websocket.events_received()
        self._allowance -= len(frames)
        if self._allowance < 0:
            websocket.data_to_send()  # no pong beyond the limit
            self.fail(CloseCode.POLICY_VIOLATION, "too many messages")
            self._finish()
            return
        if websocket.parser_exc is not None:
            self._note_violation(type(websocket.parser_exc).__name__)
        for frame in frames:
            if self.stage != CLOSING:
                self._on_frame(frame)  # type: ignore[arg-type]  # requests come before the upgrade
        self._flush()

    def _on_frame(self, frame: Frame) -> None:
        """Take one frame. The library has answered pings and close frames."""
        if self._websocket is not None and (left := self._websocket.close_rcvd) is not None:
            self.farewell = left.reason if left.reason in get_args(messages.Farewell) else ""
        if frame.opcode is Opcode.BINARY:
            self.fail(CloseCode.UNSUPPORTED_DATA, "binary message")
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
            self._parts += frame.data
            if frame.fin:
                text, self._parts = self._parts, b""
                self._on_text(text)

    def _on_text(self, text: bytes) -> None:
        """Queue a whole message for the connection's task, and start the task if there is none."""
        try:
            text.decode()
        except UnicodeDecodeError:
            self.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
            return
        self._inbox = self._inbox or deque()
        self._inbox.append(text)
        self._wake_task()
        if self._task is None:
            self._task = self._loop.create_task(self._converse())
        elif len(self._inbox) >= MAX_QUEUED and self._transport is not None:
            self._transport.pause_reading()

    async def _converse(self) -> None:
        try:
            await self._callbacks.converse(self)
        finally:
            self._task = None
            if self._inbox and self._transport is not None:
                self._transport.resume_reading()  # else the client's close frame is not read
            self._inbox = None
            if self._is_lost:
                self._callbacks.on_closed(self)

    def _wake_task(self) -> None:
        if self._expected is not None and not self._expected.done():
            self._expected.set_result(None)

    def _flush(self) -> None:
        """Write the library's output; an empty last item means that our half is to be closed."""
        writes = [] if self._websocket is None else self._websocket.data_to_send()
        if writes:
            self._write(b"".join(writes))
            if not writes[-1]:
                self._finish()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # --- the end

    def _note_violation(self, what: str) -> None:
        log.info("client at %s broke the protocol: %s", self.address, what)
        metrics.connections_cut.labels("protocol").inc()

    def _begin_closing(self) -> None:
        if self.stage != CLOSING:
            self.stage = CLOSING
            self.due = self._loop.time() + CLOSE_SECONDS
        self._wake_task()

    def _finish(self) -> None:
        """Close our half of the connection.

        Closing both halves while data is unread would make the kernel drop our last messages.
        """
        self._begin_closing()
        if self._websocket is not None:
            handshake.release(self._websocket)
            self._websocket = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _on_lost(self) -> None:
        self._is_lost = True
        if self._task is None:
            self._callbacks.on_closed(self)
