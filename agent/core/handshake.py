"""The client's side of one SCRAM-SHA-256 login (RFC 5802, RFC 7677).

Written out here, and not taken from the server's library, so that keys once derived can be used
again and so that the resident program does not carry a library for certificates.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass, field

from agent.core.failure import Failure, Reason
from agent.core.messages import MAX_ITERATIONS, MIN_ITERATIONS
from agent.core.saslprep import saslprep

MIN_SALT_BYTES = 12
_HEADER = "n,,"


class HandshakeError(Exception):
    """The login must not go on. `failure` says whose fault it is."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(frozen=True)
class Keys:
    """What a password, salt and iteration count come to; as secret as the password.

    `of` is the password as it was given.
    """

    of: str = field(repr=False)
    salt: bytes = field(repr=False)
    iterations: int = field(repr=False)
    client: bytes = field(repr=False)
    server: bytes = field(repr=False)


class Handshake:
    """`first()`, then `proof()`, then `verify()`, each once."""

    def __init__(self, *, user: str, password: str, nonce: str, known: Keys | None = None) -> None:
        """`known`: keys of an earlier login, used where they fit.

        Raise HandshakeError for a name or password that SASLprep (RFC 4013) refuses.
        """
        try:
            name, self._password = saslprep(user), saslprep(password).encode()
        except ValueError:
            name = ""
        if not name:
            detail = "user name or password has characters that are not allowed"
            raise HandshakeError(Failure(Reason.CREDENTIALS, detail=detail))
        self._given = password
        self._nonce = nonce
        self._known = known
        self._bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self._signature: bytes | None = None
        self.keys: Keys | None = None
        """What the proof was made with, once there is one."""

    def first(self) -> str:
        """SCRAM client-first."""
        return _HEADER + self._bare

    def proof(self, challenge: str) -> str:
        """SCRAM client-final. Takes 0.3 s of CPU unless the keys are known; call it off the loop.

        Raise HandshakeError when the challenge is malformed, is not an answer to `first()`,
        or asks for a proof that would be cheap to guess from.
        """
        try:
            nonce, salt, iterations = self._read(challenge)
            said = challenge.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            raise HandshakeError(Failure(Reason.PROTOCOL, detail="malformed challenge")) from None
        except ValueError as exc:
            raise HandshakeError(Failure(Reason.PROTOCOL, detail=str(exc))) from None
        keys = self.keys = self._keys(salt, iterations)
        final = f"c={_base64(_HEADER.encode())},r={nonce}"
        signed = b",".join((self._bare.encode(), said, final.encode()))
        client_signature = _hmac(hashlib.sha256(keys.client).digest(), signed)
        self._signature = _hmac(keys.server, signed)
        proof = bytes(a ^ b for a, b in zip(keys.client, client_signature, strict=True))
        return f"{final},p={_base64(proof)}"

    def verify(self, server_final: str) -> None:
        """Raise HandshakeError unless the server has proven that it knows the verifier."""
        try:
            (signature,) = _attributes(server_final, "v")
            proven = self._signature is not None and hmac.compare_digest(
                b64decode(signature, validate=True), self._signature
            )
        except ValueError:
            proven = False
        if not proven:
            detail = "the server does not know this user's verifier"
            raise HandshakeError(Failure(Reason.IMPOSTOR, detail=detail))

    def _read(self, challenge: str) -> tuple[str, bytes, int]:
        """Nonce, salt and iteration count. Raise ValueError, which quotes nothing."""
        nonce, salt_text, count = _attributes(challenge, "rsi")
        if not nonce.isascii() or not nonce.isprintable() or " " in nonce:
            raise ValueError("malformed challenge")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ValueError("a challenge for another login")
        # Nine digits are more than enough, and int() is never given more.
        digits = count.isascii() and count.isdecimal() and len(count) <= 9 and count[0] != "0"
        if not digits or not MIN_ITERATIONS <= int(count) <= MAX_ITERATIONS:
            raise ValueError("unsafe iteration count")
        try:
            salt = b64decode(salt_text, validate=True)
        except ValueError:
            salt = b""
        if len(salt) < MIN_SALT_BYTES:
            raise ValueError("malformed challenge")
        return nonce, salt, int(count)

    def _keys(self, salt: bytes, iterations: int) -> Keys:
        known = self._known
        if known and (known.of, known.salt, known.iterations) == (self._given, salt, iterations):
            return known
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        return Keys(
            of=self._given,
            salt=salt,
            iterations=iterations,
            client=_hmac(salted, b"Client Key"),
            server=_hmac(salted, b"Server Key"),
        )


def _attributes(text: str, names: str) -> list[str]:
    """The values of the attributes `names`, with which `text` begins. Raise ValueError.

    Extensions may follow, which are passed over (RFC 5802, 7), but none that must be understood
    and none that repeats an attribute.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    seen = [name for name, _, _ in pairs]
    well_formed = all(
        len(name) == 1 and name.isascii() and name.isalpha() and value and "\0" not in value
        for name, _, value in pairs
    )
    begins = "".join(seen[: len(names)]) == names
    if not well_formed or not begins or "m" in seen or len(set(seen)) != len(seen):
        raise ValueError("malformed challenge")
    return [value for _, _, value in pairs[: len(names)]]


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
