"""Proxies: HTTP `CONNECT` (RFC 9110) and SOCKS 5 (RFC 1928, 1929), with and without a login.

The proxies connect every host name to one port of this PC.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, field

import spnego

USER, PASSWORD = "proxy-user", "Proxy-pass-7"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class Proxy:
    """A proxy that connects to `port`. `served` has the target of each tunnel."""

    name: str
    """The proxy's own name, for `windows`."""
    port: int
    asks_for_login: bool = False
    scheme: str = "NTLM"
    """For `windows`: NTLM or Negotiate."""
    refused: int = 0
    """The number of wrong Windows logins: Active Directory locks an account after some."""
    served: list[str] = field(default_factory=list)

    async def http(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection with HTTP CONNECT."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.asks_for_login and f"Proxy-Authorization: Basic {login}\r\n" not in head:
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b'Proxy-Authenticate: Basic realm="office"\r\nContent-Length: 0\r\n\r\n'
            )
            return
        await self._tunnel(head.split()[1], reader, writer, ESTABLISHED)

    async def windows(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection with HTTP CONNECT for the accounts of the file NTLM_USER_FILE.

        The proxy checks real tokens of `scheme`. Its pages are chunked, as those of large proxies.
        """
        acceptor, said = spnego.server(self.name, "HTTP", protocol=self.scheme.lower()), b""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            found = re.search(rf"Proxy-Authorization: {self.scheme} (\S+)", head)
            try:
                said = (found and acceptor.step(b64decode(found[1]))) or b""
            except spnego.exceptions.SpnegoError:
                self.refused += 1
                said = b""
            if acceptor.complete:
                break
            writer.write(
                b"HTTP/1.1 407 Sign in\r\nProxy-Authenticate: Basic realm=office\r\n"
                + f"Proxy-Authenticate: {self.scheme} {b64encode(said).decode()}".strip().encode()
                + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"1388\r\n%s\r\n0\r\n\r\n" % (b"<p>:-</p>\n" * 500)
            )
        await self._tunnel(head.split()[1], reader, writer, ESTABLISHED)

    async def socks5(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection with SOCKS 5, by host name."""

        async def counted() -> str:
            return (await reader.readexactly((await reader.readexactly(1))[0])).decode("ascii")

        await reader.readexactly(1)
        methods, wanted = await counted(), 2 if self.asks_for_login else 0
        if chr(wanted) not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if self.asks_for_login:
            await reader.readexactly(1)
            is_right = (await counted(), await counted()) == (USER, PASSWORD)
            writer.write(bytes([1, 0 if is_right else 1]))
            if not is_right:
                return
        _, _, _, kind = await reader.readexactly(4)
        assert kind == 3, "the client resolves a name that only the proxy knows"
        name, port = await counted(), int.from_bytes(await reader.readexactly(2))
        connected = bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 0])
        await self._tunnel(f"{name}:{port}", reader, writer, connected)

    async def _tunnel(
        self, target: str, reader: StreamReader, writer: StreamWriter, connected: bytes
    ) -> None:
        """Connect, answer with the bytes `connected`, and relay data both ways."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(connected)
        self.served.append(target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, far_writer))
                group.create_task(_pass_on(far_reader, writer))
        finally:
            far_writer.close()


async def _pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
