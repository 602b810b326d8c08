"""Open a tunnel through an HTTP proxy that asks for the Windows account (Negotiate or NTLM).

Such a login takes several requests on one connection, which none of our libraries makes. Windows
makes the tokens (SSPI); no password is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from email.message import Message
from email.parser import BytesHeaderParser
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

SCHEMES = ("Negotiate", "NTLM")
MAX_REQUESTS = 4
MAX_ANSWER_BYTES = 256 * 1024

LogIn = Callable[[bytes], bytes]
"""Return the token that answers the proxy's token, empty on failure. The first call gets b"".

The call blocks while Windows asks a domain controller: call it off the loop.
"""


def windows_login(scheme: str, host: str) -> LogIn | None:
    """Return a login as this Windows user; None on Linux, and when Windows has no such scheme."""
    if sys.platform != "win32":
        return None
    import pywintypes
    import sspi

    try:
        context = sspi.ClientAuth(scheme, targetspn=f"HTTP/{host}")
    except pywintypes.error:
        return None

    def log_in(challenge: bytes) -> bytes:
        try:
            _, buffers = context.authorize(challenge or None)
        except pywintypes.error:
            return b""
        return bytes(buffers[0].Buffer)

    return log_in


async def open_tunnel(
    proxy: str,
    target: str,
    offers: list[str],
    *,
    at: str,
    new_login: Callable[[str, str], LogIn | None] = windows_login,
) -> socket.socket | None:
    """Return a socket to `target`, a `host:port`, through the proxy; None when the proxy refuses.

    `offers` are the proxy's `Proxy-Authenticate` headers; `at` is its address with an IP address in
    place of the name. Raise OSError.
    """
    host, address = urlsplit(proxy).hostname or "", urlsplit(at)
    offered = {offer.split(" ")[0].lower() for offer in offers}
    scheme = next((each for each in SCHEMES if each.lower() in offered), None)
    log_in = await asyncio.to_thread(new_login, scheme, host) if scheme else None
    if scheme is None or log_in is None:
        return None
    ip = address.hostname or ""
    tunnel = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
    try:
        tunnel.setblocking(False)
        await asyncio.get_running_loop().sock_connect(tunnel, (ip, address.port))
        challenge = ""
        for _ in range(MAX_REQUESTS):
            if not (token := await asyncio.to_thread(log_in, b64decode(challenge))):
                break
            status, headers = await _connect(
                tunnel, target, f"{scheme} {b64encode(token).decode()}"
            )
            if status == 200:
                return tunnel
            answers = headers.get_all("Proxy-Authenticate", [])
            words = [each.partition(" ")[::2] for each in answers]
            challenge = next((text for word, text in words if word.lower() == scheme.lower()), "")
            if status != 407 or not challenge:
                log.info("the proxy refuses the Windows account (%s): HTTP %d", scheme, status)
                break
    except (ValueError, IndexError):
        pass  # the answer is not HTTP
    except BaseException:
        tunnel.close()
        raise
    tunnel.close()
    return None


async def _connect(tunnel: socket.socket, target: str, login: str) -> tuple[int, Message]:
    """Send one request and read the whole answer; return its status and its headers."""
    loop = asyncio.get_running_loop()
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {login}\r\n\r\n"
    await loop.sock_sendall(tunnel, request.encode("ascii"))
    data = b""
    while True:
        chunk = await loop.sock_recv(tunnel, 4096)
        data += chunk
        if not chunk or len(data) > MAX_ANSWER_BYTES:
            raise ConnectionResetError("the proxy's answer does not end")
        head, separator, page = data.partition(b"\r\n\r\n")
        if separator:
            line, _, fields = head.partition(b"\r\n")
            status, headers = int(line.split()[1]), BytesHeaderParser().parsebytes(fields)
            if status == 200 or _is_whole(headers, page):
                return status, headers


def _is_whole(headers: Message, page: bytes) -> bool:
    """Return whether the page has ended, so that the next answer can be read after it."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return page.endswith(b"0\r\n\r\n")
    return len(page) >= int(headers.get("Content-Length", "0"))
