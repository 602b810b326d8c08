"""Fuzz targets of the client: what a server or a proxy can send to the client."""

from __future__ import annotations

import json
import logging
import random
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import HealthCheck, settings
from hypothesis.stateful import get_state_machine_test
from nacl.public import PrivateKey, SealedBox
from scramp import ScramClient, ScramException
from websockets.client import ClientProtocol
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from agent.core.classify import classify
from agent.core.failure import Failure, Reason
from fuzz.target import SECRET, Target, glue, says_only, texts
from protocol import messages, sealing
from protocol import scram as handshake
from tests.unit.agent.core.test_machine_properties import Client

VALID_UNTIL = datetime(2026, 12, 23, 3, 0, tzinfo=UTC)
NONCE = "c-0123456789abcdefghij"
KEY = b64encode(bytes(range(32))).decode()
DEVICE = sealing.device_id(sealing.public_key(KEY))
SALT = b64encode(b"0123456789abcdef").decode()
_silent = logging.getLogger("fuzz.silent")
_silent.setLevel(logging.CRITICAL)


def wire(data: bytes) -> None:
    """Check that bytes are a message, or raise an error without any of their text."""
    for decode in (
        messages.decode_from_server,
        messages.decode_from_client,
        messages.decode_sealed,
    ):
        try:
            message = decode(data)
        except messages.MessageError as exc:
            says_only(
                str(exc),
                r"message of \d+ bytes, 16384 are allowed|malformed message( at \$[\w.]*)?"
                r"|message that is not JSON|message of an unknown type",
            )
            assert exc.__cause__ is None
        else:
            again = messages.encode(message)
            if len(again) <= messages.MAX_MESSAGE_BYTES:
                assert decode(again) == message


def scram(data: bytes) -> None:
    """Check that a challenge is refused or answered as by scramp, and a signature is refused."""
    challenge, final, _ = texts(data, 3)
    login = handshake.ClientLogin(user="tanaka", password=SECRET, nonce=NONCE)
    login.first()
    try:
        proof = login.proof(challenge)
    except handshake.MalformedMessage as exc:
        says_only(str(exc), r"malformed challenge|unsafe iteration count|a challenge .*")
    else:
        assert f"r={NONCE}" in challenge
        assert SECRET not in proof
        other = ScramClient(["SCRAM-SHA-256"], "tanaka", SECRET, c_nonce=NONCE)
        other.get_client_first()
        with suppress(ScramException, ValueError, IndexError, KeyError):
            other.set_server_first(challenge)
            assert other.get_client_final() == proof
    try:
        login.verify(final)
    except handshake.WrongServer:
        pass
    else:
        raise AssertionError("a signature of the server that was made up")


def sealed(data: bytes) -> None:
    """Check that a sealed box opens only for its change and device, or raises SealError."""
    own_box = SealedBox(PrivateKey(b64decode(KEY)).public_key).encrypt(data)
    for box in (data.decode(errors="replace"), *(b64encode(b).decode() for b in (data, own_box))):
        message = messages.PasswordChanged(change_id="ab" * 16, sealed=box, valid_until=VALID_UNTIL)
        paired = messages.Paired(change_id="ab" * 16, user="tanaka", sealed=box)
        try:
            pending = sealing.open_sealed(message, device_key=KEY)
        except sealing.SealError as exc:
            says_only(str(exc), r"the sealed password (cannot be opened|belongs to another \w+)")
        else:
            plain = json.loads(data)
            assert (plain["change_id"], plain["device_id"]) == ("ab" * 16, DEVICE)
            assert pending.password == plain["password"]
            assert sealing.open_sealed(paired, device_key=KEY).password == plain["password"]
            assert pending.password not in repr(pending) or len(pending.password) < 32


def http_answer(data: bytes) -> None:
    """Check that any HTTP answer to the upgrade gives a Reason, without any text of the answer."""
    protocol = ClientProtocol(
        parse_uri("wss://gw.example.com/gateway"),
        subprotocols=[Subprotocol(messages.SUBPROTOCOL)],
        logger=_silent,
    )
    protocol.key = "AAAAAAAAAAAAAAAAAAAAAA=="
    protocol.send_request(protocol.connect())
    protocol.receive_data(data)
    if protocol.handshake_exc is None:
        protocol.receive_eof()
    if protocol.handshake_exc is not None:
        proxy = "http://proxy:80" if len(data) % 2 else None
        _is_sane(classify(protocol.handshake_exc, proxy=proxy))
    else:
        assert any(isinstance(event, Response) for event in protocol.events_received())


def _is_sane(failure: Failure) -> None:
    assert failure.reason is not Reason.INTERNAL, failure
    assert failure.retry_after_s is None or 0 <= failure.retry_after_s <= 3600
    says_only(failure.detail, r"[A-Za-z0-9_ :]{0,80}")


_history = get_state_machine_test(
    Client, settings=settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
)


def history(data: bytes) -> None:
    """Run the client's state machine through events that these bytes choose, with attacks."""
    _history.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined] # not in its types


_PLAIN = json.dumps({"change_id": "ab" * 16, "device_id": DEVICE, "password": "New-Passw0rd"})
_MESSAGES = [
    b'{"type":"challenge","scram":"r=abc,s=QUJDREVGR0hJSktMTU5P,i=600000"}',
    b'{"type":"welcome","scram":"v=QUJD","password":"old","server_time":"2026-11-23T04:05:06Z"}',
    b'{"type":"rejected","reason":"throttled","retry_after_s":60}',
    b'{"type":"password_changed","change_id":"%b","sealed":"%b",' % (b"ab" * 16, b"A" * 96)
    + b'"valid_until":"2026-12-23T04:05:06Z"}',
    b'{"type":"password_status","password":"current","server_time":"9999-12-31T23:59:59Z"}',
    b'{"type":"pairing_code","code":"BCDF2345","expires_in_s":600}',
    b'{"type":"paired","change_id":"%b","user":"tanaka","sealed":"%b"}' % (b"ab" * 16, b"A" * 96),
    b'{"type":"bye","reason":"shutting_down","retry_after_s":30}',
    b'{"type":"later","more":[[[[{"a":1e999}]]]]}',
    _PLAIN.encode(),
]
_CHALLENGES = [
    glue(f"r={NONCE}server,s={SALT},i=600000", "v=QUJD"),
    glue(f"r={NONCE}server,s={SALT},i=5000000,x=more", "e=other-error"),
    glue(f"m=x,r={NONCE}s,s={SALT},i=600000", "v="),
]
_UPGRADED = (
    b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: "
    b"coconowork.v1\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
)
_LATER = (
    b"HTTP/1.1 429 No\r\nDate: Mon, 23 Nov 2026 08:00:00 GMT\r\n"
    b"Retry-After: Mon, 23 Nov 2026 09:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
)
_ANSWERS = [
    _UPGRADED,
    _LATER,
    b"HTTP/1.1 503 No\r\nRetry-After: 30\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n<html>",
]
_HISTORIES = [random.Random(number).randbytes(4000) for number in range(12)]
TARGETS = [
    Target("wire", wire, _MESSAGES, weight=8, max_bytes=16_500),
    Target("scram", scram, _CHALLENGES, weight=8),
    Target("sealed", sealed, [_PLAIN.encode(), b"A" * 96], weight=4),
    Target("http-answer", http_answer, _ANSWERS, weight=6),
    # Hypothesis keeps the strategies of the last 1,024 histories.
    Target("history", history, _HISTORIES, max_bytes=6000, max_growth=120_000),
]
