"""What the vault holds, and how a pushed password gets into it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from nacl.public import PrivateKey, PublicKey, SealedBox

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import (
    MAX_UTF16_UNITS,
    Credentials,
    CredentialsError,
    Identity,
    Pending,
    decode_credentials,
    encode_credentials,
    open_push,
)
from protocol import messages as msg
from protocol.sealing import SealError, device_id, new_device_key, public_key

KEY = b64encode(bytes(range(32))).decode()
ID = "eedd883da0a9451593dc0a38e583fb77"
CHANGE = "0123456789abcdef" * 2
BOX = (
    "+5VquGNTKmew8H+FfFRb74cx95cz5o+QgKRd8P0jjyJbtqZMD6flwUejs1PI0pB9Jq6rXXY7MrXNp4rHNux/TGio"
    "nKEVuaVbVjLbq2+cocnyKgmkPOXvLNJs/dpMlGoOxZ+VNtpZtv9ycCZr/cmqt8QNCpxUmYoes1pmKznvh/ORbsjj"
    "CemOrFd8U4rJmVSSPnVQfCqSie9xaPX7h3T8TWUk2Ez3PNc="
)
"""Sealed once for the key of test_handshake.py's worked example; `Second-2nd` is in it."""
UNTIL = datetime(2026, 12, 23, tzinfo=UTC)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def seal(plain: bytes, device_key: str = KEY) -> str:
    box = SealedBox(PrivateKey(b64decode(device_key)).public_key)
    return b64encode(box.encrypt(plain)).decode()


def push(new: str = "Second-2nd", *, change: str = CHANGE, device: str = ID) -> str:
    return seal(msg.encode(msg.SealedPassword(change_id=change, device_id=device, password=new)))


def changed(sealed: str, change: str = CHANGE) -> msg.PasswordChanged:
    return msg.PasswordChanged(change_id=change, sealed=sealed, valid_until=UNTIL)


@given(words)
def test_a_push_opens_to_what_was_sealed(password: str) -> None:
    """Sealed for this device and this change, it becomes the pending password."""
    assert open_push(changed(push(password)), KEY) == Pending(change_id=CHANGE, password=password)


def test_a_box_sealed_elsewhere_opens() -> None:
    """The bytes of a box that this run has not made: what another client has to open, too."""
    assert open_push(changed(BOX), KEY) == Pending(change_id=CHANGE, password="Second-2nd")


def test_a_box_needs_nothing_but_the_public_key() -> None:
    """Another server can seal with the 32 bytes that `hello` carries (crypto_box_seal)."""
    box = SealedBox(PublicKey(b64decode(public_key(KEY))))
    plain = json.dumps({"change_id": CHANGE, "device_id": ID, "password": "Second-2nd"}).encode()
    sealed = b64encode(box.encrypt(plain)).decode()
    assert open_push(changed(sealed), KEY).password == "Second-2nd"
    assert device_id(public_key(KEY)) == ID


@pytest.mark.parametrize(
    "sealed",
    [
        pytest.param(push(device="0" * 32), id="for another device, in our box"),
        pytest.param(push(change="f" * 32), id="of another change"),
        pytest.param(seal(b"{}"), id="without fields"),
        pytest.param(seal(b"\xff" * 40), id="not JSON in the box"),
        pytest.param(seal(b'["Second-2nd"]'), id="not an object"),
        pytest.param("A" * 200, id="junk"),
        pytest.param("!" * 200, id="not base64"),
        pytest.param(push()[:-8] + "AAAAAAA=", id="damaged"),
        pytest.param(" " + push(), id="white space"),
        pytest.param("é" * 100, id="not ASCII"),
    ],
)
def test_other_boxes_are_not_taken(sealed: str) -> None:
    """A box for another device or change, or that is none, raises SealError and quotes nothing."""
    with pytest.raises(SealError) as caught:
        open_push(changed(sealed), KEY)
    assert "Second-2nd" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_box_for_another_key_does_not_open() -> None:
    """Two PCs of one user cannot open each other's pushes."""
    other = new_device_key()
    assert other != new_device_key()
    with pytest.raises(SealError):
        open_push(changed(push()), other)


