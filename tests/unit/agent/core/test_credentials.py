"""The vault's entry: its form, its limits, and a repr without secrets."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import MAX_UTF16_UNITS, Credentials, CredentialsError, Pending, Refusal
from protocol import messages as msg
from tests.support.core_driver import CHANGE, HOME

KEY = b64encode(bytes(range(32))).decode()
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("refused", "pending_refused", "usable"),
    [
        (None, None, ["current"]),
        (None, False, ["pushed", "current"]),
        (None, True, ["current"]),
        ("expired", None, []),
        ("expired", False, ["pushed"]),
        ("credentials", True, []),
    ],
)
def test_refused_passwords_are_not_usable(
    refused: Refusal | None, pending_refused: bool | None, usable: list[str]
) -> None:
    """The pending password is tried first; a refused one is not tried."""
    pending = None
    if pending_refused is not None:
        pending = Pending(change_id=CHANGE, password="pushed", refused=pending_refused)
    entry = Credentials(password="current", device_key=KEY, refused=refused, pending=pending)
    assert entry.usable() == usable
    assert repr(entry) == f"Credentials(pending={pending!r}, refused={refused!r})"


pendings = st.builds(Pending, change_id=st.just(CHANGE), password=words, refused=st.booleans())
records = st.builds(
    Credentials,
    password=words,
    device_key=st.just(KEY),
    pending=st.none() | pendings,
    refused=st.sampled_from([None, "credentials", "expired"]),
)


@given(records)
def test_entries_come_back(record: Credentials) -> None:
    """An entry is the same after encoding and decoding."""
    assert Credentials.decode(record.encode()) == record


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"password": ""},
        {"device_key": "x"},
        {"refused": "maybe"},
        {"pending": {"change_id": CHANGE}},
    ],
)
def test_damaged_entries_are_refused(change: dict[str, object]) -> None:
    """Every field of an entry is checked; the error quotes nothing."""
    fields = json.loads(Credentials(password="Passw0rd!", device_key=KEY).encode())
    assert Credentials.decode(json.dumps(fields)).password == "Passw0rd!"
    whole = json.dumps({**fields, **change})
    for text in (whole, whole[:-1], "Passw0rd!", ""):
        with pytest.raises(CredentialsError, match=r"^not an entry of this program$") as caught:
            Credentials.decode(text)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(("character", "units"), [("a", 1), ("あ", 1), ("😀", 2)])
def test_1280_units_are_the_most(character: str, units: int) -> None:
    """The whole entry has at most 1,280 UTF-16 units, the limit of Windows."""
    record = Credentials(password="p", device_key=KEY)
    room = MAX_UTF16_UNITS - len(record.encode())
    assert MAX_UTF16_UNITS == 1280
    most = replace(record, password="p" + character * (room // units))
    assert Credentials.decode(most.encode()) == most
    for password, error in ((most.password + character, "1280"), ("a\ud800b", "^characters that")):
        with pytest.raises(CredentialsError, match=error) as caught:
            replace(most, password=password).encode()
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("character", ["x", '"', "\\"])
def test_two_passwords_of_64_characters_fit(character: str) -> None:
    """Two passwords of the console's greatest length fit, even when JSON escapes them."""
    long = character * 64
    pending = Pending(change_id=CHANGE, password=long, refused=True)
    record = Credentials(password=long, device_key=KEY, pending=pending, refused="credentials")
    assert len(record.encode()) <= MAX_UTF16_UNITS


@given(records, words)
def test_repr_shows_no_secret(record: Credentials, password: str) -> None:
    """The repr of an entry, and of all that contains one, shows no secret."""
    secret = f"<{password}>"
    record = replace(record, password=secret)
    if record.pending is not None:
        record = replace(record, pending=replace(record.pending, password=secret))
    assume(secret not in "Pending Credentials")
    for thing in (
        record,
        record.pending,
        ev.VaultRead(1, record),
        do.WriteVault(1, HOME, record, do.WriteReason.COMMIT),
        ev.LoginRequested(1, HOME, secret, KEY),
        ev.ProofReady(1, secret),
        do.Send(1, msg.Proof(scram=secret)),
    ):
        assert secret not in repr(thing)
        assert KEY not in repr(thing)


def test_events_and_effects_cannot_be_changed() -> None:
    """Each event and effect is frozen, and its repr shows its name only."""
    for base in (ev.Event, do.Effect):
        for kind in base.__subclasses__():
            assert kind.__struct_config__.frozen
            assert "__repr__" not in vars(kind)
