"""The control channel: how other processes of this user, and of no other user, talk to the client.

One JSON object on a line each way, at most 16 KiB. Passwords travel through it, so no line is ever
logged. The channel itself is in `windows/control.py` and `linux/control.py`.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Any

import msgspec

from agent.ports import ChannelError, Request

log = getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024
LINE_TIMEOUT_S = 10.0
"""Seconds that a peer may take to send a line, or to take one."""
LAST_WORDS_S = 1.0
"""Seconds that the end of the client waits for answers under way."""
MAX_CONNECTIONS = 16

Handler = Callable[[Request], Awaitable[Request]]


def encode_line(message: Request) -> bytes:
    """Return `message` as a line. Raise ChannelError when it is too long."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ChannelError(f"more than {MAX_LINE_BYTES} bytes")
    return line


def decode_line(line: bytes) -> Request:
    """Return the object in `line`. Raise ChannelError, which quotes nothing, when it is none."""
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
