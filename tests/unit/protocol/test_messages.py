"""The wire: every message comes back as it was, and nothing else gets in."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol import messages as msg

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = st.text("0123456789abcdef", min_size=32, max_size=32)
keys = st.binary(min_size=32, max_size=32).map(lambda raw: b64encode(raw).decode())
scrams = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
times = st.datetimes(timezones=st.just(UTC))
waits = st.none() | st.integers(0, 86_400)
devices = st.builds(msg.Device, id=ids, public_key=keys, name=texts, os=texts, version=texts)


def standing(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`kind` with either password, and `valid_until` exactly when it is old."""
    return st.builds(kind, password=st.just("current"), **fields) | st.builds(
        kind, password=st.just("old"), valid_until=times, **fields
    )


from_client = st.one_of(
    st.builds(msg.Hello, scram=scrams, device=devices),
    st.builds(msg.Proof, scram=scrams),
    st.builds(
        msg.Notice,
        warning=st.sampled_from(["shown", "suppressed", "failed"]),
        days_left=st.integers(0, 36_500),
    ),
    st.builds(
        msg.UpdateFailed,
        change_id=ids,
        reason=st.sampled_from(["vault", "unreadable", "refused"]),
    ),
)
from_server = st.one_of(
    st.builds(msg.Challenge, scram=scrams),
    standing(msg.Welcome, scram=scrams, server_time=times, console_url=st.none() | texts),
    st.builds(
        msg.Rejected,
        reason=st.sampled_from(
            ["credentials", "expired", "disabled", "blocked", "throttled", "version"]
        ),
        retry_after_s=waits,
    ),
    st.builds(
        msg.PasswordChanged,
        change_id=ids,
        sealed=st.text("abcXYZ09+/=", min_size=64, max_size=200),
        valid_until=times,
    ),
    standing(msg.PasswordStatus, server_time=times),
    st.builds(
        msg.Bye,
        reason=st.sampled_from(["superseded", "disabled", "blocked", "shutting_down"]),
        retry_after_s=waits,
    ),
)
jsons = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


@given(from_client)
def test_client_messages_come_back(message: msg.ClientMessage) -> None:
    """What a client encodes a server decodes to the same."""
    assert msg.decode_from_client(msg.encode(message)) == message


@given(from_server)
def test_server_messages_come_back(message: msg.ServerMessage) -> None:
    """What a server encodes a client decodes to the same."""
    assert msg.decode_from_server(msg.encode(message)) == message


@given(ids, ids, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1024))
def test_sealed_passwords_come_back(change_id: str, device_id: str, password: str) -> None:
    """The plaintext of a box survives, whatever characters a password has."""
    sealed = msg.SealedPassword(change_id=change_id, device_id=device_id, password=password)
    assert msg.decode_sealed(msg.encode(sealed)) == sealed


@given(from_client | from_server)
def test_a_message_is_one_line_of_json_with_a_type(message: msg.Message) -> None:
    """The wire is one JSON object in UTF-8, its first field `type`, nothing that is None."""
    data = msg.encode(message)  # type: ignore[arg-type] # any message will do
    fields = json.loads(data.decode())
    assert next(iter(fields)) == "type"
    assert None not in fields.values()
    assert b"\n" not in data


@given(from_server, st.dictionaries(texts, jsons, min_size=1, max_size=4))
def test_unknown_fields_are_passed_over(message: msg.ServerMessage, more: dict[str, Any]) -> None:
    """A later minor version may say more; the field names known here keep their meaning."""
    fields = json.loads(msg.encode(message))
    names = {"type", *(name for name in message.__struct_fields__)}
    assume(not names & more.keys())
    data = json.dumps({**more, **fields}).encode()
    assume(len(data) <= msg.MAX_MESSAGE_BYTES)
    assert msg.decode_from_server(data) == message


@given(st.from_regex(r"\A[a-z_]{1,30}\Z"), st.dictionaries(st.text("abc"), jsons, max_size=3))
def test_an_unknown_type_is_told_from_garbage(kind: str, fields: dict[str, Any]) -> None:
    """A client passes over types of a later version, so they have an exception of their own."""
    known = {"challenge", "welcome", "rejected", "password_changed", "password_status", "bye"}
    assume(kind not in known)
    with pytest.raises(msg.UnknownMessage):
        msg.decode_from_server(json.dumps({**fields, "type": kind}).encode())


