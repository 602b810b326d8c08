"""uvicorn's HTTP as the console has it, on a real socket."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from server.commands import serve
from server.console.http import GuardedProtocol


async def _page(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a page"})


async def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    """On a listener as the server makes it, connections send at once (TCP_NODELAY)."""
    found: list[int] = []

    class Watched(GuardedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
            super().connection_made(transport)
            connected = transport.get_extra_info("socket")
            found.append(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    config = uvicorn.Config(_page, http=Watched, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    listener = serve.listen("127.0.0.1", 0, option="--port")
    server = await asyncio.get_running_loop().create_server(
        lambda: Watched(config=config, server_state=state, app_state={}), sock=listener
    )
    async with server:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"a page\r\n0\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert found == [1]
