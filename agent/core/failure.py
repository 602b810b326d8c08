"""Why the client is not in standby: one word for each case that a user can act on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.scram import ScramError


class Reason(Enum):
    """The reasons. Their words are written to logs and `status --json`."""

    # the way to the server
    UNREACHABLE = "unreachable"
    NO_SUCH_HOST = "no_such_host"
    TIMED_OUT = "timed_out"
    CONNECTION_LOST = "connection_lost"
    CERTIFICATE = "certificate"
    TLS = "tls"
    TLS_VERSION = "tls_version"
    PROXY_SETTING = "proxy_setting"
    PROXY_UNREACHABLE = "proxy_unreachable"
    PROXY_CERTIFICATE = "proxy_certificate"
    PROXY_REFUSED = "proxy_refused"
    PROXY_LOGIN = "proxy_login"
    HTTP_UNAUTHORIZED = "http_unauthorized"
    HTTP_FORBIDDEN = "http_forbidden"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNAVAILABLE = "unavailable"
    NO_GATEWAY = "no_gateway"
    NOT_A_GATEWAY = "not_a_gateway"
    INSECURE_ADDRESS = "insecure_address"
    # the server's answer
    PROTOCOL = "protocol"
    IMPOSTOR = "impostor"
    THROTTLED = "throttled"
    DISABLED = "disabled"
    BLOCKED = "blocked"
    VERSION = "version"
    NO_CODES = "no_codes"
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


_R = Reason
_SOON = {
    _R.UNREACHABLE, _R.NO_SUCH_HOST, _R.TIMED_OUT, _R.CONNECTION_LOST, _R.TLS,
    _R.PROXY_UNREACHABLE, _R.UNAVAILABLE, _R.NO_GATEWAY, _R.SHUTTING_DOWN, _R.CREDENTIALS,
    _R.EXPIRED, _R.OLD_PASSWORD, _R.BUSY, _R.VAULT_LOCKED, _R.VAULT_MISSING, _R.VAULT_NO_ANSWER,
}  # fmt: skip
_OF_THE_NETWORK = {
    _R.CERTIFICATE, _R.TLS_VERSION, _R.PROXY_SETTING, _R.PROXY_CERTIFICATE, _R.PROXY_REFUSED,
    _R.PROXY_LOGIN, _R.HTTP_UNAUTHORIZED, _R.HTTP_FORBIDDEN, _R.NOT_A_GATEWAY,
}  # fmt: skip
"""Reasons that a hotel's portal or a network's proxy causes: they may end with that network."""


@dataclass(frozen=True)
class Failure:
    """A reason, the minimum wait in seconds if the peer named one, and a line for the log."""

    reason: Reason
    retry_after_s: float | None = None
    detail: str = ""

    @property
    def may_end_soon(self) -> bool:
        """Return whether the failure may end at any moment, without a repair by a person."""
        return self.reason in _SOON

    @property
    def may_end_with_network(self) -> bool:
        """Return whether to try at once after a change of the network, or after a sleep."""
        return self.may_end_soon or self.reason in _OF_THE_NETWORK


def failure_of(error: ScramError) -> Failure:
    """Return why a login cannot go on, from an error of its SCRAM exchange."""
    from protocol.scram import UnusableCredentials, WrongServer

    reasons = {UnusableCredentials: Reason.CREDENTIALS, WrongServer: Reason.IMPOSTOR}
    return Failure(reasons.get(type(error), Reason.PROTOCOL), detail=str(error))