@given(st.binary(max_size=400) | jsons.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_a_message_error(data: bytes) -> None:
    """Bytes that are no message raise MessageError, whatever they are."""
    for decode in (msg.decode_from_client, msg.decode_from_server, msg.decode_sealed):
        with pytest.raises(msg.MessageError):
            decode(data)


@given(from_client | from_server, st.data())
def test_damaged_messages_raise_nothing_else(message: Any, data: st.DataObject) -> None:
    """A message with a byte changed, cut or put in is a message or a MessageError."""
    raw = bytearray(msg.encode(message))
    at = data.draw(st.integers(0, len(raw) - 1))
    end = at + data.draw(st.integers(0, 3))
    raw[at:end] = data.draw(st.binary(max_size=3))
    for decode in (msg.decode_from_client, msg.decode_from_server):
        try:
            decode(bytes(raw))
        except msg.MessageError as exc:
            assert exc.__cause__ is None  # noqa: PT017 - either outcome is right


def test_16_kib_are_the_most() -> None:
    """A message of 16,384 bytes is read, one more is refused before it is parsed."""
    start, end = b'{"type":"bye","reason":"shutting_down","x":"', b'"}'
    fill = b"x" * (msg.MAX_MESSAGE_BYTES - len(start) - len(end))
    assert msg.decode_from_server(start + fill + end) == msg.Bye(reason="shutting_down")
    with pytest.raises(msg.MessageError, match="16385 bytes"):
        msg.decode_from_server(start + fill + b"x" + end)


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    """Return a valid `bye` whose unknown field `x` has JSON of this depth."""
    value = opening * depth + b"1" + closing * depth
    return b'{"type":"bye","reason":"shutting_down","x":' + value + b"}"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_in_an_unknown_field_is_ignored(opening: bytes, closing: bytes) -> None:
    """An unknown field with 500 levels of JSON is ignored, as the protocol's page promises."""
    message = msg.decode_from_server(nested(500, opening, closing))
    assert message == msg.Bye(reason="shutting_down")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deeper_nesting_is_harmless(opening: bytes, closing: bytes) -> None:
    """As deep as a message may be, JSON raises MessageError, or is ignored by a large stack."""
    depth = (msg.MAX_MESSAGE_BYTES - 100) // len(opening + closing)
    for data in (nested(depth, opening, closing), opening * depth + b"1" + closing * depth):
        assert len(data) <= msg.MAX_MESSAGE_BYTES
        try:
            message = msg.decode_from_server(data)
        except msg.MessageError:
            continue
        assert message == msg.Bye(reason="shutting_down")


SECRET = "Hunter2-Secret!"


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "bye", "reason": SECRET},
        {"type": "challenge", "scram": [SECRET]},
        {"type": "welcome", "scram": "v=x", "password": SECRET, "server_time": SECRET},
        {"type": "welcome", "scram": "v=x", "password": "current", "server_time": SECRET},
        {"type": SECRET},
        {"type": "password_changed", "change_id": SECRET, "sealed": SECRET},
        {"change_id": "0" * 32, "device_id": "0" * 32, "password": "ok", SECRET: 1},
        {"change_id": SECRET, "device_id": SECRET, "password": SECRET},
        [SECRET],
        SECRET,
    ],
)
def test_an_error_quotes_nothing(fields: Any) -> None:
    """The text of an error goes to logs and close frames: it holds nothing of the payload."""
    whole = json.dumps(fields).encode()
    for decode in (msg.decode_from_client, msg.decode_from_server, msg.decode_sealed):
        for data in (whole, whole[:-1], whole + b"x"):
            with pytest.raises(msg.MessageError) as caught:
                decode(data)
            assert SECRET not in repr(caught.value)
            assert caught.value.__suppress_context__


@given(st.binary(min_size=1, max_size=60))
def test_no_error_quotes_garbage(raw: bytes) -> None:
    """The same for whatever comes: texts are ours alone."""
    known = {
        "malformed message",
        "message that is not JSON",
        "message of an unknown type",
        *(f"malformed message at $.{name}" for name in ("type", "reason", "scram")),
    }
    for data in (raw, b'{"type":"bye","reason":"' + raw, json.dumps(list(raw)).encode()):
        with pytest.raises(msg.MessageError) as caught:
            msg.decode_from_server(data)
        assert str(caught.value) in known


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "old"},
        {"password": "current", "valid_until": "2026-12-23T04:05:06Z"},
        {"password": "temporary"},
        {"password": "old", "valid_until": "2026-12-23T04:05:06"},
        {"password": "old", "valid_until": "2026-12-23"},
        {"password": "old", "valid_until": 1_790_000_000},
        {"password": "old", "valid_until": "2026-13-23T04:05:06Z"},
    ],
)
def test_a_deadline_belongs_to_an_old_password(fields: dict[str, Any]) -> None:
    """`valid_until` is there exactly when the password is old, and is a time in full."""
    for more in ({"type": "welcome", "scram": "v=x"}, {"type": "password_status"}):
        data = json.dumps({**more, "server_time": "2026-11-23T04:05:06Z", **fields}).encode()
        with pytest.raises(msg.MessageError):
            msg.decode_from_server(data)


