"""One client's socket: upgrade, frames, deadlines and keepalive, without a task.

A waiting client is an `asyncio.Protocol` around websockets' sans-I/O frames and nothing else;
one sweep (`listener.py`) looks after the deadlines of all. So it costs a few KiB and, but for its
pings, no time.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import TYPE_CHECKING, Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, Side, State
from websockets.protocol import Protocol as Frames

from agent.core.messages import MAX_MESSAGE_BYTES
from server import metrics
from server.gateway import upgrade
from server.gateway.upgrade import Answer, Request

if TYPE_CHECKING:
    from server.gateway.listener import Listener

log = logging.getLogger(__name__)

OPEN_SECONDS = 10
"""How long TLS and the upgrade may take, each."""
PING_SECONDS, PONG_SECONDS = 30, 20
"""A client that was not heard of for so long is pinged; how long it may take to be heard again."""
CLOSE_SECONDS = 5
UNREAD_BYTES = 64 * 1024
"""What a client may leave unread, beyond what the kernel takes, before it is cut off."""

_wire_log = logging.getLogger("server.gateway.wire")
# At DEBUG the library logs every frame, which nobody may read.
_wire_log.setLevel(logging.WARNING)


class Conversation(Protocol):
    """What is told of one WebSocket; calls come on the loop and must return at once."""

    def received(self, text: bytes) -> None:
        """A whole text message, which is UTF-8."""

    def late(self) -> None:
        """Nobody has called `Wire.settle` in time."""

    def lost(self) -> None:
        """The connection is gone. Comes last, and always."""


class Endpoint(Protocol):
    """Decides about connections and requests."""

    def lets_in(self, peer: str, *, opening: int) -> bool:
        """Whether another connection may come from the address `peer`, of which so many have yet
        to say what they want."""

    def admit(self, wire: Wire, request: Request) -> str:
        """Whom a request for an upgrade comes from. Raise Answer for any other."""

    def open(self, wire: Wire, address: str) -> Conversation:
        """It was upgraded."""


class _Stage(enum.IntEnum):
    OPENING, UNSETTLED, SETTLED, PINGED, CLOSING = range(5)


class Wire(asyncio.Protocol):
    """One client's connection. What is sent once it is closing is dropped."""

    __slots__ = (
        "_allowance",
        "_conversation",
        "_counted",
        "_due",
        "_frames",
        "_head",
        "_heard_at",
        "_listener",
        "_parts",
        "_stage",
        "_transport",
    )

    def __init__(self, listener: Listener) -> None:
        now = listener.loop.time()
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._stage = _Stage.OPENING
        self._due = now + OPEN_SECONDS
        self._heard_at = now
        self._head: bytearray | None = bytearray()
        self._counted: str | None = None
        """The address that counts this connection as one that is opening."""
        self._frames: Frames | None = None
        self._parts: bytearray | None = None
        self._conversation: Conversation | None = None
        self._allowance = float(listener.frame_burst)

    @property
    def peer(self) -> str | None:
        """The address at the other end of the socket; None when that is gone already."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if name else None

    @property
    def is_opening(self) -> bool:
        """Whether its request has yet to come."""
        return self._stage is _Stage.OPENING

    def send(self, text: bytes) -> None:
        """One message, in UTF-8. A client that leaves too much unread is cut off."""
        if self._frames is not None and self._frames.state is State.OPEN:
            self._frames.send_text(text)
            self._flush(self._frames)

    def close(self, code: CloseCode, reason: str = "", *, last: bytes | None = None) -> None:
        """Say goodbye, after a `last` message; what comes in from now on is dropped."""
        if self._frames is not None and self._frames.state is State.OPEN:
            if last is not None:
                self._frames.send_text(last)
            self._frames.send_close(code, reason)
            self._flush(self._frames)
        self._begin_closing()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def settle(self) -> None:
        """It may stay from now on, for as long as it is heard of."""
        if self._stage is _Stage.UNSETTLED:
            self._stage = _Stage.SETTLED
            self._due = self._listener.loop.time() + PING_SECONDS

    def pause_reading(self) -> None:
        """Take nothing from the client until `resume_reading`."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._transport is not None:
            self._transport.resume_reading()

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNREAD_BYTES)
        self._listener.wires.add(self)
        peer = self.peer
        if self._listener.stopping or peer is None or not self._listener.lets_in(peer):
            self._transport.abort()
        else:
            self._counted = peer

    def data_received(self, data: bytes) -> None:
        now = self._listener.loop.time()
        frames = self._frames
        if frames is None:
            if self._head is not None:
                self._read_head(self._head, data)
            return
        gained = (now - self._heard_at) * self._listener.frames_per_s
        self._allowance = min(self._allowance + gained, float(self._listener.frame_burst))
        self._heard_at = now
        frames.receive_data(data)
        for event in frames.events_received():
            if self._stage is _Stage.CLOSING:
                break
            self._allowance -= 1
            if self._allowance < 0:
                self._cut("protocol", CloseCode.POLICY_VIOLATION, "too many messages")
            else:
                self._take(cast("Frame", event))
        self._flush(frames)
        if frames.state is not State.OPEN:
            if frames.parser_exc is not None and self._stage is not _Stage.CLOSING:
                metrics.connections_cut.labels("protocol").inc()
            self._begin_closing()

    def eof_received(self) -> bool:
        if self._listener.is_encrypted:
            return False  # TLS knows no half-open connections
        self._listener.soon(self._close_transport)
        return True

    def pause_writing(self) -> None:
        log.info("a client does not read; its connection is cut")
        metrics.connections_cut.labels("slow_reader").inc()
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it is gone either way
        self._stage = _Stage.CLOSING
        self._transport = self._parts = None
        self._listener.soon(self._let_go)

    def _let_go(self) -> None:
        self._has_opened()
        self._listener.forget(self)
        frames, self._frames = self._frames, None
        if frames is not None:
            # The parser and its exception hold on to the frames: nothing is left for the
            # garbage collector, whose pauses everybody would feel.
            frames.parser.close()
            frames.parser_exc = None
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.lost()

    # --- called by the listener

    def is_overdue(self, now: float) -> bool:
        """Whether `look_after` has something to do."""
        return self._due <= now

    def look_after(self, now: float) -> None:
        """See to a deadline that has come."""
        if self._stage is _Stage.SETTLED:
            if self._heard_at + PING_SECONDS > now:
                self._due = self._heard_at + PING_SECONDS
            elif self._frames is not None:
                self._stage = _Stage.PINGED
                self._due = now + PONG_SECONDS
                self._frames.send_ping(b"")
                self._flush(self._frames)
        elif self._stage is _Stage.PINGED and self._heard_at + PONG_SECONDS > self._due:
            self._stage = _Stage.SETTLED
            self._due = self._heard_at + PING_SECONDS
        elif self._stage is _Stage.UNSETTLED and self._conversation is not None:
            metrics.connections_cut.labels("login_deadline").inc()
            self._conversation.late()
        else:
            if self._stage is not _Stage.CLOSING:
                reason = "silent" if self._stage is _Stage.PINGED else "upgrade_deadline"
                metrics.connections_cut.labels(reason).inc()
            self.abort()

    # --- on the way

    def _read_head(self, head: bytearray, data: bytes) -> None:
        searched = max(len(head) - len(upgrade.END), 0)
        head += data
        found = head.find(upgrade.END, searched)
        if found < 0 and len(head) <= upgrade.MAX_HEAD_BYTES:
            return
        end = found + len(upgrade.END) if found >= 0 else len(head)
        try:
            request = upgrade.parse(bytes(head[:end]))
            address = self._listener.endpoint.admit(self, request)
            accepted = upgrade.accept(request)
        except Answer as answer:
            self._answer(answer.serialize(with_body=not head.startswith(b"HEAD ")))
        else:
            self._open(address, accepted, bytes(head[end:]))

    def _close_transport(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _has_opened(self) -> None:
        self._head = None
        if self._counted is not None:
            self._listener.has_opened(self._counted)
            self._counted = None

    def _answer(self, response: bytes) -> None:
        self._has_opened()
        if self._transport is not None:
            self._transport.write(response)
            self._write_eof(self._transport)
        self._begin_closing()

    def _open(self, address: str, accepted: bytes, rest: bytes) -> None:
        self._has_opened()
        self._stage = _Stage.UNSETTLED
        self._due = self._listener.loop.time() + self._listener.settle_s
        self._frames = Frames(
            Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE_BYTES, logger=_wire_log
        )
        if self._transport is not None:
            self._transport.write(accepted)
        self._conversation = self._listener.endpoint.open(self, address)
        if rest:
            self.data_received(rest)

    def _take(self, frame: Frame) -> None:
        """One frame that `Frames` has found in order."""
        if frame.opcode is Opcode.BINARY:
            self._cut("protocol", CloseCode.UNSUPPORTED_DATA, "binary message")
        elif frame.opcode is Opcode.TEXT and frame.fin:
            self._deliver(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT:
            self._parts = bytearray(frame.data)
        elif frame.opcode is Opcode.CONT and self._parts is not None:
            self._parts += frame.data
            if frame.fin:
                message, self._parts = bytes(self._parts), None
                self._deliver(message)

    def _deliver(self, message: bytes) -> None:
        try:
            message.decode()
        except UnicodeDecodeError:
            self._cut("protocol", CloseCode.INVALID_DATA, "no UTF-8")
        else:
            if self._conversation is not None:
                self._conversation.received(message)

    def _cut(self, why: str, code: CloseCode, reason: str) -> None:
        log.info("a client broke the protocol: %s", reason)
        metrics.connections_cut.labels(why).inc()
        self.close(code, reason)

    def _begin_closing(self) -> None:
        if self._stage is not _Stage.CLOSING:
            self._stage = _Stage.CLOSING
            self._due = self._listener.loop.time() + CLOSE_SECONDS

    def _flush(self, frames: Frames) -> None:
        data = frames.data_to_send()
        transport = self._transport
        if data and transport is not None and not transport.is_closing():
            transport.write(b"".join(data))
            if data[-1] == SEND_EOF:
                self._write_eof(transport)

    @staticmethod
    def _write_eof(transport: asyncio.Transport) -> None:
        """Only half of the connection is closed where that can be: were it all closed with
        something unread, the client would never see what we sent last."""
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
