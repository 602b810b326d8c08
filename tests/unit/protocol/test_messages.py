"""Every message of the wire comes back as it was, and anything else is an error."""

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

SECRET = "Hunter2-Secret!"
DECODERS = (msg.decode_from_client, msg.decode_from_server, msg.decode_sealed)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = st.text("0123456789abcdef", min_size=32, max_size=32)
keys = st.binary(min_size=32, max_size=32).map(lambda raw: b64encode(raw).decode())
scrams = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
times = st.datetimes(timezones=st.just(UTC))
waits = st.none() | st.integers(0, 86_400)
devices = st.builds(msg.Device, id=ids, public_key=keys, name=texts, os=texts, version=texts)
warnings = st.sampled_from(msg.WarningOutcome)
failures = st.sampled_from(["vault", "unreadable", "refused"])
refusals = st.sampled_from(
    ["credentials", "expired", "disabled", "blocked", "throttled", "version"]
)
goodbyes = st.sampled_from(["superseded", "disabled", "blocked", "shutting_down"])


def about_password(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return `kind` with either password, and `valid_until` exactly when it is old."""
    return st.builds(kind, password=st.just("current"), **fields) | st.builds(
        kind, password=st.just("old"), valid_until=times, **fields
    )


from_client = st.one_of(
    st.builds(msg.Hello, scram=scrams, device=devices),
    st.builds(msg.Proof, scram=scrams),
    st.builds(msg.Notice, warning=warnings, days_left=st.integers(0, 36_500)),
    st.builds(msg.UpdateFailed, change_id=ids, reason=failures),
)
boxes = st.text("abcXYZ09+/=", min_size=64, max_size=200)
from_server = st.one_of(
    st.builds(msg.Challenge, scram=scrams),
    about_password(msg.Welcome, scram=scrams, server_time=times, console_url=st.none() | texts),
    st.builds(msg.Rejected, reason=refusals, retry_after_s=waits),
    st.builds(msg.PasswordChanged, change_id=ids, sealed=boxes, valid_until=times),
    about_password(msg.PasswordStatus, server_time=times),
    st.builds(msg.Bye, reason=goodbyes, retry_after_s=waits),
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
jsons = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


def refused(decode: Any, fields: object, error: str = "malformed message at ") -> None:
    """Check that `fields` as JSON are an error that begins so, and quotes nothing of them."""
    data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    with pytest.raises(msg.MessageError, match=rf"\A{error}") as caught:
        decode(data)
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__


@given(from_client, from_server)
def test_messages_come_back(client: msg.ClientMessage, server: msg.ServerMessage) -> None:
    """A message is one line of JSON with `type` first, and is decoded to what it was."""
    assert msg.decode_from_client(msg.encode(client)) == client
    assert msg.decode_from_server(msg.encode(server)) == server
    for message in (client, server):
        data = msg.encode(message)
        fields = json.loads(data.decode())
        assert next(iter(fields)) == "type"
        assert None not in fields.values()
        assert b"\n" not in data


@given(ids, ids, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1024))
def test_sealed_passwords_come_back(change_id: str, device_id: str, password: str) -> None:
    """A box's content is decoded to what it was, and its repr shows no password."""
    sealed = msg.SealedPassword(change_id=change_id, device_id=device_id, password=password)
    assert msg.decode_sealed(msg.encode(sealed)) == sealed
    assert repr(sealed) == f"SealedPassword(change_id={change_id!r})"


@given(from_server, st.dictionaries(texts, jsons, min_size=1, max_size=4))
def test_unknown_fields_are_ignored(message: msg.ServerMessage, more: dict[str, Any]) -> None:
    """A later minor version may add fields; the known ones keep their meaning."""
    fields = json.loads(msg.encode(message))
    assume(not {"type", *message.__struct_fields__} & more.keys())
    data = json.dumps({**more, **fields}).encode()
    assume(len(data) <= msg.MAX_MESSAGE_BYTES)
    assert msg.decode_from_server(data) == message


@given(st.from_regex(r"\A[a-z_]{1,30}\Z"), st.dictionaries(st.text("abc"), jsons, max_size=3))
def test_an_unknown_type_has_its_own_error(kind: str, fields: dict[str, Any]) -> None:
    """A client ignores types of a later version, so it has to tell them from garbage."""
    known = {"challenge", "welcome", "rejected", "password_changed", "password_status", "bye"}
    assume(kind not in known)
    with pytest.raises(msg.UnknownMessage, match=r"^message of an unknown type$"):
        msg.decode_from_server(json.dumps({**fields, "type": kind}).encode())


@given(st.binary(max_size=400) | jsons.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_a_message_error(data: bytes) -> None:
    """Bytes that are no message raise MessageError, whose text is one of ours."""
    known = {"malformed message", "message that is not JSON", "message of an unknown type"}
    known |= {f"malformed message at $.{name}" for name in ("type", "reason", "scram")}
    for decode in DECODERS:
        for garbage in (data, b'{"type":"bye","reason":"' + data, json.dumps(list(data)).encode()):
            with pytest.raises(msg.MessageError) as caught:
                decode(garbage)
            assert str(caught.value) in known


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
    for data in (start + fill + b"x" + end, b" " * 16_385):
        with pytest.raises(msg.MessageError, match=r"^message of 16385 bytes, 16384 are allowed$"):
            msg.decode_from_server(data)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_json_is_harmless(opening: bytes, closing: bytes) -> None:
    """500 levels in an unknown field are ignored, as docs/protocol.md promises; more may fail."""
    bye = msg.Bye(reason="shutting_down")
    most = (msg.MAX_MESSAGE_BYTES - 100) // len(opening + closing)
    for depth in (500, most):
        value = opening * depth + b"1" + closing * depth
        field = b'{"type":"bye","reason":"shutting_down","x":' + value + b"}"
        for data in (field, value):
            try:
                assert msg.decode_from_server(data) == bye
            except msg.MessageError:
                assert (data, depth) != (field, 500)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "bye", "reason": SECRET},
        {"type": "challenge", "scram": [SECRET]},
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
    """An error's text goes to logs and close frames, so it has nothing of the payload."""
    whole = json.dumps(fields).encode()
    for decode in DECODERS:
        for data in (whole, whole[:-1], whole + b"x"):
            refused(decode, data, "")


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
        message = {**more, "server_time": "2026-11-23T04:05:06Z", **fields}
        refused(msg.decode_from_server, message, "malformed message")


@pytest.mark.parametrize(("fraction", "ms"), [("", 0), (".789", 789)])
def test_times_may_have_a_fraction_or_none(fraction: str, ms: int) -> None:
    """Both forms that docs/protocol.md allows are read."""
    text = f"2026-12-23T04:05:06{fraction}Z"
    fields = {"password": "old", "valid_until": text, "server_time": text}
    message = msg.decode_from_server(json.dumps({"type": "password_status", **fields}).encode())
    assert isinstance(message, msg.PasswordStatus)
    moment = datetime(2026, 12, 23, 4, 5, 6, tzinfo=UTC) + timedelta(milliseconds=ms)
    assert message.valid_until == message.server_time == moment


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("id", ["0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"]),
        ("public_key", ["A" * 44, "A" * 43 + "=\n"]),
        ("name", ["x" * 129]),
        ("os", [None]),
        ("version", [1]),
    ],
)
def test_a_device_is_checked(field: str, values: list[object]) -> None:
    """Each field of `device` has the form that docs/protocol.md gives."""
    device = {"id": "0" * 32, "public_key": "A" * 43 + "=", "name": "", "os": "", "version": ""}
    hello = {"type": "hello", "scram": "n,,n=a,r=b"}
    msg.decode_from_client(json.dumps({**hello, "device": device}).encode())
    for value in values:
        wrong = {**hello, "device": {**device, field: value}}
        refused(msg.decode_from_client, wrong, rf"malformed message at \$\.device\.{field}\Z")


