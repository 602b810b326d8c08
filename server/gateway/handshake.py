"""HTTP before the frames: read one request, then answer it or accept the upgrade. No socket.

websockets' `ServerProtocol` reads the request and checks the upgrade. It is thrown away afterwards,
because it keeps the request for as long as it lives; frames get a smaller object.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.http11 import Request
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

_LISTS = ("Connection", "Upgrade", "Sec-WebSocket-Protocol")


class Answer(Exception):
    """Raised where a request ends with a plain response, after which the connection is closed."""

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}

    def serialize(self, *, with_body: bool = True) -> bytes:
        """Return the response's bytes; a HEAD request gets no body."""
        body = self.text.encode()
        headers = {
            "Date": formatdate(usegmt=True),
            "Connection": "close",
            "Content-Length": str(len(body)),
            "Content-Type": "text/plain; charset=utf-8",
            **self.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {self.status} {self.status.phrase}\r\n{lines}\r\n".encode()
        return head + body if with_body else head


class Handshake:
    """One request. `accept` may be called once."""

    def __init__(self, head: bytes) -> None:
        """Parse `head`, which ends with the empty line unless it is too large. Raise Answer."""
        if len(head) > MAX_HEAD_BYTES:
            raise Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too large")
        self._protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], logger=library_log)
        self._protocol.receive_data(head)
        events = self._protocol.events_received()
        failed = self._protocol.handshake_exc
        release(self._protocol)
        if isinstance(failed, RequestLineTooLong | HeaderLineTooLong | TooManyHeaders):
            raise Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too large")
        if not events or not isinstance(events[0], Request):
            raise Answer(HTTPStatus.BAD_REQUEST, "malformed request")
        self.request: Request = events[0]

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.request.path.partition("?")[0]

    def accept(self) -> bytes:
        """Return the response that makes the connection a WebSocket. Raise Answer."""
        headers = self.request.headers
        if any(sum(map(len, headers.get_all(name))) > MAX_LIST_CHARS for name in _LISTS):
            raise Answer(HTTPStatus.BAD_REQUEST, "header too long")
        response = self._protocol.accept(self.request)
        release(self._protocol)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            allowed = {
                name: headers_value
                for name in ("Allow", "Upgrade")
                if (headers_value := response.headers.get(name)) is not None
            }
            text = bytes(response.body).decode()
            raise Answer(HTTPStatus(response.status_code), text, allowed)
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
