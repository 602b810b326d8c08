"""Fuzz targets of the server: what clients, proxies, operators and administrators send."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import django
from django.apps import apps

from fuzz.target import SECRET, Target, glue, pieces, says_only, texts
from protocol import messages, scram, sealing
from server import config

if not apps.ready:
    config.use(config.load({}, data_dir=Path(tempfile.mkdtemp(prefix="fuzz-"))))
    django.setup(set_prefix=False)

from protocol.versions import is_older
from server.addresses import client_address
from server.console import csvfiles, hashers
from server.gateway import connection as gateway_connection
from server.gateway import handshake
from server.gateway.connection import CLOSING, Callbacks, ClientConnection

_loop = asyncio.new_event_loop()


@functools.cache
def _verifiers() -> list[scram.Verifier]:
    return [
        hashers.hash_password(word, salt=b"0123456789abcdef", iterations=600_000)
        for word in (SECRET, "Older-1", "Oldest-1")
    ]


def scram_login(data: bytes) -> None:
    """Check that SCRAM messages are refused, or raise an error without any of their text."""
    first, final = texts(data, 2)
    try:
        parsed = scram.ClientFirst.parse(first)
        assert parsed.user is None or parsed.user.isprintable()
        attempt = scram.ServerLogin(parsed, _verifiers(), nonce="s" * 24)
        assert parsed.nonce.isascii()
        assert attempt.challenge.isprintable()
        assert attempt.check(final) is None
    except scram.MalformedMessage as exc:
        says_only(str(exc), r"malformed SCRAM client-(first|final)")


def device(data: bytes) -> None:
    """Check that the device id and key of a `hello` or `pair` are right, or raise a SealError."""
    try:
        hello = messages.decode_from_client(data)
    except messages.MessageError:
        return
    if isinstance(hello, messages.Hello | messages.Pair):
        is_older(hello.device.version, "1.2")
        with suppress(sealing.SealError):
            key = hello.device.public_key
            sealing.check_device_id(device_id=hello.device.id, public_key=key)
            sealing.check_public_key(key)


def forwarded_for(data: bytes) -> None:
    """Check that the address is the peer's, or comes from a trusted proxy."""
    trusted = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
    values = texts(data, 3)
    assert client_address("192.0.2.7", values, trusted) == "192.0.2.7"
    assert client_address("10.0.0.1", values, ()) == "10.0.0.1"
    ipaddress.ip_address(client_address("10.0.0.1", values, trusted))
    said = client_address("10.0.0.1", [*values, "192.0.2.9"], trusted)
    assert said == "192.0.2.9", "entries before the proxy's own are not trusted"


def csv_import(data: bytes) -> None:
    """Check that a file of users is read as lines, or raises a CsvError."""
    try:
        lines = csvfiles.read_users(data)
    except csvfiles.CsvError as exc:
        assert len(str(exc)) < 200
    else:
        assert 0 < len(lines) <= csvfiles.MAX_USERS
        assert all("\0" not in value for line in lines for value in line.values.values())
        list(csvfiles.parts([list(line.values.values()) for line in lines]))