@pytest.mark.parametrize("wait", [-1, 86_401, 1.5, "5", True])
def test_a_wait_is_a_day_at_most(wait: object) -> None:
    """`retry_after_s` is an integer from 0 to 86,400."""
    fields = {"type": "bye", "reason": "shutting_down", "retry_after_s": wait}
    refused(msg.decode_from_server, fields)


@pytest.mark.parametrize("wrong", [{"more": 1}, {"password": ""}, {"password": "x" * 1025}])
def test_a_box_has_three_fields(wrong: dict[str, object]) -> None:
    """A further field, and a password of another length, are refused."""
    fields = {"change_id": "0" * 32, "device_id": "1" * 32, "password": "ok"}
    assert msg.decode_sealed(json.dumps(fields).encode()).password == "ok"
    refused(msg.decode_sealed, {**fields, **wrong}, "malformed message")


def test_messages_cannot_be_changed() -> None:
    """Every struct of the wire is frozen, and has the tag that docs/protocol.md gives."""
    messages = msg.Message.__subclasses__()
    kinds: list[type[msgspec.Struct]] = [*messages, msg.Message, msg.Device, msg.SealedPassword]
    assert all(kind.__struct_config__.frozen for kind in kinds)
    assert {kind.__struct_config__.tag for kind in messages} == {
        "hello", "proof", "notice", "update_failed", "challenge", "welcome", "rejected",
        "password_changed", "password_status", "bye",
    }  # fmt: skip
