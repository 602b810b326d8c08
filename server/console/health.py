"""Answer the console's `/healthz` and `/readyz` in front of Django.

A load balancer asks by IP address and without TLS, which Django would refuse or redirect.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection

from server.console.middleware import AsgiApp, Receive, Send

HEALTH_PATH, READY_PATH = "/healthz", "/readyz"
REMEMBERED_SECONDS = 1.0
"""How long an answer of the database is used again."""


class Health:
    """Wrap an ASGI application: healthy when it answers, ready when it reaches the database."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._lock = asyncio.Lock()
        self._ready = False
        self._asked_at = float("-inf")

    async def __call__(self, scope: dict[str, object], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in {HEALTH_PATH, READY_PATH}:
            await self._app(scope, receive, send)
        elif scope["path"] == HEALTH_PATH:
            await _answer(send, 200, b"ok\n")
        elif await self._is_ready():
            await _answer(send, 200, b"ready\n")
        else:
            await _answer(send, 503, b"not ready\n")

    async def _is_ready(self) -> bool:
        async with self._lock:
            if monotonic() - self._asked_at > REMEMBERED_SECONDS:
                self._ready = await sync_to_async(_reaches_database, thread_sensitive=False)()
                self._asked_at = monotonic()
            return self._ready


def _reaches_database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
            return cursor.fetchone() is not None
    except DatabaseError:
        return False
    finally:
        connection.close()


async def _answer(send: Send, status: int, text: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
