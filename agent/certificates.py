"""What `doctor` says of a server's certificates."""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import UTC, datetime

from agent.core import wording
from agent.core.deadline import local_time
from agent.core.failure import Reason
from agent.core.view import Translate
from protocol.text import N_, clean

_EXPIRED = N_("The certificate has expired, or this PC's clock is wrong.")
_TOO_EARLY = N_("The certificate is not valid yet, or this PC's clock is wrong.")
_OTHER_NAME = N_("The certificate is for another server's name.")
_UNKNOWN_ROOT = N_("The certificate's authority is not trusted by this PC.")
_TROUBLES = {
    # OpenSSL's X509_V_ERR_…, and Windows' CERT_E_…
    9: _TOO_EARLY,
    **dict.fromkeys((10, 0x800B0101), _EXPIRED),
    **dict.fromkeys((18, 19, 20, 21, 0x800B0109, 0x800B010A), _UNKNOWN_ROOT),
    **dict.fromkeys((62, 64, 0x800B010F), _OTHER_NAME),
}


def trouble(exc: ssl.SSLCertVerificationError, _: Translate) -> str:
    """Return what is wrong with a certificate that was refused, and what the user can do."""
    matter, remedy = wording.trouble(Reason.CERTIFICATE, _)
    known = _TROUBLES.get(getattr(exc, "verify_code", 0) & 0xFFFF_FFFF)
    return f"{_(known) if known else matter}\n{remedy}"


def chain(tls: ssl.SSLObject, _: Translate) -> list[str]:
    """Return a line for each certificate that the server has sent, its own first."""
    lines = []
    sent = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined] # noqa: SLF001 - public from Python 3.13 on
    with suppress(OSError, ValueError):  # a certificate that cannot be read
        for info in [each.get_info() for each in sent or []]:
            subject, issuer = (
                ", ".join(value for part in info[who] for __, value in part)
                for who in ("subject", "issuer")
            )
            names = ", ".join(name for __, name in info.get("subjectAltName", ()))
            ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(info["notAfter"]), UTC)
            text = _("{subject}, issued by {issuer}, valid until {date}").format(
                subject=names or subject, issuer=issuer, date=local_time(ends).date()
            )
            lines.append(clean(text, 300))
    return lines
