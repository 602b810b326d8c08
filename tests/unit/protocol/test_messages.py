"""Every message of the wire comes back as it was, and anything else is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from protocol import messages as msg

SECRET = "Hunter2-Secret!"

TIME = "2026-11-23T04:05:06Z"
DEVICE = {"id": "0" * 32, "public_key": "A" * 43 + "=", "name": "", "os": "", "version": ""}
HELLO = {"type": "hello", "scram": "n,,n=a,r=b", "device": DEVICE}
STATUS = {"type": "password_status", "password": "current", "server_time": TIME}
OLD = {**STATUS, "password": "old", "valid_until": TIME}
BYE = {"type": "bye", "reason": "shutting_down"}
PUSH = {"type": "password_changed", "change_id": "0" * 32, "sealed": "A" * 64, "valid_until": TIME}
NEWEST = {"version": "1.2.3", "url": "https://example.com/setup.exe"}
CODE = {"type": "pairing_code", "code": "BCDF2345", "expires_in_s": 600}
SEALED = {"change_id": "0" * 32, "device_id": "1" * 32, "password": "ok"}
FROM_CLIENT = [
    HELLO,
    {"type": "pair", "device": {**DEVICE, "name": "営業部のPC"}},
    {"type": "proof", "scram": "c=biws"},
    *({"type": "notice", "warning": each.value, "days_left": 0} for each in msg.WarningOutcome),
    {"type": "update_failed", "change_id": "0" * 32, "reason": "vault"},
]
FROM_SERVER = [
    {"type": "challenge", "scram": "r=x"},
    {**OLD, "type": "welcome", "scram": "v=x", "console_url": "https://a/", "newest": NEWEST},
    {"type": "rejected", "reason": "throttled", "retry_after_s": 60},
    {**PUSH, "signature": "A" * 43 + "="},
    CODE,
    {"type": "paired", "change_id": "0" * 32, "user": "tanaka", "sealed": "A" * 64},
    STATUS,
    OLD,
    {**BYE, "retry_after_s": 86_400},
]
CASES = [
    *((msg.decode_from_client, fields) for fields in FROM_CLIENT),
    *((msg.decode_from_server, fields) for fields in FROM_SERVER),
]


@pytest.mark.parametrize(("decode", "fields"), CASES)
def test_messages_come_back(decode: Callable[[bytes], Any], fields: dict[str, Any]) -> None:
    """A message is one line of JSON with `type` first; a later version may add fields to it."""
    message = decode(json.dumps({**fields, "later": [{"x": None}]}).encode())
    data = msg.encode(message)
    assert json.loads(data) == fields
    assert (data[:9], b"\n" in data) == (b'{"type":"', False)
    assert decode(data) == message


def test_an_unknown_type_has_its_own_error() -> None:
    """An unknown type raises its own error, because a client ignores types of later versions."""
    with pytest.raises(msg.UnknownMessage, match=r"^message of an unknown type$"):
        msg.decode_from_server(b'{"x":[1],"type":"later"}')


def test_sealed_passwords_come_back() -> None:
    """A box's content is decoded to what it was; its repr shows no password."""
    sealed = msg.decode_sealed(json.dumps({**SEALED, "password": SECRET}).encode())
    assert msg.decode_sealed(msg.encode(sealed)) == sealed
    assert (sealed.password, repr(sealed)) == (SECRET, f"SealedPassword(change_id='{'0' * 32}')")


