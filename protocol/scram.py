"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the client's half and the server's half of one login.

One login is four texts:

    client-first    n,,n=USER,r=CNONCE
    server-first    r=CNONCE SNONCE,s=SALT,i=ITERATIONS            the challenge
    client-final    c=biws,r=CNONCE SNONCE,p=PROOF
    server-final    v=SIGNATURE

and these formulas, where AUTH is client-first without "n,,", server-first, and client-final
without the proof, joined by commas:

    SALTED    = PBKDF2(PASSWORD, SALT, ITERATIONS)
    CLIENTKEY = HMAC(SALTED, "Client Key")      STOREDKEY = SHA256(CLIENTKEY)
    SERVERKEY = HMAC(SALTED, "Server Key")
    PROOF     = CLIENTKEY xor HMAC(STOREDKEY, AUTH)
    SIGNATURE = HMAC(SERVERKEY, AUTH)

The server keeps a verifier (salt, iterations, STOREDKEY, SERVERKEY) and never the password. This
module is our own because libraries lack two things: the server checks one proof against all
verifiers of a user, and the client logs in again with keys that it has already derived.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol.messages import MAX_ITERATIONS, MIN_ITERATIONS
from protocol.names import is_name, is_password

MIN_SALT_BYTES = 12
MIN_CHECKS = 4
"""Minimum of comparisons for a wrong proof, so that the time tells nothing of the user."""

_HEADER = "n,,"
_UNESCAPED_EQUALS = re.compile(r"=(?!2C|3D)")
_VALUE = r"[^,\0\ud800-\udfff]+"  # without halves of surrogate pairs, which JSON can carry
# RFC 5802, section 7. An extension is ignored, unless its name is one of the RFC's own.
_EXTENSIONS = f"(?:,(?![anmrcsipve]=)[A-Za-z]={_VALUE})*"
_client_first = re.compile(f"([ny],,)(n=({_VALUE}),r=([\\x21-\\x2b\\x2d-\\x7e]+){_EXTENSIONS})")
_client_final = re.compile(r"(c=([^,]+),r=([^,]+)" + _EXTENSIONS + r"),p=([A-Za-z0-9+/]+={0,2})")


class ScramError(Exception):
    """The login must not go on. The text quotes nothing of what was received."""


class UnusableCredentials(ScramError):
    """The user name or the password has characters that the protocol does not carry."""


class MalformedMessage(ScramError):
    """The peer sent what SCRAM does not allow here, or asked for an unsafe proof."""


class WrongServer(ScramError):
    """The server has not proven that it knows the user's verifier."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the client derives from a password, a salt and an iteration count.

    The keys are as secret as the password. `password` is what they were derived from.
    """

    password: str = field(repr=False)
    salt: bytes = field(repr=False)
    iterations: int = field(repr=False)
    client: bytes = field(repr=False)
    server: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verifier:
    """What the server keeps of a password: enough to check a proof, not enough to make one."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def shares_salt(self, other: Verifier) -> bool:
        """Return whether one proof can be checked against both verifiers."""
        return self.salt == other.salt and self.iterations == other.iterations

    def same_password(self, other: Verifier) -> bool:
        """Return whether both have one password. Verifiers with different salts give False."""
        return self.shares_salt(other) and hmac.compare_digest(self.stored_key, other.stored_key)


def derive_keys(password: str, *, salt: bytes, iterations: int) -> Keys:
    """Return the keys of a password. Takes 0.3 s of CPU at 600,000 iterations.

    Raise UnusableCredentials when the password is not 1 to 1,024 characters of printable ASCII.
    """
    if not is_password(password):
        raise UnusableCredentials("password has characters that are not allowed")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return Keys(
        password, salt, iterations, _hmac(salted, b"Client Key"), _hmac(salted, b"Server Key")
    )


def verifier_of(keys: Keys) -> Verifier:
    """Return the verifier that the server keeps in place of derived keys."""
    stored_key = hashlib.sha256(keys.client).digest()
    return Verifier(keys.iterations, keys.salt, stored_key, keys.server)


class ClientLogin:
    """The client's half of one login: `first()`, then `proof()`, then `verify()`, each once."""

    def __init__(self, *, user: str, password: str, nonce: str, known: Keys | None = None) -> None:
        """`known`: keys of an earlier login, used when password, salt and iterations are the same.

        Raise UnusableCredentials for a name or a password that the protocol does not carry.
        """
        if not is_name(user) or not is_password(password):
            raise UnusableCredentials("user name or password has characters that are not allowed")
        self._password = password
        self._nonce = nonce
        self._known = known
        self._bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self._signature: bytes | None = None
        self.keys: Keys | None = None
        """The keys that the proof was made with; None before `proof()`."""

    def first(self) -> str:
        """Return client-first."""
        return _HEADER + self._bare

    def proof(self, challenge: str) -> str:
        """Return client-final. Takes 0.3 s of CPU unless the keys are known: not for an event loop.

        Raise MalformedMessage when the challenge is not an answer to `first()`, or when a
        proof for it would make the password cheap to guess.
        """
        nonce, salt, iterations = self._read(challenge)
        keys = self.keys = self._keys(salt, iterations)
        final = f"c={_base64(_HEADER.encode())},r={nonce}"
        auth = f"{self._bare},{challenge},{final}".encode()
        client_signature = _hmac(hashlib.sha256(keys.client).digest(), auth)
        self._signature = _hmac(keys.server, auth)
        return f"{final},p={_base64(_xor(keys.client, client_signature))}"

    def verify(self, server_final: str) -> None:
        """Raise WrongServer unless `server_final` proves that the server knows the verifier."""
        try:
            (signature,) = _attributes(server_final, "v")
            proven = self._signature is not None and hmac.compare_digest(
                b64decode(signature, validate=True), self._signature
            )
        except ValueError:
            proven = False
        if not proven:
            raise WrongServer("the server does not know this user's verifier")

    def _read(self, challenge: str) -> tuple[str, bytes, int]:
        """Return the nonce, the salt and the iteration count of a challenge."""
        try:
            challenge.encode()
            nonce, salt_text, count = _attributes(challenge, "rsi")
            salt = b64decode(salt_text, validate=True)
        except ValueError:  # base64's and Unicode's errors are ValueErrors
            raise MalformedMessage("malformed challenge") from None
        if not nonce.isascii() or not nonce.isprintable() or " " in nonce:
            raise MalformedMessage("malformed challenge")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise MalformedMessage("a challenge for another login")
        # Nine digits are more than enough; int() takes time that grows with their square.
        digits = count.isascii() and count.isdecimal() and len(count) <= 9 and count[0] != "0"
        if not digits or not MIN_ITERATIONS <= int(count) <= MAX_ITERATIONS:
            raise MalformedMessage("unsafe iteration count")
        if len(salt) < MIN_SALT_BYTES:
            raise MalformedMessage("malformed challenge")
        return nonce, salt, int(count)

    def _keys(self, salt: bytes, iterations: int) -> Keys:
        known = self._known
        wanted = (self._password, salt, iterations)
        if known is not None and (known.password, known.salt, known.iterations) == wanted:
            return known
        return derive_keys(self._password, salt=salt, iterations=iterations)


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """A parsed client-first. `user` is None when no user can have the name."""

    user: str | None
    header: str
    bare: str
    nonce: str

    @classmethod
    def parse(cls, text: str) -> ClientFirst:
        """Raise MalformedMessage when `text` is not a client-first."""
        match = _client_first.fullmatch(text)
        if match is None or _UNESCAPED_EQUALS.search(match[3]):
            raise MalformedMessage("malformed SCRAM client-first")
        header, bare, escaped, nonce = match.groups()
        name = escaped.replace("=2C", ",").replace("=3D", "=")
        return cls(name if is_name(name) else None, header, bare, nonce)


