"""What comes before the frames: one HTTP request, and our answer. No socket, no state.

websockets can do this as well, but takes half of the time that a whole login may cost, for
headers that we do not look at: a storm of reconnects is a storm of upgrades.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from protocol.messages import SUBPROTOCOL

MAX_HEAD_BYTES = 16 * 1024
"""Request line and headers together."""
END = b"\r\n\r\n"

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = r"[\t\x20-\x7e\x80-\xff]*"
_head = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) HTTP/1\.([01])\r\n((?:{_TOKEN}:{_VALUE}\r\n)*)\r\n")
_key = re.compile(r"[A-Za-z0-9+/]{22}==")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request without a body. `headers` are by lower-case name, in their order."""

    method: str
    path: str
    """Without the query."""
    minor_version: int
    headers: Mapping[str, Sequence[str]]

    def values(self, name: str) -> Sequence[str]:
        """Of all headers of this lower-case name."""
        return self.headers.get(name, ())

    def tokens(self, name: str) -> list[str]:
        """A list with commas, over all headers of this lower-case name."""
        return [part.strip() for value in self.values(name) for part in value.split(",")]


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
        """As it goes over the wire; a HEAD request gets no body."""
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


def parse(head: bytes) -> Request:
    """`head` ends with the empty line. Raise Answer."""
    if len(head) > MAX_HEAD_BYTES:
        raise Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too large")
    match = _head.fullmatch(head.decode("latin-1"))
    if match is None:
        raise Answer(HTTPStatus.BAD_REQUEST, "malformed request")
    method, target, minor_version, lines = match.groups()
    headers: dict[str, list[str]] = {}
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    if "transfer-encoding" in headers or set(headers.get("content-length", ())) - {"0"}:
        raise Answer(HTTPStatus.BAD_REQUEST, "a body is not expected")
    path = target.partition("?")[0]
    return Request(method, path, int(minor_version), headers)


def accept(request: Request) -> bytes:
    """The response that makes the connection a WebSocket. Raise Answer."""
    if request.method != "GET":
        raise Answer(HTTPStatus.METHOD_NOT_ALLOWED, "GET is allowed", {"Allow": "GET"})
    if request.minor_version != 1:
        raise Answer(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is needed")
    upgrade = [token.lower() for token in request.tokens("upgrade")]
    connection = [token.lower() for token in request.tokens("connection")]
    if upgrade != ["websocket"] or "upgrade" not in connection:
        raise Answer(
            HTTPStatus.UPGRADE_REQUIRED,
            "this address is for coconowork clients",
            {"Upgrade": "websocket"},
        )
    if request.values("sec-websocket-version") != ["13"]:
        raise Answer(
            HTTPStatus.UPGRADE_REQUIRED,
            "WebSocket version 13 is needed",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    keys = request.values("sec-websocket-key")
    if len(keys) != 1 or not _key.fullmatch(keys[0]):
        raise Answer(HTTPStatus.BAD_REQUEST, "malformed Sec-WebSocket-Key")
    if SUBPROTOCOL not in request.tokens("sec-websocket-protocol"):
        raise Answer(HTTPStatus.BAD_REQUEST, f"the subprotocol {SUBPROTOCOL} is needed")
    digest = hashlib.sha1(keys[0].encode() + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n"
        b"Sec-WebSocket-Protocol: %b\r\n"
        b"\r\n" % (b64encode(digest), SUBPROTOCOL.encode())
    )