def test_16_kib_are_the_most() -> None:
    """A message of 16,384 bytes is read, one more is refused before it is parsed."""
    start, end = b'{"type":"bye","reason":"shutting_down","x":"', b'"}'
    fill = b"x" * (msg.MAX_MESSAGE_BYTES - len(start) - len(end))
    assert msg.decode_from_server(start + fill + end) == msg.Bye(reason="shutting_down")
    for data in (start + fill + b"x" + end, b" " * 16_385):
        with pytest.raises(msg.MessageError, match=r"^message of 16385 bytes, 16384 are allowed$"):
            msg.decode_from_server(data)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_json_is_harmless(opening: bytes, closing: bytes) -> None:
    """500 levels in an unknown field are ignored, as docs/protocol.md promises; more may fail."""
    bye = msg.Bye(reason="shutting_down")
    for depth in (500, (msg.MAX_MESSAGE_BYTES - 100) // len(opening + closing)):
        value = opening * depth + b"1" + closing * depth
        field = b'{"type":"bye","reason":"shutting_down","x":' + value + b"}"
        for data in (field, value):
            try:
                assert msg.decode_from_server(data) == bye
            except msg.MessageError:
                assert (data, depth) != (field, 500)


NO_IDS = ["0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n", SECRET]


@pytest.mark.parametrize(
    ("decode", "fields", "wrong"),
    [
        # `valid_until` is there exactly when the password is old, and is a time in full.
        (msg.decode_from_server, STATUS, {"password": ["old", "temporary"], "valid_until": [TIME]}),
        (
            msg.decode_from_server,
            {**OLD, "type": "welcome", "scram": "v=x"},
            {"valid_until": [TIME[:-1], TIME[:10], 1_790_000_000, "2026-13-23T04:05:06Z", SECRET]},
        ),
        (msg.decode_from_server, BYE, {"retry_after_s": [-1, 86_401, 1.5, "5", True, SECRET]}),
        (msg.decode_from_server, BYE, {"reason": [SECRET, [SECRET]], "type": [SECRET]}),
        (msg.decode_from_client, HELLO, {"device": [SECRET, [SECRET]], "scram": [{SECRET: 1}]}),
        (msg.decode_from_client, HELLO, {"device": [{**DEVICE, "id": each} for each in NO_IDS]}),
        (
            msg.decode_from_client,
            HELLO,
            {"device": [{**DEVICE, "public_key": each} for each in ("A" * 44, "A" * 43 + "=\n")]},
        ),
        (msg.decode_from_client, HELLO, {"device": [{**DEVICE, "name": "x" * 129}]}),
        (msg.decode_sealed, SEALED, {"more": [1], SECRET: [1], "change_id": [SECRET]}),
        (msg.decode_sealed, SEALED, {"password": ["", "x" * 1025]}),
    ],
)
def test_every_field_is_checked(
    decode: Callable[[bytes], object], fields: dict[str, Any], wrong: dict[str, list[object]]
) -> None:
    """Each field has the form that docs/protocol.md gives; errors quote no value."""
    decode(json.dumps(fields).encode())
    for field, values in wrong.items():
        for value in values:
            whole = json.dumps({**fields, field: value}).encode()
            for data in (whole, whole[:-1], whole + b"x"):
                with pytest.raises(msg.MessageError) as caught:
                    decode(data)
                assert SECRET not in repr(caught.value)
                assert caught.value.__suppress_context__


def test_an_error_names_the_field() -> None:
    """An error of decoding has the wrong field's path, for authors of other clients."""
    hello = {**HELLO, "device": {**DEVICE, "os": None}}
    with pytest.raises(msg.MessageError, match=r"\Amalformed message at \$\.device\.os\Z"):
        msg.decode_from_client(json.dumps(hello).encode())


@pytest.mark.parametrize(("fraction", "ms"), [("", 0), (".789", 789)])
def test_times_may_have_a_fraction_or_none(fraction: str, ms: int) -> None:
    """Times are read with and without a fraction, as docs/protocol.md allows."""
    text = TIME.replace("Z", f"{fraction}Z")
    message = msg.decode_from_server(
        json.dumps({**OLD, "valid_until": text, "server_time": text}).encode()
    )
    assert isinstance(message, msg.PasswordStatus)
    moment = datetime(2026, 11, 23, 4, 5, 6, ms * 1000, tzinfo=UTC)
    assert message.valid_until == message.server_time == moment


def test_messages_cannot_be_changed() -> None:
    """Every struct of the wire is frozen, and has the tag that docs/protocol.md gives."""
    messages = msg.Message.__subclasses__()
    kinds: list[type[msgspec.Struct]] = [*messages, msg.Message, msg.Device, msg.SealedPassword]
    assert all(kind.__struct_config__.frozen for kind in kinds)
    assert {kind.__struct_config__.tag for kind in messages} == {
        "hello", "proof", "notice", "update_failed", "challenge", "welcome", "rejected",
        "password_changed", "password_status", "bye", "pair", "pairing_code", "paired",
    }  # fmt: skip
