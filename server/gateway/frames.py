"""WebSocket frames (RFC 6455) as a server without extensions reads and writes them. No socket.

websockets can do this as well, and the tests hold this module to what it does. But its way through
a generator and six objects takes 20 µs and 2 KiB a client: a gateway does hardly anything else than
answer pings.
"""

from __future__ import annotations

from collections.abc import Iterator

from websockets.frames import EXTERNAL_CLOSE_CODES, CloseCode
from websockets.utils import apply_mask

PART, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
"""Opcodes. A PART is no whole message yet, whichever opcode it came with."""
_KNOWN = frozenset((PART, TEXT, BINARY, CLOSE, PING, PONG))
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_MAX_CONTROL_BYTES = 125


class FrameError(Exception):
    """A client sent what it may not. `code` is what to close with; the text quotes nothing."""

    def __init__(self, code: CloseCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Reader:
    """Finds the frames of one client in its bytes, however these were cut."""

    __slots__ = ("_max_bytes", "_message", "_rest")

    def __init__(self, max_bytes: int) -> None:
        """A message has `max_bytes` at most."""
        self._max_bytes = max_bytes
        self._rest = b""
        self._message: bytearray | None = None

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of each frame: all of the message for TEXT, which is UTF-8; nothing
        for a PART. Raise FrameError, after which nothing more can be read.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        start, size = 0, len(data)
        while size - start >= 2:
            first, second = data[start], data[start + 1]
            self._check(first, second)
            length, body = second & _LENGTH, start + 2
            if length > _MAX_CONTROL_BYTES:
                body += 2 if length == 126 else 8
                if size < body:
                    break
                length = int.from_bytes(data[start + 2 : body])
            if length + len(self._message or b"") > self._max_bytes:
                raise FrameError(CloseCode.MESSAGE_TOO_BIG, "message too big")
            mask, body = data[body : body + 4], body + 4
            if size < body + length:
                break
            start = body + length
            payload = apply_mask(data[body:start], mask) if length else b""
            yield self._frame(first, payload)
        self._rest = data[start:]

    def _check(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if first & _RESERVED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
        if opcode not in _KNOWN:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        if not second & _MASKED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a client's frames are masked")
        if opcode >= CLOSE:
            if not first & _FIN:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame in parts")
            if second & _LENGTH > _MAX_CONTROL_BYTES:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame too long")
        elif (opcode == PART) == (self._message is None):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "part of no message, or message in another")
        elif opcode == BINARY:
            raise FrameError(CloseCode.UNSUPPORTED_DATA, "binary message")

    def _frame(self, first: int, payload: bytes) -> tuple[int, bytes]:
        opcode = first & _OPCODE
        if opcode >= CLOSE:
            if opcode == CLOSE:
                _check_close(payload)
                if self._message is not None:
                    raise FrameError(CloseCode.PROTOCOL_ERROR, "message without an end")
            return opcode, payload
        if opcode == PART and self._message is not None:
            self._message += payload
        if not first & _FIN:
            if opcode == TEXT:
                self._message = bytearray(payload)
            return PART, b""
        if self._message is not None:
            payload, self._message = bytes(self._message), None
        return TEXT, _utf8(payload)


def text(payload: bytes) -> bytes:
    """A whole message, which is UTF-8."""
    return _head(TEXT, len(payload)) + payload


def close(code: CloseCode, reason: str = "") -> bytes:
    """`reason` has at most 123 bytes in UTF-8."""
    return control(CLOSE, code.to_bytes(2) + reason.encode())


def control(opcode: int, payload: bytes = b"") -> bytes:
    """A CLOSE, PING or PONG, with at most 125 bytes."""
    return _head(opcode, len(payload)) + payload


def _head(opcode: int, length: int) -> bytes:
    if length <= _MAX_CONTROL_BYTES:
        return bytes((_FIN | opcode, length))
    if length < 1 << 16:
        return bytes((_FIN | opcode, 126)) + length.to_bytes(2)
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8)


def _utf8(payload: bytes) -> bytes:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(CloseCode.INVALID_DATA, "no UTF-8") from None
    return payload


def _check_close(payload: bytes) -> None:
    if len(payload) == 1:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "half a close code")
    _utf8(payload[2:])
    code = int.from_bytes(payload[:2])
    if payload and code not in EXTERNAL_CLOSE_CODES and not 3000 <= code < 5000:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "unknown close code")
