"""Before a login, the worst input of a stranger costs less than 1 ms of CPU time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network

import pytest
from nacl.public import PrivateKey

from protocol import messages
from protocol.messages import MAX_MESSAGE_BYTES, MessageError
from protocol.scram import ClientFirst, ScramError
from protocol.sealing import check_device_id, check_public_key
from protocol.versions import is_older
from server.addresses import client_address
from server.gateway import handshake
from server.gateway.connection import SLICE_BYTES
from tests.support.gateway_client import UPGRADE, describe


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of `work` in ms: the median of 15 runs."""
    times = []
    for _ in range(15):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return statistics.median(times) * 1000


HEADERS = [
    "\r\n".join(f"X-{number}: {'y' * 50}" for number in range(115)),
    "Connection: " + "a," * (handshake.MAX_LIST_CHARS // 2 - 10), "Upgrade: " + "a," * 3_800,
    "Sec-WebSocket-Protocol: " + "a," * 3_800, "Sec-WebSocket-Extensions: " + "a;b=c," * 1_300,
    "Sec-WebSocket-Key: " + "A" * 7_800,
]  # fmt: skip
MESSAGES = [
    b"[" * MAX_MESSAGE_BYTES, b'{"a":' * 3_000, b'{"type":"hello","x":[' + b"1," * 8_000 + b"1]}",
    b'{"type":"hello","scram":"' + b"\\u0041" * 2_700 + b'"}',
    b'{"type":"notice","warning":"shown","days_left":' + b"9" * 16_000 + b"}",
    b'{"type":"notice","warning":"shown","days_left":1.' + b"9" * 16_000 + b"e400}",
    b"{" + b",".join(b'"k%d":1' % number for number in range(1_500)) + b"}",
]  # fmt: skip
FIRSTS = [
    "n,,n=" + "a" * 2_030 + ",r=x", "n,,n=" + "\ufdfa" * 2_030 + ",r=x", "n,,n=a,r=" + "x" * 2_030,
    "n,,n=a,r=x" + ",b=c" * 500, "n,,n=a,r=x" + ",b=c" * 500 + ",", "n,,n=" + "=2C" * 670 + ",r=x",
    "n,,n=" + "=" * 2_030 + ",r=x",
]  # fmt: skip


def request(header: str) -> None:
    """Parse a request of the largest size, and check its upgrade."""
    head = UPGRADE.replace("\r\n\r\n", f"\r\n{header}\r\n\r\n").encode()
    assert len(head) <= handshake.MAX_HEAD_BYTES
    handshake.respond(head, lambda _: None)


def message(text: bytes) -> None:
    with suppress(MessageError):
        messages.decode_from_client(text)


def client_first(first: str) -> None:
    """Parse the longest client-first; a name that no user can have is not kept."""
    with suppress(ScramError):
        assert len(ClientFirst.parse(first).user or "") <= 64


def forwarded_for(header: str) -> None:
    """Read X-Forwarded-For, with every entry in one of many trusted networks."""
    client_address("10.0.0.1", [header], [ip_network("10.0.0.0/8")] * 20)


def device(described: messages.Device) -> None:
    is_older("9." * 64, "1.2")
    check_device_id(device_id=described.id, public_key=described.public_key)
    check_public_key(described.public_key)


WEBSOCKET = handshake.new_websocket()


def frames(pings: bytes) -> None:
    """Parse as many frames as the gateway does between two checks of their limit."""
    WEBSOCKET.receive_data(pings)
    WEBSOCKET.events_received()
    WEBSOCKET.data_to_send()


@pytest.mark.parametrize(
    ("work", "sent"),
    [
        *((request, header) for header in HEADERS),
        *((message, text) for text in MESSAGES),
        *((client_first, first) for first in FIRSTS),
        (forwarded_for, "10.0.0.2," * 900),
        (device, describe(PrivateKey(bytes(32)))),
        (frames, (b"\x89\x80abcd" * SLICE_BYTES)[:SLICE_BYTES]),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:24]),
)
def test_the_worst_is_cheap(work: Callable[[object], None], sent: object) -> None:
    """The worst input costs less than a loop, timed here, that takes 1 ms on a slow machine."""
    for _ in range(3):  # other processes may slow a try down
        cost, limit = cpu_ms(lambda: work(sent)), cpu_ms(lambda: sum(range(80_000)))
        if cost < limit:
            return
    assert cost < limit
