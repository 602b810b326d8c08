"""One client's socket: upgrade, frames, deadlines and keepalive, without a task.

A waiting client is an `asyncio.Protocol` with a reader of frames and nothing else; one sweep
(`listener.py`) looks after the deadlines of all. So it costs a few KiB and, but for its pings, no
time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol, cast

from websockets.frames import CloseCode

from protocol.messages import MAX_MESSAGE_BYTES
from server import metrics
from server.gateway import frames, upgrade
from server.gateway.frames import FrameError, Reader
from server.gateway.upgrade import Answer, Request

if TYPE_CHECKING:
    from server.gateway.listener import Listener

log = logging.getLogger(__name__)

OPEN_SECONDS = 10
"""How long TLS and the upgrade may take together."""
PING_SECONDS, PONG_SECONDS = 30, 20
"""A client that was not heard of for so long is pinged; how long it may take to be heard again."""
CLOSE_SECONDS = 5
UNREAD_BYTES = 64 * 1024
"""What a client may leave unread, beyond what the kernel takes, before it is cut off."""


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


# Stages of a connection, in their order. Numbers: members of an enum cost as much as the rest.
_OPENING, _UNSETTLED, _SETTLED, _PINGED, _CLOSING = range(5)


class Wire(asyncio.Protocol):
    """One client's connection. What is sent once it is closing is dropped."""

    __slots__ = (
        "_allowance",
        "_conversation",
        "_counted",
        "_due",
        "_head",
        "_heard_at",
        "_listener",
        "_reader",
        "_stage",
        "_transport",
        "peer",
    )

    def __init__(self, listener: Listener) -> None:
        now = listener.loop.time()
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self.peer: str | None = None
        """The address at the other end of the socket; None when that was gone at once."""
        self._stage = _OPENING
        self._due = now + OPEN_SECONDS
        self._heard_at = now
        self._head: bytearray | None = bytearray()
        self._counted: str | None = None
        """The address that counts this connection as one that is opening."""
        self._reader: Reader | None = None
        self._conversation: Conversation | None = None
        self._allowance = float(listener.frame_burst)

    @property
    def is_opening(self) -> bool:
        """Whether its request has yet to come."""
        return self._stage == _OPENING

    def send(self, text: bytes) -> None:
        """One message, in UTF-8. A client that leaves too much unread is cut off."""
        if self._stage != _CLOSING:
            self._write(frames.text(text))

    def close(self, code: CloseCode, reason: str = "", *, last: bytes | None = None) -> None:
        """Say goodbye, after a `last` message; what comes in from now on is dropped."""
        if self._stage != _CLOSING:
            goodbye = frames.close(code, reason)
            self._write(goodbye if last is None else frames.text(last) + goodbye)
            self._begin_closing()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def settle(self) -> None:
        """It may stay from now on, for as long as it is heard of."""
        if self._stage == _UNSETTLED:
            self._stage = _SETTLED
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
        name = transport.get_extra_info("peername")
        peer = self.peer = str(name[0]) if name else None
        if self._listener.stopping or peer is None or not self._listener.lets_in(peer):
            self._transport.abort()
        else:
            self._counted = peer

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            if self._head is not None:
                self._read_head(self._head, data)
            return
        now = self._listener.loop.time()
        gained = (now - self._heard_at) * self._listener.frames_per_s
        self._allowance = min(self._allowance + gained, float(self._listener.frame_burst))
        self._heard_at = now
        try:
            for opcode, payload in reader.feed(data):
                self._allowance -= 1
                if self._allowance < 0:
                    self._fail(FrameError(CloseCode.POLICY_VIOLATION, "too many messages"))
                    return
                self._take(opcode, payload)
        except FrameError as exc:
            self._fail(exc)

    def eof_received(self) -> bool:
        self._listener.soon(self._close_transport)
        return True

    def pause_writing(self) -> None:
        log.info("a client does not read; its connection is cut")
        metrics.connections_cut.labels("slow_reader").inc()
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it is gone either way
        self._stage = _CLOSING
        self._transport = self._reader = None
        self._listener.soon(self._let_go)

    def _let_go(self) -> None:
        self._has_opened()
        self._listener.forget(self)
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.lost()

    # --- called by the listener

    def is_overdue(self, now: float) -> bool:
        """Whether `look_after` has something to do."""
        return self._due <= now

    def look_after(self, now: float) -> None:
        """See to a deadline that has come."""
        if self._stage == _SETTLED:
            if self._heard_at + PING_SECONDS > now:
                self._due = self._heard_at + PING_SECONDS
            else:
                self._stage = _PINGED
                self._due = now + PONG_SECONDS
                self._write(frames.control(frames.PING))
        elif self._stage == _PINGED and self._heard_at + PONG_SECONDS > self._due:
            self._stage = _SETTLED
            self._due = self._heard_at + PING_SECONDS
        elif self._stage == _UNSETTLED and self._conversation is not None:
            metrics.connections_cut.labels("login_deadline").inc()
            self._conversation.late()
        else:
            if self._stage != _CLOSING:
                reason = "silent" if self._stage == _PINGED else "upgrade_deadline"
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
        self._write(response)
        self._end()

    def _open(self, address: str, accepted: bytes, rest: bytes) -> None:
        self._has_opened()
        self._stage = _UNSETTLED
        self._due = self._listener.loop.time() + self._listener.settle_s
        self._reader = Reader(MAX_MESSAGE_BYTES)
        self._write(accepted)
        self._conversation = self._listener.endpoint.open(self, address)
        if rest:
            self.data_received(rest)

    def _take(self, opcode: int, payload: bytes) -> None:
        """One frame that is in order."""
        if opcode == frames.CLOSE:
            if self._stage != _CLOSING:
                self._write(frames.control(frames.CLOSE, payload))
            self._end()
        elif self._stage == _CLOSING:
            pass
        elif opcode == frames.TEXT and self._conversation is not None:
            self._conversation.received(payload)
        elif opcode == frames.PING:
            self._write(frames.control(frames.PONG, payload))

    def _fail(self, why: FrameError) -> None:
        """The client broke the protocol: say so, and look at nothing more of what it sends."""
        if self._stage != _CLOSING:
            log.info("a client broke the protocol: %s", why)
            metrics.connections_cut.labels("protocol").inc()
            self._write(frames.close(why.code, str(why)))
        self._end()

    def _end(self) -> None:
        """Nothing is said any more, on either side.

        Only half of the connection is closed: were it all closed with something unread, the client
        would never see what we sent last.
        """
        self._begin_closing()
        self._reader = None
        if self._transport is not None:
            self._transport.write_eof()

    def _begin_closing(self) -> None:
        if self._stage != _CLOSING:
            self._stage = _CLOSING
            self._due = self._listener.loop.time() + CLOSE_SECONDS

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
