"""Fuzz targets of the server: what clients, proxies, operators and administrators send."""

from __future__ import annotations

import functools
import ipaddress
import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import django
from django.conf import settings
from websockets.frames import Frame

from fuzz.target import SECRET, Pieces, Target, as_text, glue, says_only
from protocol import messages, scram, sealing

if not settings.configured:
    settings.configure(USE_I18N=False, DEFAULT_CHARSET="utf-8")
    django.setup()

from server import config
from server.addresses import client_address
from server.console import csvfiles, hashers
from server.gateway import handshake, login

SALT, KEY = "MDEyMzQ1Njc4OWFiY2RlZg==", "A" * 43 + "="
_home = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm"))


@functools.cache
def _verifiers() -> list[scram.Verifier]:
    return [
        hashers.hash_password(word, salt=b"0123456789abcdef", iterations=600_000)
        for word in (SECRET, "Older-1", "Oldest-1")
    ]


def scram_login(data: bytes) -> None:
    """Any two SCRAM messages are refused, or raise a MalformedMessage that quotes nothing."""
    parts = Pieces(data)
    first, final = parts.text(), as_text(parts.rest())
    try:
        parsed = scram.ClientFirst.parse(first)
        assert parsed.user is None or parsed.user.isprintable()
        attempt = scram.ServerLogin(parsed, _verifiers(), nonce="s" * 24)
        assert parsed.nonce.isascii()
        assert attempt.challenge.isprintable()
        assert attempt.check(final) is None
    except scram.MalformedMessage as exc:
        says_only(str(exc), r"malformed SCRAM client-(first|final)")


def honest_login(data: bytes) -> None:
    """A login with the right password is accepted for any user name; a damaged proof is not."""
    parts = Pieces(data)
    name, where = parts.text(), sum(parts.raw())
    try:
        client = scram.ClientLogin(user=name, password=SECRET, nonce="c" * 24)
    except scram.UnusableCredentials:
        return
    first = scram.ClientFirst.parse(client.first())
    attempt = scram.ServerLogin(first, _verifiers(), nonce="s" * 24)
    final = client.proof(attempt.challenge)
    proven = attempt.check(final)
    assert proven is not None
    client.verify(proven[1])
    damaged = bytearray(final.encode())
    damaged[-10 - where % 30] ^= 1
    with suppress(scram.MalformedMessage):
        again = scram.ServerLogin(first, _verifiers(), nonce="s" * 24)
        assert again.check(damaged.decode("latin-1")) is None


def device(data: bytes) -> None:
    """A `hello` names a device whose id belongs to its key, or raises a SealError."""
    try:
        hello = messages.decode_from_client(data)
    except messages.MessageError:
        return
    if isinstance(hello, messages.Hello):
        login.is_too_old(hello.device.version, "1.2")
        with suppress(sealing.SealError):
            key = hello.device.public_key
            sealing.check_device_id(device_id=hello.device.id, public_key=key)
            sealing.check_public_key(key)


def forwarded_for(data: bytes) -> None:
    """The address is the peer's or one that a trusted proxy has named; nothing raises."""
    parts = Pieces(data)
    trusted = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
    values = [parts.text() for _ in range(3)]
    assert client_address("192.0.2.7", values, trusted) == "192.0.2.7"
    assert client_address("10.0.0.1", values, ()) == "10.0.0.1"
    ipaddress.ip_address(client_address("10.0.0.1", values, trusted))
    said = client_address("10.0.0.1", [*values, "192.0.2.9"], trusted)
    assert said == "192.0.2.9", "what stands before it is hearsay"


def csv_import(data: bytes) -> None:
    """A file of users is read as lines, or raises a CsvError."""
    try:
        lines = csvfiles.read_users(data)
    except csvfiles.CsvError as exc:
        assert len(str(exc)) < 200
    else:
        assert 0 < len(lines) <= csvfiles.MAX_USERS
        assert all("\0" not in value for line in lines for value in line.values.values())
        csvfiles.write([list(line.values.values()) for line in lines])


def verifier(data: bytes) -> None:
    """A stored verifier is parsed, or raises ValueError; a typed password is usable or refused."""
    typed = as_text(data)
    with suppress(ValueError):
        found = hashers.parse_verifier(typed)
        assert hashers.parse_verifier(hashers.format_verifier(found)) == found
    with suppress(hashers.UnusablePassword):
        prepared = hashers.prepare(typed)
        assert hashers.prepare(prepared) == prepared


def upgrade_request(data: bytes) -> None:
    """A request becomes an upgrade, or an answer that is one HTTP response."""
    try:
        request = handshake.Handshake(data + handshake.END_OF_HEAD)
        assert request.accept().startswith(b"HTTP/1.1 101 ")
    except handshake.Answer as answer:
        said = answer.serialize(with_body=False)
        assert said.count(b"\r\n\r\n") == 1
    else:
        assert request.request.method == "GET"


def client_frames(data: bytes) -> None:
    """However TCP cuts what a client sends: the same frames, and no message too long."""
    parts = Pieces(data)
    cuts, sent = parts.raw(), parts.rest()
    assert _frames(sent, []) == _frames(sent, [each * len(sent) // 256 for each in sorted(cuts)])


def _frames(sent: bytes, cuts: list[int]) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    websocket, seen = handshake.new_websocket(), list[tuple[int, bytes]]()
    for start, end in pairwise([0, *cuts, len(sent)]):
        websocket.receive_data(sent[start:end])
        for frame in websocket.events_received():
            assert isinstance(frame, Frame)
            assert len(frame.data) <= messages.MAX_MESSAGE_BYTES
            seen.append((frame.opcode, bytes(frame.data)))
    said = websocket.data_to_send()
    handshake.release(websocket)
    return seen, said


def config_file(data: bytes) -> None:
    """The server's settings file is loaded, or raises a ConfigError."""
    path = _home / "server.toml"
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
_LOGINS = [
    glue("n,,n=tanaka,r=abcdefghijklmnopqrstuvwx", "c=biws,r=abc,p=" + "A" * 43 + "="),
    glue("y,,n=a=2Cb=3Dc,r=x", "c=eSws,r=x,p=QUJD"),
    glue("p=tls-unique,a=x,n=t,r=x,m=y", "c=,r=,p="),
]
_FRAMES = [
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
_VERIFIERS = [f"scram_sha256$600000${SALT}${KEY}${KEY}", "ｐａｓｓ\u00adword"]
_SETTINGS = [
    b'port = 8080\nhost = "0.0.0.0"\ntrusted_proxies = ["10.0.0.0/8"]\n',
    b'public_url = "https://console.example.com"\nlog_level = "debug"\n',
]
TARGETS = [
    Target("server-scram", scram_login, _LOGINS, weight=4),
    Target("server-login", honest_login, [glue("tanaka", b"\x01"), glue("a,=", b"xyz")], weight=2),
    Target("server-device", device, [_HELLO], weight=4),
    Target("server-upgrade", upgrade_request, [_UPGRADE, b"HEAD /healthz HTTP/1.0"], weight=4),
    Target("server-frames", client_frames, _FRAMES, weight=6, max_bytes=17_000),
    Target("forwarded-for", forwarded_for, _FORWARDED, weight=4),
    Target("csv-import", csv_import, _CSV, weight=4, max_bytes=20_000),
    Target("verifier", verifier, [each.encode() for each in _VERIFIERS], weight=4),
    Target("server-settings", config_file, _SETTINGS, weight=2),
]
