"""Check `public_url` as people and clients reach it: certificate, proxy, gateway, clock."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from protocol.messages import PATH, SUBPROTOCOL
from server.addresses import is_trusted
from server.doctor.step import Facts, Step
from server.reflection import HEADER, Reflection, sign

TIMEOUT_SECONDS = 10
DAYS_LEFT = 14
"""Warn when a certificate has fewer days left than this, and than a quarter of its lifetime."""
STRANGER = "192.0.2.1"
"""An address that a stranger could claim: from RFC 5737, so that no machine has it."""
CLOCK_SECONDS, WRONG_CLOCK_SECONDS = 2, 60
"""Differences of clocks above which there is a warning, and a fault. `Date` has whole seconds."""
_NOT_HTTPS = "public_url is not https, so there is no proxy to look at"
_CERTIFICATE_REMEDIES = {
    10: "renew it; the proxy's log says why that has failed",
    18: "people and PCs must trust it, too; take one from an authority",
    19: "let this machine trust the authority: update-ca-certificates",
    20: "let the proxy send the whole chain (fullchain.pem), and this machine trust the authority: "
    "apt install ca-certificates, and update-ca-certificates for an authority of your own",
    62: "get a certificate for this name, and let public_url have the name that people type",
}
"""Remedies by OpenSSL's error number."""


def certificate(step: Step, facts: Facts) -> None:
    """Resolve the name, connect, and verify the certificate as a browser does."""
    if not facts.settings.is_https:
        step.skip(_NOT_HTTPS)
    host, port = _place(facts)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        step.note(f"{host}: {', '.join(dict.fromkeys(str(each[4][0]) for each in found))}")
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as connection,
            ssl.create_default_context().wrap_socket(connection, server_hostname=host) as tls,
        ):
            _note_certificate(step, tls)
    except ssl.SSLCertVerificationError as exc:
        facts.trusts_certificate = False
        remedy = _CERTIFICATE_REMEDIES.get(exc.verify_code, _CERTIFICATE_REMEDIES[20])
        step.fault(f"the certificate of {host} is refused: {exc.verify_message}", remedy)
    except OSError as exc:
        facts.reaches_public_url = False
        if isinstance(exc, socket.gaierror):
            step.fail(f"{host}: {exc.strerror}", "correct public_url, or the name in your DNS")
        step.fault(
            f"{host} port {port}: {exc.strerror or exc}",
            "does the proxy run, and end TLS there? Does a firewall let this machine through?",
        )


def _note_certificate(step: Step, tls: ssl.SSLSocket) -> None:
    found = tls.getpeercert() or {}
    starts, ends = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found[name])), UTC)
        for name in ("notBefore", "notAfter")
    )
    names = ", ".join(str(each[1]) for each in found.get("subjectAltName", ()))
    issuer = ", ".join(str(pair[1]) for part in found.get("issuer", ()) for pair in part)
    left = (ends - datetime.now(UTC)).days
    step.note(f"{tls.version()}, for {names}, issued by {issuer}, chain complete and trusted")
    step.note(f"valid until {ends:%Y-%m-%d}, {left} days left")
    if left < min(DAYS_LEFT, (ends - starts).days / 4):
        step.warn("the certificate ends soon", _CERTIFICATE_REMEDIES[10])


def console(step: Step, facts: Facts) -> None:
    """Ask the console, through the proxy, how the request arrived."""
    seen = _reflection(step, facts, "console", "/")
    scheme, host = urlsplit(facts.settings.console_url).scheme, _place(facts)[0]
    if seen.forwarded_proto != scheme:
        step.fault(
            f"the proxy says that people use {seen.forwarded_proto or 'nothing'}, not {scheme}: "
            "pages lead back to themselves",
            f"let it set X-Forwarded-Proto to {scheme}",
        )
    if urlsplit(f"//{seen.host}").hostname != host:
        step.fault(
            f"the proxy asks for the host {seen.host}, not {host}: pages are refused",
            "let it pass on Host (nginx: proxy_set_header Host $host)",
        )


def gateway(step: Step, facts: Facts) -> None:
    """Ask the gateway, through the proxy, how the request arrived; then open a WebSocket."""
    _reflection(step, facts, "gateway", PATH)
    from websockets.exceptions import InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    try:
        with connect(
            f"wss{facts.settings.console_url.removeprefix('https')}{PATH}",
            ssl=_context(facts),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            open_timeout=TIMEOUT_SECONDS,
            close_timeout=1,
            compression=None,
            proxy=None,
        ) as opened:
            step.note(f"a WebSocket opens and speaks {opened.subprotocol}")
    except InvalidStatus as exc:
        step.fault(
            f"no WebSocket opens: the answer is {exc.response.status_code}",
            f"let the proxy pass on Upgrade and Connection for {PATH} (docs/operations.md)",
        )
    except (InvalidHandshake, OSError) as exc:
        step.fault(f"no WebSocket opens: {type(exc).__name__}", "see the proxy's log")


