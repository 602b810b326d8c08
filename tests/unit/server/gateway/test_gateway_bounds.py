"""What a stranger sends costs little before a login: the worst of it takes less than 1 ms."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network

import pytest

from protocol import messages
from protocol.messages import MAX_MESSAGE_BYTES, MessageError
from protocol.scram import ClientFirst, ScramError
from protocol.sealing import check_device_id, check_public_key
from protocol.versions import is_older
from server.addresses import client_address
from server.gateway import handshake
from server.gateway.connection import SLICE_BYTES
from server.gateway.handshake import Answer, upgrade
from tests.support.gateway_client import describe, new_key
from tests.support.raw import UPGRADE


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the thread's time for `work`, as the median of some tries."""
    times = []
    for _ in range(15):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return statistics.median(times) * 1000


def assert_cheap(work: Callable[[], object]) -> None:
    """Compare with a loop that takes 1 ms on a slow machine, measured beside it."""
    for _ in range(3):  # another process can take the caches away for a while
        cost, limit = cpu_ms(work), cpu_ms(lambda: sum(range(80_000)))
        if cost < limit:
            return
    assert cost < limit


def request(header: str) -> bytes:
    head = UPGRADE.replace("\r\n\r\n", f"\r\n{header}\r\n\r\n").encode()
    assert len(head) <= handshake.MAX_HEAD_BYTES
    return head


@pytest.mark.parametrize(
    "header",
    [
        "\r\n".join(f"X-{number}: {'y' * 50}" for number in range(115)),
        "X: " + "y" * 7_800,
        "Connection: " + "a," * (handshake.MAX_LIST_CHARS // 2 - 10),
        "Connection: " + "a," * 3_800,
        "Upgrade: " + "a," * 3_800,
        "Sec-WebSocket-Protocol: " + "a," * 3_800,
        "Sec-WebSocket-Extensions: " + "a;b=c," * 1_300,
        "Sec-WebSocket-Key: " + "A" * 7_800,
    ],
    ids=lambda header: header[:30],
)
def test_requests(header: str) -> None:
    """Parsing a request of the largest size and checking its upgrade."""
    head = request(header)

    def work() -> None:
        with suppress(Answer):
            upgrade(head, lambda _: None)

    assert_cheap(work)


def test_forwarded_for() -> None:
    """Reading X-Forwarded-For, with every entry in one of many trusted networks."""
    trusted = [ip_network("10.0.0.0/8")] * 20
    assert_cheap(lambda: client_address("10.0.0.1", ["10.0.0.2," * 900], trusted))


@pytest.mark.parametrize(
    "text",
    [
        b"[" * MAX_MESSAGE_BYTES,
        b'{"a":' * 3_000,
        b'{"type":"hello","x":[' + b"1," * 8_000 + b"1]}",
        b'{"type":"hello","scram":"' + b"\\u0041" * 2_700 + b'"}',
        b'{"type":"notice","warning":"shown","days_left":' + b"9" * 16_000 + b"}",
        b'{"type":"notice","warning":"shown","days_left":1.' + b"9" * 16_000 + b"e400}",
        b"{" + b",".join(b'"k%d":1' % number for number in range(1_500)) + b"}",
    ],
    ids=lambda text: text[:24].decode(),
)
def test_messages(text: bytes) -> None:
    """Decoding a message of the largest size."""

    def work() -> None:
        with suppress(MessageError):
            messages.decode_from_client(text)

    assert_cheap(work)


@pytest.mark.parametrize(
    "first",
    [
        "n,,n=" + "a" * 2_030 + ",r=x", "n,,n=" + "\ufdfa" * 2_030 + ",r=x",
        "n,,n=a,r=" + "x" * 2_030, "n,,n=a,r=x" + ",b=c" * 500, "n,,n=a,r=x" + ",b=c" * 500 + ",",
        "n,,n=" + "=2C" * 670 + ",r=x", "n,,n=" + "=" * 2_030 + ",r=x",
    ],
    ids=lambda first: first[:12],
)  # fmt: skip
def test_client_first(first: str) -> None:
    """Parsing the longest client-first; a name that no user can have is not kept."""

    def work() -> ClientFirst | None:
        with suppress(ScramError):
            return ClientFirst.parse(first)
        return None

    assert_cheap(work)
    parsed = work()
    assert parsed is None or parsed.user is None or len(parsed.user) <= 64


def test_devices() -> None:
    """Checking what a client says of its device."""
    device = describe(new_key())

    def work() -> None:
        is_older("9." * 64, "1.2")
        check_device_id(device_id=device.id, public_key=device.public_key)
        check_public_key(device.public_key)

    assert_cheap(work)


def test_slice_of_frames() -> None:
    """Parsing as many frames as fit between two checks of the limit of frames."""
    websocket = handshake.new_websocket()
    pings = (b"\x89\x80abcd" * SLICE_BYTES)[:SLICE_BYTES]

    def work() -> None:
        websocket.receive_data(pings)
        websocket.events_received()
        websocket.data_to_send()

    assert_cheap(work)
