"""Why the client is not waiting on the server: one word for each case a user can act on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.scram import ScramError, UnusableCredentials, WrongServer


class Reason(Enum):
    """Spelled out: the words are written to logs and `status --json`."""

    # the way to the server
    UNREACHABLE = "unreachable"
    NO_SUCH_HOST = "no_such_host"
    TIMED_OUT = "timed_out"
    CONNECTION_LOST = "connection_lost"
    CERTIFICATE = "certificate"
    PROXY_UNREACHABLE = "proxy_unreachable"
    PROXY_REFUSED = "proxy_refused"
    PROXY_LOGIN = "proxy_login"
    HTTP_UNAUTHORIZED = "http_unauthorized"
    HTTP_FORBIDDEN = "http_forbidden"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNAVAILABLE = "unavailable"
    NOT_A_GATEWAY = "not_a_gateway"
    INSECURE_ADDRESS = "insecure_address"
    # the server's answer
    PROTOCOL = "protocol"
    IMPOSTOR = "impostor"
    THROTTLED = "throttled"
    DISABLED = "disabled"
    BLOCKED = "blocked"
    VERSION = "version"
    SUPERSEDED = "superseded"
    SHUTTING_DOWN = "shutting_down"
    # the password
    CREDENTIALS = "credentials"
    EXPIRED = "expired"
    OLD_PASSWORD = "old_password"
    BUSY = "busy"
    # this PC
    VAULT_LOCKED = "vault_locked"
    VAULT_MISSING = "vault_missing"
    VAULT_BROKEN = "vault_broken"
    VAULT_NO_ANSWER = "vault_no_answer"
    INTERNAL = "internal"


class Patience(Enum):
    """How soon to try again: each has a curve in `backoff.py`."""

    SOON = "soon"
    """A network may come back at any moment."""
    LATER = "later"
    """Somebody has to mend something; asking often helps nobody."""


_LATER = frozenset(
    {
        Reason.CERTIFICATE,
        Reason.PROXY_REFUSED,
        Reason.PROXY_LOGIN,
        Reason.HTTP_UNAUTHORIZED,
        Reason.HTTP_FORBIDDEN,
        Reason.TOO_MANY_REQUESTS,
        Reason.NOT_A_GATEWAY,
        Reason.INSECURE_ADDRESS,
        Reason.PROTOCOL,
        Reason.IMPOSTOR,
        Reason.THROTTLED,
        Reason.DISABLED,
        Reason.BLOCKED,
        Reason.VERSION,
        Reason.SUPERSEDED,
        Reason.VAULT_BROKEN,
        Reason.INTERNAL,
    }
)

_OF_THE_NETWORK = frozenset(
    {
        Reason.CERTIFICATE,
        Reason.PROXY_REFUSED,
        Reason.PROXY_LOGIN,
        Reason.HTTP_UNAUTHORIZED,
        Reason.HTTP_FORBIDDEN,
        Reason.NOT_A_GATEWAY,
    }
)
"""What a hotel's portal or another network's proxy does: gone with that network."""


@dataclass(frozen=True)
class Failure:
    """A reason, the least seconds to wait when the peer named them, and a line for the log."""

    reason: Reason
    retry_after_s: float | None = None
    detail: str = ""

    @property
    def patience(self) -> Patience:
        return Patience.LATER if self.reason in _LATER else Patience.SOON

    @property
    def may_end_with_network(self) -> bool:
        """Whether another network, or the same one after a sleep, is a reason to try now."""
        return self.patience is Patience.SOON or self.reason in _OF_THE_NETWORK


def failure_of(error: ScramError) -> Failure:
    """Return why a login cannot go on, from an error of its SCRAM exchange."""
    match error:
        case UnusableCredentials():
            return Failure(Reason.CREDENTIALS, detail=str(error))
        case WrongServer():
            return Failure(Reason.IMPOSTOR, detail=str(error))
        case _:
            return Failure(Reason.PROTOCOL, detail=str(error))
