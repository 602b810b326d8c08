"""The console on a real socket: odd requests, slow clients, proxies, and pages that hang."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any
from unittest.mock import AsyncMock

import h11
import pytest
import requests
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.signing import TimestampSigner, b62_encode

from server import config, reflection
from server.commands import serve
from server.console import http
from server.console.http import (
    MAX_FORM_BYTES,
    MAX_HEAD_BYTES,
    SLICE_BYTES,
    behind_proxies,
    limit_time,
)
from server.gateway.server import Gateway


@pytest.fixture(scope="module")
def port(database: None) -> Iterator[int]:
    listener = serve.listen("127.0.0.1", 0, option="--port")
    number = listener.getsockname()[1]
    with serve.console(listener, config.current()):
        yield number


FORM = b"username=a&password=b"
MULTIPART = b"multipart/form-data; boundary="


def post(content_type: bytes, body: bytes = FORM) -> bytes:
    head = b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: %b\r\n"
    return head % content_type + b"Content-Length: %d\r\n\r\n" % len(body) + body


def get(target: bytes, *more: bytes) -> bytes:
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" % target
    return head + b"".join(line + b"\r\n" for line in more) + b"\r\n"


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {405}),
        (post(b"", b"x" * MAX_FORM_BYTES), {403}),
        (post(b"", b"x" * (MAX_FORM_BYTES + 1)), {302}),
        (get(b"/login/", *[b"a:"] * 5_000), {400}),
        (get(b"/login/", b"Connection: Upgrade", b"Upgrade: websocket"), {200}),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: localhost\r\n\r\n1\r\na", {411}),
        (post(b"application/x-www-form-urlencoded; charset=shift_jis"), {415}),
        (post(b"application/x-www-form-urlencoded", b"&".join([b"a=1"] * 5_000)), {400, 403}),
        (post(MULTIPART + b"x", b"--x\r\nbroken"), {400, 403}),
        (post(MULTIPART + b"x; charset=utf-16", b"--x--"), {415}),
        (get(b"/password/changed/%00/"), {400}),
        (get(b"/static/console/%ff%fe.css"), {302, 404}),
        (get(b"/login/?next=%00%0d%0aX:1"), {200}),
        (get(b"http://[::1/"), {400, 404}),
        (get(b"/", b"Cookie: sessionid=\x00\xff; csrftoken=%00"), {302, 400}),
        (get(b"/login/", b"Cookie: django_language=\xe3\x81; csrftoken=\xff"), {200, 400}),
        (get(b"/login/", b"Accept-Language: " + b"ja-" * 5_000), {200}),
    ],
)  # fmt: skip
def test_odd_requests(
    port: int, request_: bytes, statuses: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    """An odd request never causes an error 500 or a traceback in the log."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connected:
        connected.sendall(request_)
        answer = connected.recv(65_536)
    assert int(answer.split()[1]) in statuses, answer[:300]
    assert "Traceback" not in caplog.text
    assert "WebSocket" not in caplog.text


@pytest.mark.parametrize("many", [b"1\r\na\r\n", b"1;a=b\r\na\r\n", b"a:\r\n"])
def test_nothing_small_is_parsed_by_the_thousand(
    port: int, many: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of tiny chunks or headers is cut off before much of it is parsed."""
    parsed = 0

    def count(connection: h11.Connection, data: bytes) -> None:
        nonlocal parsed
        parsed += len(data)
        receive_data(connection, data)

    receive_data = h11.Connection.receive_data
    monkeypatch.setattr(h11.Connection, "receive_data", count)
    head = b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += b"\r\n" if many.endswith(b"a\r\n") else b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connected:
        with contextlib.suppress(OSError):
            connected.sendall(head + many * 100_000)
        with contextlib.suppress(OSError):
            while connected.recv(65_536):
                pass
    assert parsed <= MAX_HEAD_BYTES + SLICE_BYTES


@pytest.mark.parametrize("sent", [b"", get(b"/login/")[:30], post(b"x", FORM)[:-5]])
def test_a_slow_request_is_cut_off(port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and body each have a deadline, which a byte now and then does not extend."""
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(http, "BODY_SECONDS", 0.4)
    end = time.monotonic() + 20
    with socket.create_connection(("127.0.0.1", port), timeout=0.15) as connected:
        connected.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                connected.sendall(b"x" if sent else b"")
                with contextlib.suppress(TimeoutError):
                    if not connected.recv(10):
                        break
    assert time.monotonic() < end


async def test_addresses_behind_proxies() -> None:
    """The console reads a proxy's headers as the gateway does, from trusted proxies only."""
    seen: list[Any] = []

    async def app(scope: Any, *_: object) -> None:
        seen.append((scope["client"][0], scope["scheme"]))

    https = [(b"x-forwarded-proto", b"https")]
    addresses = [(b"x-forwarded-for", each) for each in (b"evil, 203.0.113.7:80", b"10.0.0.2")]
    behind = behind_proxies(app, [ip_network("10.0.0.0/8")])
    for peer, headers in (
        ("10.0.0.1", addresses + https),
        ("192.0.2.1", addresses + https),
        ("10.0.0.1", https),
    ):
        scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
        await behind(scope, AsyncMock(), AsyncMock())
    assert seen == [("203.0.113.7", "https"), ("192.0.2.1", "http"), ("10.0.0.1", "https")]


@pytest.mark.parametrize(
    ("age_s", "key", "is_shown"), [(0, None, True), (301, None, False), (0, "another", False)]
)
async def test_only_doctor_sees_how_it_arrives(
    port: int, gateway: Gateway, age_s: int, key: str | None, is_shown: bool
) -> None:
    """The client's address is shown only for a recent token signed with the secret key."""
    with pytest.MonkeyPatch.context() as patch:
        then = b62_encode(int(time.time()) - age_s)
        patch.setattr(TimestampSigner, "timestamp", lambda _: then)
        token = reflection.sign(key or settings.SECRET_KEY)
    headers = {reflection.HEADER: token, "X-Forwarded-For": "203.0.113.7"}
    for each in (port, gateway.port):
        address = f"http://127.0.0.1:{each}/gateway"
        answer = await asyncio.to_thread(requests.get, address, headers=headers, timeout=10)
        assert ("203.0.113.7" in answer.text) == is_shown


async def test_page_on_a_thread_that_stands_still() -> None:
    """A page that takes too long gets 503; what its thread sends later is dropped."""
    stuck, ended, send = threading.Event(), threading.Event(), AsyncMock()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            await sync_to_async(stuck.wait, thread_sensitive=False)()
            await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            ended.set()

    try:
        await limit_time(app, seconds=0.05)({"method": "GET"}, AsyncMock(), send)
        [start, _] = [call.args[0] for call in send.await_args_list]
        assert start["status"] == 503
        assert (b"retry-after", b"30") in start["headers"]
    finally:
        stuck.set()
    await sync_to_async(ended.wait, thread_sensitive=False)(10)
    assert send.await_count == 2
