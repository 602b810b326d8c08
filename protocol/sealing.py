"""Sealed passwords: how a new password reaches one device, and how the device knows its sender.

The server seals a password for the device's public key, so that only that device can open it. The
sealed text names the change and the device, so that it fits no other push. The server also signs
the push with a key of the verifier that the client has logged in with. So a relay between client
and server cannot push a password of its own.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from protocol.messages import (
    MessageError,
    Paired,
    PasswordChanged,
    SealedPassword,
    decode_sealed,
    encode,
)


class SealError(Exception):
    """A sealed password cannot be made or opened. The text quotes no secret."""


def new_device_key() -> str:
    """Return a new X25519 private key in base64."""
    return b64encode(bytes(PrivateKey.generate())).decode()


def public_key(device_key: str) -> str:
    """Return the public half of a private key; both in base64."""
    return b64encode(bytes(PrivateKey(b64decode(device_key)).public_key)).decode()


def device_id(public_key: str) -> str:
    """Return the device id that belongs to a public key in base64: 32 hexadecimal digits."""
    return hashlib.sha256(b64decode(public_key)).hexdigest()[:32]


def check_device_id(*, device_id: str, public_key: str) -> None:
    """Raise SealError unless the device id belongs to the public key in base64."""
    key = b64decode(public_key)
    if b64encode(key).decode() != public_key:
        raise SealError("public key in non-canonical base64")
    if hashlib.sha256(key).hexdigest()[:32] != device_id:
        raise SealError("device id that does not belong to its key")


def check_public_key(public_key: str) -> None:
    """Raise SealError when nothing can be sealed for a public key in base64. Takes 0.1 ms.

    A key of low order would make the next change of this user's password fail.
    """
    try:
        SealedBox(PublicKey(b64decode(public_key))).encrypt(b"")
    except CryptoError:
        raise SealError("public key that nothing can be sealed for") from None


def seal(message: SealedPassword, *, public_key: str) -> str:
    """Return the base64 of a sealed box that only the owner of the public key opens."""
    box = SealedBox(PublicKey(b64decode(public_key)))
    return b64encode(box.encrypt(encode(message))).decode()


def open_sealed(push: PasswordChanged | Paired, *, device_key: str) -> SealedPassword:
    """Return the content. Raise SealError if it is broken, or for another change or device."""
    key = PrivateKey(b64decode(device_key))
    try:
        content = decode_sealed(SealedBox(key).decrypt(b64decode(push.sealed, validate=True)))
    except (CryptoError, ValueError, MessageError):
        raise SealError("the sealed password cannot be opened") from None
    if content.change_id != push.change_id:
        raise SealError("the sealed password belongs to another change")
    if content.device_id != device_id(public_key(device_key)):
        raise SealError("the sealed password belongs to another device")
    return content


def push_signature(server_key: bytes, *, change_id: str, sealed: str) -> str:
    """Return the base64 of a push's signature, made with the verifier's SCRAM ServerKey."""
    signed = f"push,{change_id},{sealed}".encode()
    return b64encode(hmac.digest(server_key, signed, "sha256")).decode()


def is_signed(push: PasswordChanged, server_key: bytes) -> bool:
    """Return whether the push was signed with `server_key`."""
    if push.signature is None:
        return False
    right = push_signature(server_key, change_id=push.change_id, sealed=push.sealed)
    return hmac.compare_digest(right, push.signature)
