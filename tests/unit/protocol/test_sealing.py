"""Sealed passwords: only the right device opens them, and only the right server signs a push."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from nacl.public import PublicKey, SealedBox

from protocol.messages import PasswordChanged, SealedPassword
from protocol.sealing import (
    SealError,
    check_device_id,
    check_public_key,
    device_id,
    is_signed,
    new_device_key,
    open_sealed,
    public_key,
    push_signature,
    seal,
)

KEY = b64encode(bytes(range(32))).decode()
PUBLIC = "j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8="
ID = "eedd883da0a9451593dc0a38e583fb77"
CHANGE = "0123456789abcdef" * 2
SERVER_KEY = bytes(range(32, 64))
CONTENT = SealedPassword(change_id=CHANGE, device_id=ID, password="Second-2nd")
BOX = (
    "+5VquGNTKmew8H+FfFRb74cx95cz5o+QgKRd8P0jjyJbtqZMD6flwUejs1PI0pB9Jq6rXXY7MrXNp4rHNux/TGio"
    "nKEVuaVbVjLbq2+cocnyKgmkPOXvLNJs/dpMlGoOxZ+VNtpZtv9ycCZr/cmqt8QNCpxUmYoes1pmKznvh/ORbsjj"
    "CemOrFd8U4rJmVSSPnVQfCqSie9xaPX7h3T8TWUk2Ez3PNc="
)
"""CONTENT, sealed for KEY in an earlier run."""


def boxed(plain: bytes) -> str:
    """Return `plain`, sealed by crypto_box_seal with the public key alone."""
    return b64encode(SealedBox(PublicKey(b64decode(PUBLIC))).encrypt(plain)).decode()


def push(content: SealedPassword = CONTENT, *, to: str = PUBLIC) -> PasswordChanged:
    until = datetime(2026, 12, 23, tzinfo=UTC)
    sealed = seal(content, public_key=to)
    return PasswordChanged(change_id=CHANGE, sealed=sealed, valid_until=until)


PUSH = push()


def test_the_public_half_and_the_id_of_the_documented_key() -> None:
    """Public key and id are the values of docs/protocol.md's example."""
    assert public_key(KEY) == PUBLIC
    assert device_id(PUBLIC) == ID


def test_a_new_key_is_another_each_time() -> None:
    """New keys differ: 32 bytes in canonical base64, and one can seal for them."""
    first, second = new_device_key(), new_device_key()
    assert first != second
    check_public_key(public_key(first))


def test_a_device_id_belongs_to_its_key() -> None:
    """A wrong id, or another base64 spelling of the key, raises an error that names it."""
    check_device_id(device_id=ID, public_key=PUBLIC)
    with pytest.raises(SealError, match=r"^device id that does not belong to its key$"):
        check_device_id(device_id="0" * 32, public_key=PUBLIC)
    with pytest.raises(SealError, match=r"^public key in non-canonical base64$"):
        check_device_id(device_id=ID, public_key=PUBLIC.replace("8=", "9="))


@pytest.mark.parametrize("key", [bytes(32), bytes([1, *bytes(31)])])
def test_a_key_of_low_order_is_refused(key: bytes) -> None:
    """A key of low order is refused at once, because sealing for it would fail later."""
    with pytest.raises(SealError, match=r"^public key that nothing can be sealed for$") as caught:
        check_public_key(b64encode(key).decode())
    assert caught.value.__cause__ is None


def test_a_sealed_password_opens() -> None:
    """A sealed password opens, also from another run, or made by another server of plain JSON."""
    plain = {"change_id": CHANGE, "device_id": ID, "password": "Second-2nd"}
    for sealed in (PUSH.sealed, BOX, boxed(json.dumps(plain).encode())):
        assert open_sealed(replace(PUSH, sealed=sealed), device_key=KEY) == CONTENT


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        (push(replace(CONTENT, change_id="f" * 32)), "belongs to another change"),
        (push(replace(CONTENT, device_id="0" * 32)), "belongs to another device"),
        (push(to=public_key(new_device_key())), "cannot be opened"),
        (replace(PUSH, sealed="!" * 64), "cannot be opened"),
        (replace(PUSH, sealed=PUSH.sealed[:-8] + "AAAAAAA="), "cannot be opened"),
        (replace(PUSH, sealed="é" * 100), "cannot be opened"),
        (replace(PUSH, sealed=boxed(b"{}")), "cannot be opened"),
        (replace(PUSH, sealed=boxed(b"\xff" * 40)), "cannot be opened"),
        (replace(PUSH, sealed=boxed(b'["Second-2nd"]')), "cannot be opened"),
    ],
)
def test_any_other_box_is_refused(changed: PasswordChanged, error: str) -> None:
    """A box that cannot be opened raises an error that says why and quotes nothing."""
    with pytest.raises(SealError, match=rf"^the sealed password {error}$") as caught:
        open_sealed(changed, device_key=KEY)
    assert caught.value.__cause__ is None


def test_a_push_is_signed_with_the_server_key() -> None:
    """The signature is HMAC-SHA-256 of `push,` change id `,` sealed box (docs/protocol.md)."""
    unsigned = push()
    text = f"push,{CHANGE},{unsigned.sealed}".encode()
    right = b64encode(hmac.digest(SERVER_KEY, text, "sha256")).decode()
    assert push_signature(SERVER_KEY, change_id=CHANGE, sealed=unsigned.sealed) == right
    signed = replace(unsigned, signature=right)
    assert is_signed(signed, SERVER_KEY)
    assert not is_signed(signed, bytes(32))
    assert not is_signed(unsigned, SERVER_KEY)
    assert not is_signed(replace(signed, change_id="f" * 32), SERVER_KEY)
    assert not is_signed(replace(signed, sealed=push().sealed), SERVER_KEY)
