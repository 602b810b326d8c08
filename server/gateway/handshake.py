"""Read the HTTP request before the frames; answer it or accept the upgrade. No socket here.

websockets' `ServerProtocol` reads the request and checks the upgrade. This object keeps the
request, so it is dropped afterwards; a smaller object handles the frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from protocol.messages import MAX_MESSAGE_BYTES, SUBPROTOCOL

MAX_HEAD_BYTES = 8 * 1024
"""Most bytes of request line and headers together."""
MAX_LIST_CHARS = 256
"""Longest header that holds a list. Parsing takes 3 µs for each entry."""
END_OF_HEAD = b"\r\n\r\n"

library_log = logging.getLogger(f"{__name__}.websockets")
"""The library's own log: two lines for each connection, and at DEBUG all that clients send."""
library_log.setLevel(logging.WARNING)

_TOO_LARGE = (RequestLineTooLong, HeaderLineTooLong, TooManyHeaders)
_LISTS = ("Connection", "Upgrade", "Sec-WebSocket-Protocol")


class Answer(Exception):
    """Raised to answer a request with a plain HTTP response and close the connection."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        self.status = status
        self.text = text
        self.headers = headers


def split_head(head: bytearray, data: bytes) -> tuple[bytes, bytes] | None:
    """Add `data` to `head`. Return the whole head and the rest, or None if more must come."""
    searched = max(len(head) - len(END_OF_HEAD), 0)
    head += data
    found = head.find(END_OF_HEAD, searched)
    if found < 0 and len(head) <= MAX_HEAD_BYTES:
        return None
    end = len(head) if found < 0 else found + len(END_OF_HEAD)
    return bytes(head[:end]), bytes(head[end:])


def respond(head: bytes, admit: Callable[[Request], None]) -> Response:
    """Return the response to a request. Status 101 makes the connection a WebSocket.

    `head` ends with the empty line unless it is too large. `admit` may raise Answer.
    """
    protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], logger=library_log)
    try:
        response = protocol.accept(_admitted(protocol, head, admit))
    except Answer as answer:
        response = protocol.reject(answer.status, answer.text)
        response.headers.update(answer.headers)
    finally:
        release(protocol)
    if head.startswith(b"HEAD "):
        response.body = b""
    return response


def _admitted(protocol: ServerProtocol, head: bytes, admit: Callable[[Request], None]) -> Request:
    """Parse and check the request, and return it. Raise Answer to refuse it."""
    if len(head) <= MAX_HEAD_BYTES:
        protocol.receive_data(head)
    if len(head) > MAX_HEAD_BYTES or isinstance(protocol.handshake_exc, _TOO_LARGE):
        raise Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too large")
    events = protocol.events_received()
    if not events or not isinstance(events[0], Request):
        raise Answer(HTTPStatus.BAD_REQUEST, "malformed request")
    request = events[0]
    admit(request)
    if any(sum(map(len, request.headers.get_all(name))) > MAX_LIST_CHARS for name in _LISTS):
        raise Answer(HTTPStatus.BAD_REQUEST, "header too long")
    return request


def new_websocket() -> Protocol:
    """Return the sans-I/O protocol that reads and writes the frames of one connection."""
    return Protocol(Side.SERVER, max_size=MAX_MESSAGE_BYTES, logger=library_log)


def release(protocol: Protocol) -> None:
    """Break the protocol's reference cycles: its parser, and what its exceptions refer to.

    Otherwise each closed connection would stay in memory until the garbage collector runs.
    """
    protocol.parser.close()
    for failed in (protocol.parser_exc, protocol.handshake_exc):
        each: BaseException | None = failed
        while each is not None:
            each.__traceback__ = None
            each = each.__cause__ or each.__context__
