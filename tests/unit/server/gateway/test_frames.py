"""The gateway's frames, held to what websockets makes of the same bytes."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from server.gateway import frames
from server.gateway.frames import CLOSE, PART, PING, PONG, TEXT, FrameError, Reader

MAX_BYTES = 300
"""Above the 125 bytes of the short form, so that all forms are read."""
Seen = tuple[list[tuple[int, bytes]], int | None]
"""Frames, and the code that the connection fails with."""


def ours(data: bytes, cuts: list[int]) -> Seen:
    """What the reader sees when TCP cuts the bytes there; nothing after a CLOSE counts."""
    reader, seen = Reader(MAX_BYTES), list[tuple[int, bytes]]()
    try:
        for start, end in pairwise([0, *sorted(cuts), len(data)]):
            for event in reader.feed(data[start:end]):
                seen.append(event)
                if event[0] == CLOSE:
                    return seen, None
    except FrameError as exc:
        return seen, exc.code
    return seen, None


def theirs(data: bytes) -> Seen:
    """The same by websockets, which leaves the kind of message and UTF-8 to its caller."""
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=MAX_BYTES)
    protocol.receive_data(data)
    seen, message = list[tuple[int, bytes]](), b""
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.BINARY:
            return seen, CloseCode.UNSUPPORTED_DATA
        if event.opcode in {Opcode.TEXT, Opcode.CONT}:
            message += event.data
            if not event.fin:
                seen.append((PART, b""))
                continue
            try:
                message.decode()
            except UnicodeDecodeError:
                return seen, CloseCode.INVALID_DATA
            seen.append((TEXT, message))
            message = b""
        else:
            seen.append((int(event.opcode), bytes(event.data)))
    failed = protocol.parser_exc is not None and protocol.close_sent is not None
    return seen, protocol.close_sent.code if failed and protocol.close_sent else None


@st.composite
def one_frame(draw: st.DrawFn) -> bytes:
    """Mostly right, and wrong in each way that there is."""
    mostly = st.sampled_from([True] * 8 + [False])
    opcode = draw(st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10, 3, 11]))
    first = opcode | (0x80 if draw(mostly) else 0) | (0 if draw(mostly) else 0x40)
    text = draw(st.sampled_from(["", "{}", "日本語", "x" * 124, "x" * 125, "x" * 126, "x" * 250]))
    payload = text.encode() if draw(mostly) else draw(st.binary(max_size=4))
    if opcode == CLOSE and draw(mostly):
        code = draw(st.sampled_from([1000, 1001, 1005, 1006, 2999, 3000, 4999, 5000]))
        payload = code.to_bytes(2) + payload[:100]
    return made(first, payload, mask=os.urandom(4) if draw(mostly) else None)


def made(first: int, payload: bytes, *, mask: bytes | None = b"abcd", size: int = -1) -> bytes:
    """A frame, with a length that may be a lie."""
    size = len(payload) if size < 0 else size
    bit = 0 if mask is None else 0x80
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8)
    if mask is None:
        return head + payload
    return head + mask + bytes(each ^ mask[at % 4] for at, each in enumerate(payload))


@given(st.lists(one_frame(), max_size=6), st.binary(max_size=6), st.data())
@example([made(0x01, b"{"), made(0x89, b"p" * 125), made(0x80, b"}")], b"", None)
@example([made(0x81, b"", size=1 << 62)], b"", None)
@example([made(0x01, b"x" * 300), made(0x89, b"p"), made(0x80, b"x")], b"", None)
@example([made(0x01, "日".encode()[:1]), made(0x80, "日".encode()[1:])], b"", None)
@example([made(0x88, b"\x03")], b"", None)
@example([made(0x88, b"\x03\xe0\x98")], b"", None)
@example([made(0x01, b"{"), made(0x82, b"}")], b"", None)
@example([made(0x01, b"{"), made(0x88, b"\x03\xe8")], b"", None)
def test_same_as_websockets(several: list[bytes], rest: bytes, data: st.DataObject | None) -> None:
    """Whatever a client sends, and however it is cut."""
    sent = b"".join(several) + rest
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=5)) if data else []
    seen, code = ours(sent, cuts)
    assert ours(sent, list(range(len(sent)))) == (seen, code)
    # We need not have all of a frame to refuse it.
    expected, their_code = theirs(sent if code is None else sent + bytes(MAX_BYTES))
    assert seen == expected
    if their_code == CloseCode.MESSAGE_TOO_BIG:  # which it looks at first
        assert code in {CloseCode.MESSAGE_TOO_BIG, CloseCode.PROTOCOL_ERROR, 1003}
    else:
        assert code == their_code


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_what_we_send(size: int) -> None:
    """websockets reads our messages as they were meant."""
    protocol = Protocol(Side.CLIENT, state=State.OPEN)
    protocol.receive_data(frames.text(b"x" * size))
    protocol.receive_data(frames.control(PING) + frames.control(PONG, b"as it came"))
    protocol.receive_data(frames.close(CloseCode.GOING_AWAY, "終了"))
    said = [each for each in protocol.events_received() if isinstance(each, Frame)]
    assert [(each.opcode, bytes(each.data)) for each in said[:3]] == [
        (Opcode.TEXT, b"x" * size),
        (Opcode.PING, b""),
        (Opcode.PONG, b"as it came"),
    ]
    assert protocol.close_rcvd is not None
    assert (protocol.close_rcvd.code, protocol.close_rcvd.reason) == (1001, "終了")
