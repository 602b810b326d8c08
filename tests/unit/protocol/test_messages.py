"""Every message of the wire comes back as it was, and anything else is an error."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
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
releases = st.none() | st.builds(
    msg.Release,
    version=st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}", fullmatch=True),
    url=st.from_regex(r"https://[a-z]{1,9}/[!-~]{0,9}", fullmatch=True),
)
boxes = st.text("abcXYZ09+/=", min_size=64, max_size=200)
from_server = st.one_of(
    st.builds(msg.Challenge, scram=scrams),
    about_password(
        msg.Welcome,
        scram=scrams,
        server_time=times,
        console_url=st.none() | texts,
        newest=releases,
    ),
    st.builds(msg.Rejected, reason=refusals, retry_after_s=waits, newest=releases),
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
    """A box's content is decoded to what it was."""
    sealed = msg.SealedPassword(change_id=change_id, device_id=device_id, password=password)
    assert msg.decode_sealed(msg.encode(sealed)) == sealed


def test_no_repr_shows_a_password() -> None:
    """A box's content may get into a log."""
    sealed = msg.SealedPassword(change_id="0" * 32, device_id="1" * 32, password=SECRET)
    assert repr(sealed) == f"SealedPassword(change_id='{'0' * 32}')"


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
TIME = "2026-11-23T04:05:06Z"
DEVICE = {"id": "0" * 32, "public_key": "A" * 43 + "=", "name": "", "os": "", "version": ""}
HELLO = {"type": "hello", "scram": "n,,n=a,r=b", "device": DEVICE}
STATUS = {"type": "password_status", "password": "current", "server_time": TIME}
OLD = {**STATUS, "password": "old", "valid_until": TIME}
BYE = {"type": "bye", "reason": "shutting_down"}
SEALED = {"change_id": "0" * 32, "device_id": "1" * 32, "password": "ok"}


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
        (msg.decode_from_client, HELLO, {"device": [{**DEVICE, "version": 1}]}),
        (msg.decode_sealed, SEALED, {"more": [1], SECRET: [1], "change_id": [SECRET]}),
        (msg.decode_sealed, SEALED, {"password": ["", "x" * 1025]}),
    ],
)
def test_every_field_is_checked(
    decode: Callable[[bytes], object], fields: dict[str, Any], wrong: dict[str, list[object]]
) -> None:
    """Each has the form that docs/protocol.md gives; an error goes to logs and quotes nothing."""
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
    """By its path, so that the authors of other clients find it."""
    hello = {**HELLO, "device": {**DEVICE, "os": None}}
    with pytest.raises(msg.MessageError, match=r"\Amalformed message at \$\.device\.os\Z"):
        msg.decode_from_client(json.dumps(hello).encode())


@pytest.mark.parametrize(("fraction", "ms"), [("", 0), (".789", 789)])
def test_times_may_have_a_fraction_or_none(fraction: str, ms: int) -> None:
    """Both forms that docs/protocol.md allows are read."""
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
