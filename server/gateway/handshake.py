"""HTTP before the frames: read one request, then answer it or accept the upgrade. No socket.

websockets' `ServerProtocol` reads the request and checks the upgrade. It is thrown away afterwards,
because it keeps the request for as long as it lives; frames get a smaller object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from protocol.messages import MAX_MESSAGE_BYTES, SUBPROTOCOL

MAX_HEAD_BYTES = 8 * 1024
"""Request line and headers together."""
MAX_LIST_CHARS = 256
"""A header that holds a list may be so long. Parsing one takes 3 µs an entry."""
END_OF_HEAD = b"\r\n\r\n"

library_log = logging.getLogger(f"{__name__}.websockets")
"""The library logs two lines a connection, and at DEBUG what passes over the wire."""
library_log.setLevel(logging.WARNING)

_TOO_LARGE = (RequestLineTooLong, HeaderLineTooLong, TooManyHeaders)
_TOLD = ("Allow", "Upgrade")
_LISTS = ("Connection", "Upgrade", "Sec-WebSocket-Protocol")


class Answer(Exception):
    """Raised where a request ends with a plain response, after which the connection is closed."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        self._status = status
        self._body = text.encode()
        self._headers = headers

    def serialize(self, *, with_body: bool = True) -> bytes:
        """Return the response's bytes; a HEAD request gets no body."""
        headers = {
            "Date": formatdate(usegmt=True),
            "Connection": "close",
            "Content-Length": str(len(self._body)),
            "Content-Type": "text/plain; charset=utf-8",
            **self._headers,
        }
        body = self._body if with_body else b""
        status = self._status
        return Response(status.value, status.phrase, Headers(headers), body).serialize()


def upgrade(head: bytes, admit: Callable[[Request], None]) -> bytes:
    """Return the response that makes the connection a WebSocket. Raise Answer for any other.

    `head` ends with the empty line unless it is too large. `admit` may raise Answer as well.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too large")
    protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], logger=library_log)
    try:
        protocol.receive_data(head)
        if isinstance(protocol.handshake_exc, _TOO_LARGE):
            raise Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too large")
        events = protocol.events_received()
        if not events or not isinstance(events[0], Request):
            raise Answer(HTTPStatus.BAD_REQUEST, "malformed request")
        request = events[0]
        admit(request)
        if any(sum(map(len, request.headers.get_all(name))) > MAX_LIST_CHARS for name in _LISTS):
            raise Answer(HTTPStatus.BAD_REQUEST, "header too long")
        response = protocol.accept(request)
    finally:
        release(protocol)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        status, text = HTTPStatus(response.status_code), bytes(response.body).decode()
        told = response.headers
        raise Answer(status, text, **{name: told[name] for name in _TOLD if name in told})
    return response.serialize()


def new_websocket() -> Protocol:
    """Return what reads and writes the frames of one upgraded connection."""
    return Protocol(Side.SERVER, max_size=MAX_MESSAGE_BYTES, logger=library_log)


def release(protocol: Protocol) -> None:
    """Break the protocol's reference cycles: its parser, and what its exceptions refer to.

    Without this every connection would wait for the garbage collector.
    """
    protocol.parser.close()
    for failed in (protocol.parser_exc, protocol.handshake_exc):
        each: BaseException | None = failed
        while each is not None:
            each.__traceback__ = None
            each = each.__cause__ or each.__context__