def clock(step: Step, facts: Facts) -> None:
    """Compare this machine's clock with the clocks that earlier steps have read."""
    if not facts.clocks:
        step.skip("no other clock was reached")
    for whose, ahead in facts.clocks.items():
        step.note(f"the clock of {whose} is {ahead:+.1f} s ahead of this machine's")
        if abs(ahead) > CLOCK_SECONDS:
            say = step.fault if abs(ahead) > WRONG_CLOCK_SECONDS else step.warn
            say("the clocks differ", "run an NTP client on both (systemd-timesyncd, chrony)")


def _place(facts: Facts) -> tuple[str, int]:
    parts = urlsplit(facts.settings.console_url)
    return parts.hostname or "", parts.port or 443


def _context(facts: Facts) -> ssl.SSLContext:
    """Return a TLS context, without certificate checks if the certificate's step has failed."""
    context = ssl.create_default_context()
    if not facts.trusts_certificate:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _reflection(step: Step, facts: Facts, part: str, path: str) -> Reflection:
    """Return how a request to `path` arrived at the server; note what is wrong with it."""
    settings = facts.settings
    if not settings.is_https or not facts.reaches_public_url:
        step.skip("public_url is not reached" if settings.is_https else _NOT_HTTPS)
    try:
        token = sign(settings.secret_key_path.read_text().strip())
    except OSError as exc:
        step.skip(f"it needs the secret key: {settings.secret_key_path}: {exc.strerror}")
    host, port = _place(facts)
    asking = http.client.HTTPSConnection(
        host, port, timeout=TIMEOUT_SECONDS, context=_context(facts)
    )
    try:
        with closing(asking) as connection:
            before = time.time()
            headers = {HEADER: token, "X-Forwarded-For": STRANGER}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            after = time.time()
            body = answer.read(100_000)
    except (OSError, http.client.HTTPException) as exc:
        step.fail(f"{host} does not answer: {type(exc).__name__}", "see the step of certificates")
    with suppress(TypeError, ValueError):
        date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        # `Date` is cut to whole seconds, and from some moment between `before` and `after`.
        facts.clocks["public_url"] = min(max(0.0, date + 1 - before), date - after, key=abs)
    try:
        seen = msgspec.json.decode(body, type=Reflection)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if answer.status in {502, 503, 504}:
            step.fail(
                f"the proxy does not reach the {part}: {path} gives {answer.status}",
                f"start the {part}, and compare its address and port with the proxy's settings",
            )
        step.fail(
            f"no {part} with this secret key answers at {path} (status {answer.status})",
            "does public_url lead to this server? Has every node the same secret key and version?",
        )
    if seen.part != part:
        step.fail(
            f"the proxy passes {path} to a {seen.part}",
            f"let it pass {PATH} to the gateway's port and everything else to the console's",
        )
    _judge(step, facts, seen)
    return seen


def _judge(step: Step, facts: Facts, seen: Reflection) -> None:
    """Compare the addresses that arrived with `trusted_proxies`."""
    settings = facts.settings
    step.note(f"the {seen.part} sees {seen.address}, by way of {seen.peer}")
    mine = [str(each) for each in settings.trusted_proxies]
    if (seen.public_url, seen.trusted_proxies) != (settings.public_url, mine):
        step.warn(
            f"the {seen.part} runs with another public_url or trusted_proxies than the settings",
            "restart it",
        )
    hops = [hop.strip() for each in seen.forwarded_for for hop in each.split(",") if hop.strip()]
    if not is_trusted(seen.peer, settings.trusted_proxies):
        step.fault(
            f"the proxy's address {seen.peer} is not in trusted_proxies: all users and PCs count "
            "as one address, and pages do not know that they are encrypted",
            f'set trusted_proxies = ["{seen.peer}"] and restart the server',
        )
    elif not hops:
        step.fault(
            "the proxy sends no X-Forwarded-For: all users and PCs count as one address",
            "let it set X-Forwarded-For to the address that it was connected from",
        )
    elif hops[-1] == STRANGER:
        step.fault(
            "the proxy passes on the X-Forwarded-For that a stranger has written",
            "let it set X-Forwarded-For itself (docs/operations.md has nginx, haproxy and Caddy)",
        )