@given(st.text(max_size=300))
def test_junk_raises_seal_error_and_nothing_else(sealed: str) -> None:
    """Any text in place of the box raises SealError."""
    with pytest.raises(SealError):
        open_push(changed(sealed), KEY)


records = st.builds(
    Credentials,
    password=words,
    device_key=st.just(KEY),
    pending=st.none()
    | st.builds(Pending, change_id=st.just(CHANGE), password=words, refused=st.booleans()),
    refused=st.sampled_from([None, "credentials", "expired"]),
)


@given(records)
def test_records_come_back(record: Credentials) -> None:
    """What goes into a vault comes out of it."""
    assert decode_credentials(encode_credentials(record)) == record


@given(st.text(max_size=200))
def test_foreign_entries_raise_record_error(text: str) -> None:
    """An entry that another program has written is named as such, without quoting it."""
    with pytest.raises(CredentialsError) as caught:
        decode_credentials(text)
    assert caught.value.__cause__ is None
    assert str(caught.value) == "not an entry of this program"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"password": ""},
        {"device_key": "x"},
        {"refused": "maybe"},
        {"pending": {"change_id": CHANGE}},
        {"password": None},
    ],
)
def test_damaged_entries_raise_record_error(change: dict[str, object]) -> None:
    """Every field is checked when the vault is read."""
    fields = json.loads(encode_credentials(Credentials(password="Passw0rd!", device_key=KEY)))
    assert decode_credentials(json.dumps(fields)).password == "Passw0rd!"
    with pytest.raises(CredentialsError) as caught:
        decode_credentials(json.dumps({**fields, **change}))
    assert "Passw0rd!" not in repr(caught.value)


@pytest.mark.parametrize(("character", "units"), [("a", 1), ("あ", 1), ("😀", 2)])
def test_1280_units_are_the_most(character: str, units: int) -> None:
    """The limit is that of Windows, in UTF-16 units of the whole entry, not in characters."""
    record = Credentials(password="p", device_key=KEY)
    room = MAX_UTF16_UNITS - len(encode_credentials(record))
    assert MAX_UTF16_UNITS == 1280
    most = replace(record, password="p" + character * (room // units))
    assert decode_credentials(encode_credentials(most)) == most
    with pytest.raises(CredentialsError, match="1280"):
        encode_credentials(replace(most, password=most.password + character))


def test_two_passwords_of_64_characters_fit() -> None:
    """The longest passwords that the console allows fit twice, even where JSON escapes them."""
    for character in ("x", '"', "\\"):
        long = character * 64
        pending = Pending(change_id=CHANGE, password=long, refused=True)
        record = Credentials(password=long, device_key=KEY, pending=pending, refused="credentials")
        assert len(encode_credentials(record)) <= MAX_UTF16_UNITS


def test_half_a_surrogate_pair_is_refused() -> None:
    """A terminal may deliver what is not text; no vault could keep it."""
    with pytest.raises(CredentialsError, match=r"^characters that are not text$") as caught:
        encode_credentials(Credentials(password="a\ud800b", device_key=KEY))
    assert caught.value.__cause__ is None


@given(records, words)
def test_repr_shows_no_secret(record: Credentials, password: str) -> None:
    """Records, and all that carries them, can be logged by mistake without harm."""
    secret = f"<{password}>"
    record = replace(record, password=secret)
    if record.pending is not None:
        record = replace(record, pending=replace(record.pending, password=secret))
    assume(secret not in "Pending Credentials")
    identity = Identity(server="wss://gw.example.com/gateway", user="tanaka")
    for thing in (
        record,
        record.pending,
        ev.VaultRead(1, record),
        do.WriteVault(1, identity, record, do.WriteReason.COMMIT),
        ev.LoginRequested(1, identity, secret),
        ev.ProofReady(1, secret),
        do.Send(1, msg.Proof(scram=secret)),
        msg.SealedPassword(change_id=CHANGE, device_id=ID, password=secret),
    ):
        assert secret not in repr(thing)
        assert KEY not in repr(thing)


def test_events_and_effects_cannot_be_changed() -> None:
    """Every one is frozen, and shows its name only."""
    for base in (ev.Event, do.Effect):
        for kind in base.__subclasses__():
            assert kind.__struct_config__.frozen
            assert "__repr__" not in vars(kind)