class _Transport(asyncio.Transport):
    """A socket that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.written += b"<end>"

    def abort(self, *_: object, **__: object) -> None:
        pass

    set_write_buffer_limits = pause_reading = resume_reading = close = abort


def connection(data: bytes) -> None:
    """Check that a connection's messages do not depend on TCP's cuts, and that it closes once."""
    where, sent = pieces(data, 2)
    if not sent.startswith(b"GET"):
        sent = _UPGRADE + handshake.END_OF_HEAD + sent
    cuts = [each * len(sent) // 256 for each in sorted(where)]
    assert _converse(sent, []) == _converse(sent, cuts)


def _call_soon(function: Callable[[], None]) -> None:
    _loop.call_soon(function)


@patch.object(gateway_connection, "FRAME_BURST", 20_000)
def _converse(sent: bytes, cuts: list[int]) -> tuple[bytes, bool, list[bytes]]:
    """Return the start of the answer, whether the connection is closing, and the messages."""
    texts: list[bytes] = []
    closed: list[ClientConnection] = []

    async def converse(connection: ClientConnection) -> None:
        while (text := connection.next_text()) is not None:
            assert len(text) <= messages.MAX_MESSAGE_BYTES
            texts.append(text)
            text.decode()

    callbacks = Callbacks(
        may_accept=lambda _: True,
        admit=lambda *_: None,
        converse=converse,
        on_closed=closed.append,
        call_soon=_call_soon,
    )
    connection = ClientConnection(_loop, callbacks)
    transport = _Transport()
    connection.connection_made(transport)
    for start, end in pairwise([0, *cuts, len(sent)]):
        connection.data_received(sent[start:end])
    is_closing = connection.stage == CLOSING
    _loop.run_until_complete(asyncio.sleep(0))
    connection.connection_lost(None)
    _loop.run_until_complete(asyncio.sleep(0))
    assert closed == [connection]
    return bytes(transport.written[:12]), is_closing, texts


def config_file(data: bytes) -> None:
    """Check that a settings file is loaded, or raises a ConfigError."""
    path = config.current().data_dir / "server.toml"
    path.write_bytes(data)
    with suppress(config.ConfigError):
        config.load({"COCONOWORK_SERVER_CONFIG": str(path)})


_UPGRADE = (
    b"GET /gateway HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: coconowork.v1"
)
_HELLO = (
    b'{"type":"hello","scram":"n,,n=user,r=Y29jb25vd29yay1jbGllbnQ","device":{'
    b'"id":"eedd883da0a9451593dc0a38e583fb77",'
    b'"public_key":"j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8=",'
    b'"name":"PC-4711","os":"Windows 11","version":"0.1.0"}}'
)
_PAIR = b'{"type":"pair","device":' + _HELLO.partition(b'"device":')[2]
_LOGINS = [
    glue("n,,n=tanaka,r=abcdefghijklmnopqrstuvwx", "c=biws,r=abc,p=" + "A" * 43 + "="),
    glue("y,,n=a=2Cb=3Dc,r=x", "c=eSws,r=x,p=QUJD"),
    glue("p=tls-unique,a=x,n=t,r=x,m=y", "c=,r=,p="),
]
_FRAMES = [
    glue(b"\x08\x90", _UPGRADE + handshake.END_OF_HEAD),
    glue(b"\x30", b"GET /healthz HTTP/1.0\r\n\r\n"),
    glue(b"\x40\x80", b"\x81\x82abcd\x1a\x1f"),
    glue(b"\x20", b"\x01\x81abcd\x1a\x89\x80abcd\x80\x81abcd\x1c\x88\x82abcd\x62\x8a"),
    glue(b"", b"\x81\xfe\x01\x00abcd" + b"x" * 256),
]
_FORWARDED = [
    glue("192.0.2.1, 10.0.0.2", "10.0.0.3", "::ffff:10.0.0.4"),
    glue("unknown", "[2001:db8::1]:443", "fe80::1%eth0"),
]
_CSV = [
    b"username,name,role\ntanaka,T,general\n",
    "ユーザ名,名前,役割\n田中,太郎,一般ユーザ\n".encode("cp932"),
    b'\xef\xbb\xbfusername\n"a ""b"" c"\n=1+1\n',
]
_SETTINGS = [
    b'port = 8080\nhost = "0.0.0.0"\ntrusted_proxies = ["10.0.0.0/8"]\n',
    b'public_url = "https://console.example.com"\nlog_level = "debug"\n',
]
TARGETS = [
    Target("server-scram", scram_login, _LOGINS, weight=4),
    Target("server-device", device, [_HELLO, _PAIR], weight=4),
    Target("server-connection", connection, _FRAMES, weight=8, max_bytes=17_000),
    Target("forwarded-for", forwarded_for, _FORWARDED, weight=4),
    Target("csv-import", csv_import, _CSV, weight=4, max_bytes=20_000),
    Target("server-settings", config_file, _SETTINGS, weight=2),
]