def test_times_may_have_a_fraction_or_none() -> None:
    """Both forms that docs/protocol.md allows read as the same moment."""
    moment = datetime(2026, 12, 23, 4, 5, 6, tzinfo=UTC)
    for text, expected in [
        ("2026-12-23T04:05:06Z", moment),
        ("2026-12-23T04:05:06.789Z", moment + timedelta(milliseconds=789)),
    ]:
        data = (
            f'{{"type":"password_status","password":"old","valid_until":"{text}",'
            f'"server_time":"{text}"}}'
        )
        message = msg.decode_from_server(data.encode())
        assert isinstance(message, msg.PasswordStatus)
        assert message.valid_until == message.server_time == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "0" * 31),
        ("id", "0" * 33),
        ("id", "A" * 32),
        ("id", "0" * 32 + "\n"),
        ("public_key", "A" * 44),
        ("public_key", "A" * 43 + "=\n"),
        ("name", "x" * 129),
        ("os", None),
        ("version", 1),
    ],
)
def test_a_device_is_checked(field: str, value: object) -> None:
    """Each field of `device` has the form that docs/protocol.md gives."""
    device = {"id": "0" * 32, "public_key": "A" * 43 + "=", "name": "", "os": "", "version": ""}
    hello = {"type": "hello", "scram": "n,,n=a,r=b"}
    msg.decode_from_client(json.dumps({**hello, "device": device}).encode())
    with pytest.raises(msg.MessageError, match=rf"at \$\.device\.{field}\Z"):
        msg.decode_from_client(json.dumps({**hello, "device": {**device, field: value}}).encode())


@pytest.mark.parametrize("wait", [-1, 86_401, 1.5, "5", True])
def test_a_wait_is_a_day_at_most(wait: object) -> None:
    """`retry_after_s` is an integer from 0 to 86,400."""
    data = json.dumps({"type": "bye", "reason": "shutting_down", "retry_after_s": wait}).encode()
    with pytest.raises(msg.MessageError):
        msg.decode_from_server(data)


def test_a_box_has_three_fields_and_shows_no_password() -> None:
    """What lies in the box is bound: a field more is refused, and repr is safe to log."""
    box = {"change_id": "0" * 32, "device_id": "1" * 32, "password": SECRET}
    assert SECRET not in repr(msg.decode_sealed(json.dumps(box).encode()))
    for other in ({**box, "more": 1}, {**box, "password": ""}, {**box, "password": "x" * 1025}):
        with pytest.raises(msg.MessageError):
            msg.decode_sealed(json.dumps(other).encode())


def test_messages_cannot_be_changed() -> None:
    """Every struct of the wire is frozen, so what was checked stays as it is."""
    kinds: list[type[msgspec.Struct]] = [
        *msg.Message.__subclasses__(),
        msg.Message,
        msg.Device,
        msg.SealedPassword,
    ]
    assert all(kind.__struct_config__.frozen for kind in kinds)
    assert {kind.__struct_config__.tag for kind in kinds[:-3]} == {
        "hello", "proof", "notice", "update_failed", "challenge", "welcome", "rejected",
        "password_changed", "password_status", "bye",
    }  # fmt: skip


def test_what_the_errors_and_reprs_say() -> None:
    """Sizes, ids and places of fields, and nothing of the content."""
    with pytest.raises(msg.MessageError, match=r"^message of 16385 bytes, 16384 are allowed$"):
        msg.decode_from_client(b" " * 16_385)
    with pytest.raises(msg.MessageError, match=r"^message that is not JSON$"):
        msg.decode_from_server(b"{")
    with pytest.raises(msg.UnknownMessage, match=r"^message of an unknown type$"):
        msg.decode_from_server(b'{"type":"news"}')
    with pytest.raises(msg.MessageError, match=r"^malformed message at \$.scram$"):
        msg.decode_from_server(b'{"type":"challenge","scram":""}')
    sealed = msg.SealedPassword(change_id="a" * 32, device_id="b" * 32, password="secret")
    assert repr(sealed) == f"SealedPassword(change_id='{'a' * 32}')"