class ServerLogin:
    """The server's half of one login: send `challenge`, then call `check()` once."""

    __slots__ = ("_binding", "_nonce", "_until_final", "_verifiers", "challenge")

    def __init__(self, first: ClientFirst, verifiers: Sequence[Verifier], *, nonce: str) -> None:
        """Try `verifiers` in their order; they share salt and iterations.

        `nonce` is the server's: fresh and at least 18 random bytes.
        """
        verifier = verifiers[0]
        self._verifiers = verifiers
        self._nonce = first.nonce + nonce
        self._binding = _base64(first.header.encode())
        self.challenge = f"r={self._nonce},s={_base64(verifier.salt)},i={verifier.iterations}"
        self._until_final = f"{first.bare},{self.challenge},"

    def check(self, client_final: str) -> tuple[int, str] | None:
        """Return the index of the verifier that the proof fits, and server-final; else None.

        Raise MalformedMessage when `client_final` is no answer to the challenge.
        """
        match = _client_final.fullmatch(client_final)
        if match is None or (match[2], match[3]) != (self._binding, self._nonce):
            raise MalformedMessage("malformed SCRAM client-final")
        try:
            proof = b64decode(match[4])
        except ValueError:
            raise MalformedMessage("malformed SCRAM client-final") from None
        auth = (self._until_final + match[1]).encode()
        for index, verifier in enumerate(self._verifiers):
            if _fits(verifier, auth, proof):
                return index, f"v={_base64(_hmac(verifier.server_key, auth))}"
        for _ in range(MIN_CHECKS - len(self._verifiers)):
            _fits(self._verifiers[0], auth, proof)
        return None


def _fits(verifier: Verifier, auth: bytes, proof: bytes) -> bool:
    """Return whether the proof was made with the password of this verifier."""
    signature = _hmac(verifier.stored_key, auth)
    client_key = _xor(signature, proof[: len(signature)].ljust(len(signature), b"\0"))
    stored_key = hashlib.sha256(client_key).digest()
    return hmac.compare_digest(stored_key, verifier.stored_key) and len(proof) == len(signature)


def _attributes(text: str, names: str) -> list[str]:
    """Return the values of the attributes `names`, with which `text` begins. Raise ValueError.

    Extensions may follow and are ignored (RFC 5802, 7). An extension that must be understood (`m`)
    is an error, and so is one that repeats an attribute.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    seen = [name for name, _, _ in pairs]
    well_formed = all(
        len(name) == 1 and name.isascii() and name.isalpha() and value and "\0" not in value
        for name, _, value in pairs
    )
    begins = "".join(seen[: len(names)]) == names
    if not well_formed or not begins or "m" in seen or len(set(seen)) != len(seen):
        raise ValueError("malformed attributes")
    return [value for _, _, value in pairs[: len(names)]]


def _hmac(key: bytes, text: bytes) -> bytes:
    """Return HMAC-SHA-256. `hmac.digest` would release the interpreter lock for every call."""
    return hmac.new(key, text, "sha256").digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
