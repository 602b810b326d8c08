"""The client's side of one SCRAM-SHA-256 login (RFC 5802, RFC 7677)."""

from __future__ import annotations

import re

from scramp import ScramClient, ScramException

from agent.core.failure import Failure, Reason
from agent.core.messages import MAX_ITERATIONS, MIN_ITERATIONS


class HandshakeError(Exception):
    """The login must not go on. `failure` says whose fault it is."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Handshake:
    """`first()`, then `proof()`, then `verify()`, each once."""

    def __init__(self, *, user: str, password: str, nonce: str) -> None:
        """Raise HandshakeError for a name or password that SASLprep (RFC 4013) refuses."""
        try:
            self._client = ScramClient(["SCRAM-SHA-256"], user, password, c_nonce=nonce)
        except ScramException:
            detail = "user name or password has characters that are not allowed"
            raise HandshakeError(Failure(Reason.CREDENTIALS, detail=detail)) from None

    def first(self) -> str:
        """SCRAM client-first."""
        return str(self._client.get_client_first())

    def proof(self, challenge: str) -> str:
        """SCRAM client-final. Takes 0.3 s of CPU; call it off the loop.

        Raise HandshakeError when the challenge is malformed, is not an answer to `first()`,
        or asks for a proof that would be cheap to guess from.
        """
        count = re.search(r",i=([0-9]{1,9})(?:,|\Z)", challenge)
        if count is None or not MIN_ITERATIONS <= int(count[1]) <= MAX_ITERATIONS:
            raise HandshakeError(Failure(Reason.PROTOCOL, detail="unsafe iteration count"))
        try:
            self._client.set_server_first(challenge)
            return str(self._client.get_client_final())
        except (ScramException, ValueError, IndexError, KeyError):
            raise HandshakeError(Failure(Reason.PROTOCOL, detail="malformed challenge")) from None

    def verify(self, server_final: str) -> None:
        """Raise HandshakeError unless the server has proven that it knows the verifier."""
        try:
            self._client.set_server_final(server_final)
        except (ScramException, ValueError, IndexError, KeyError):
            detail = "the server does not know this user's verifier"
            raise HandshakeError(Failure(Reason.IMPOSTOR, detail=detail)) from None
