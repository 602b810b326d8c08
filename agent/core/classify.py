"""Name the reason that a user sees for each exception of a connection."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping

from websockets import exceptions as ws
from websockets.http11 import Response

from agent.address import BadProxy
from agent.core.failure import Failure, Reason, failure_of
from protocol.messages import MessageError
from protocol.scram import ScramError

_R = Reason
_BY_STATUS = {
    401: _R.HTTP_UNAUTHORIZED, 403: _R.HTTP_FORBIDDEN, 407: _R.PROXY_LOGIN,
    429: _R.TOO_MANY_REQUESTS,
    408: _R.UNAVAILABLE, 499: _R.UNAVAILABLE,  # timeouts; 499 is Azure's
    501: _R.NO_GATEWAY, 505: _R.NO_GATEWAY,
    511: _R.NOT_A_GATEWAY,  # RFC 6585: log in to the network
}  # fmt: skip
_SOCKS_BEHIND = {1, 3, 4, 5, 6, 91}
"""RFC 1928: general failure, network or host unreachable, connection refused, TTL expired. SOCKS 4
has one code, 91, for all these failures."""
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
"""OpenSSL's words for an answer that is not TLS at all."""
_TLS_VERSIONS = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "INSUFFICIENT_SECURITY")
_CERTIFICATES = ("CERTIFICATE", "CA_", "EE_")
"""Beginnings of OpenSSL's words about a bad certificate. An alert from the server has other words;
it came before any certificate."""
_MAX_RETRY_AFTER_S = 3600.0  # an hour: before the login, any proxy on the way can name a wait
_PROTOCOL_CODES = {1002, 1003, 1007, 1008, 1009, 1010}


def classify(exc: BaseException, *, proxy: str | None) -> Failure:
    """Return why the connection could not be opened, or has ended.

    `proxy` is the address of the proxy, if there is one. Then an OSError while the connection is
    opened is about the proxy, not about the server. The detail has types and numbers only, never
    text from the peer.
    """
    detail = type(exc).__name__
    match exc:
        case ws.ConnectionClosed():
            return _closed(exc)
        case ScramError():
            return failure_of(exc)
        case MessageError():
            return Failure(Reason.PROTOCOL, detail=str(exc))
        case BadProxy():
            return Failure(Reason.PROXY_SETTING, detail=str(exc))
        case ws.InvalidProxyStatus():
            status = exc.response.status_code
            reason = Reason.PROXY_LOGIN if status == 407 else Reason.PROXY_REFUSED
            if 502 <= status < 511:  # the proxy works, what is behind it does not
                reason = Reason.UNAVAILABLE
            return Failure(reason, _retry_after(exc.response.headers), f"proxy: HTTP {status}")
        case ws.ProxyError(__cause__=ssl.SSLCertVerificationError(verify_code=verdict)):
            return Failure(Reason.PROXY_CERTIFICATE, detail=f"{detail} {verdict}")
        case ws.ProxyError() | ws.InvalidProxy():
            code = getattr(exc.__cause__, "error_code", None)
            behind = code in _SOCKS_BEHIND  # the proxy works, what is behind it does not
            detail += "" if code is None else f" {int(code)}"
            return Failure(Reason.UNAVAILABLE if behind else Reason.PROXY_REFUSED, detail=detail)
        case ws.InvalidStatus():
            return _answered(exc.response)
        case ws.InvalidMessage() if isinstance(exc.__cause__, (EOFError, ConnectionError)):
            return Failure(Reason.CONNECTION_LOST, detail="closed during the upgrade")
        case ws.InvalidHandshake() | ws.InvalidURI():
            return Failure(Reason.NOT_A_GATEWAY, detail=detail)
        case ssl.SSLCertVerificationError():
            return Failure(Reason.CERTIFICATE, detail=f"{detail} {exc.verify_code}")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Failure(Reason.CONNECTION_LOST, detail=detail)
        case ssl.SSLError():
            return Failure(_tls(exc.reason or ""), detail=f"{detail} {exc.reason or ''}".strip())
        case TimeoutError():
            return Failure(Reason.TIMED_OUT, detail=detail)
        case socket.gaierror() if proxy is None or proxy.startswith("socks"):
            # python-socks has another exception for the name of the proxy.
            return Failure(Reason.NO_SUCH_HOST, detail=f"{detail} {exc.errno}")
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return Failure(Reason.CONNECTION_LOST, detail=f"{detail} {exc.errno or ''}".strip())
        case OSError():
            reason = Reason.PROXY_UNREACHABLE if proxy else Reason.UNREACHABLE
            return Failure(reason, detail=f"{detail} {exc.errno or ''}".strip())
        case _:
            return Failure(Reason.INTERNAL, detail=detail)


def _answered(response: Response) -> Failure:
    """Classify an HTTP answer from the gateway, from a proxy in front of it, or from a stranger.

    While the gateway is away, nginx, haproxy (with HTTP/1.0 in old versions), Caddy and AWS answer
    502 to 504, Cloudflare 520 to 530, Traefik and Azure also 404. A login page of a network comes
    with 200, a redirect or 511.
    """
    status = response.status_code
    others = (Reason.NOT_A_GATEWAY, Reason.NO_GATEWAY, Reason.UNAVAILABLE)  # 3xx, 4xx, 5xx
    reason = _BY_STATUS.get(status, others[max(status // 100 - 3, 0)])
    location = "".join(response.headers.get_all("Location"))
    stopped = status == 403 and response.reason_phrase == "Site Disabled"  # an app of Azure
    if stopped or (status < 400 and "Retry-After" in response.headers):  # not a login page
        reason = Reason.UNAVAILABLE
    elif status < 400 and re.match("/[^/]", location):  # a web server's redirect, on its own host
        reason = Reason.NO_GATEWAY
    return Failure(reason, _retry_after(response.headers), f"HTTP {status}")


def _tls(word: str) -> Reason:
    """Return the reason for an error of TLS, by OpenSSL's word for the error."""
    if word in _NOT_TLS:
        return Reason.NOT_A_GATEWAY
    if any(each in word for each in _TLS_VERSIONS):
        return Reason.TLS_VERSION
    return Reason.CERTIFICATE if word.startswith(_CERTIFICATES) else Reason.TLS


def _closed(exc: ws.ConnectionClosed) -> Failure:
    """Classify the end of an open connection."""
    if exc.sent is not None and not exc.rcvd_then_sent:
        if exc.sent.code == 1011:  # our own keepalive gave up
            return Failure(Reason.TIMED_OUT, detail="no answer to pings")
        if exc.sent.code in _PROTOCOL_CODES:
            return Failure(Reason.PROTOCOL, detail=f"closed by us with {exc.sent.code}")
    code = exc.rcvd.code if exc.rcvd is not None else 1006
    if code in {1001, 1012, 1013}:
        return Failure(Reason.SHUTTING_DOWN, detail=f"closed with {code}")
    if code in _PROTOCOL_CODES:
        return Failure(Reason.PROTOCOL, detail=f"closed with {code}")
    return Failure(Reason.CONNECTION_LOST, detail=f"closed with {code}")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After names. A date counts from the response's own Date."""
    try:
        value = headers.get("Retry-After", "")  # raises when there are several
        if value.isascii() and value.isdigit():
            seconds = float(value[:9])
        else:
            from email.utils import parsedate_to_datetime

            later, now = parsedate_to_datetime(value), parsedate_to_datetime(headers["Date"])
            seconds = (later - now).total_seconds()
    except (ValueError, LookupError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
