"""A page that does not appear in time, whatever holds it up, is answered without it."""

from __future__ import annotations

import threading
from typing import Any

from asgiref.sync import sync_to_async

from server.console.http import limit_time


async def test_page_on_a_thread_that_stands_still() -> None:
    """503 comes though the thread goes on; what it says later is dropped."""
    stuck, ended, sent = threading.Event(), threading.Event(), list[Any]()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            await sync_to_async(stuck.wait, thread_sensitive=False)()
            await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            ended.set()

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        await limit_time(app, seconds=0.05)({"type": "http", "method": "GET"}, receive, send)
        assert sent[0]["status"] == 503
        assert (b"retry-after", b"30") in sent[0]["headers"]
    finally:
        stuck.set()
    await sync_to_async(ended.wait, thread_sensitive=False)(10)
    assert len(sent) == 2
