"""The local channel: how other processes of this user, and nobody else, talk to the client.

One JSON object on a line each way, at most 16 KiB. Passwords travel through it, so nothing that
does is ever logged. This file has what both platforms share, and their way in.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Any

import msgspec

from agent.paths import Paths
from agent.ports import ChannelError, ControlChannel, Request

log = getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024
LINE_TIMEOUT_S = 10.0
"""How long a peer may take for a line, to send it or to take it."""
LAST_WORDS_S = 1.0
"""How long the end waits for answers under way."""
MAX_CONNECTIONS = 16

Handler = Callable[[Request], Awaitable[Request]]


def open_channel(paths: Paths) -> ControlChannel:
    """The platform's channel; nothing is claimed before `serve`."""
    if sys.platform == "win32":
        from agent.windows.control import PipeChannel

        return PipeChannel(paths)
    from agent.linux.control import SocketChannel

    return SocketChannel(paths)


async def ask(paths: Paths, request: Request, *, timeout_s: float) -> Request:
    """The running client's answer. Raise ChannelError when there is none within `timeout_s`."""
    if sys.platform == "win32":
        from agent.windows.control import exchange
    else:
        from agent.linux.control import exchange
    return decode_line(await exchange(paths, encode_line(request), timeout_s=timeout_s))


def encode_line(message: Request) -> bytes:
    """Raise ChannelError when it is too long."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ChannelError(f"more than {MAX_LINE_BYTES} bytes")
    return line


def decode_line(line: bytes) -> Request:
    """Raise ChannelError, which quotes nothing, when it is not one JSON object."""
    try:
        message: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ChannelError("not a JSON object") from None
    return message


async def answer(handle: Handler, line: bytes) -> bytes:
    """What to send back for `line`. Raise ChannelError when the peer is to be hung up on."""
    request = decode_line(line)
    try:
        return encode_line(await handle(request))
    except Exception as exc:  # noqa: BLE001 - a defect in one command must not end the channel
        # Not the exception's text: it may quote the request.
        where = "".join(traceback.format_tb(exc.__traceback__))
        log.error("a command failed with %s\n%s", type(exc).__name__, where)  # noqa: TRY400
        return encode_line({"error": "internal"})
