"""The command `doctor`: finds what keeps the client from waiting, step by step until one fails.

It changes nothing. It logs in only when no client runs, because a login would end that client's.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from gettext import NullTranslations
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection

from agent.address import BadProxy, without_login
from agent.connection import NEXT_ADDRESS_S, InsecureAddress, open_connection
from agent.core import wording
from agent.core.classify import classify
from agent.core.credentials import Credentials
from agent.core.deadline import days_left, local_time
from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import View
from agent.paths import Paths
from agent.ports import ChannelError, Vault, VaultError
from agent.proxies import find_proxy
from agent.settings import Settings
from protocol import messages as msg
from protocol.scram import ClientLogin
from protocol.sealing import public_key
from protocol.text import N_

STEP_TIMEOUT_S = 20.0
CLOCK_TOLERANCE_S = 300


class Step(Enum):
    """The steps, in the order of the examination; the values are msgids."""

    SETTINGS = N_("Settings")
    CLIENT = N_("Running client")
    KEYRING = N_("Password store")
    NAME = N_("Name resolution")
    NETWORK = N_("Network")
    CERTIFICATE = N_("Certificate")
    GATEWAY = N_("Server")
    LOGIN = N_("Login")


class Outcome(Enum):
    """The outcome of a step; the values are msgids."""

    OK = N_("ok")
    FAILED = N_("FAILED")
    SKIPPED = N_("skipped")


@dataclass(frozen=True)
class Check:
    """The result of one step: what was seen and, when it failed, what to do."""

    step: Step
    outcome: Outcome
    text: str = ""


class _Found(Exception):
    """A step failed, which ends the examination."""

    def __init__(self, step: Step, text: str) -> None:
        super().__init__(step.value)
        self.check = Check(step, Outcome.FAILED, text)


async def run(
    settings: Settings,
    paths: Paths,
    translations: NullTranslations,
    say: Callable[[str], object],
    *,
    vault: Vault | None = None,
) -> int:
    """Report every step as it ends; return the exit code, 0 when nothing failed."""
    _ = translations.gettext
    failed: Step | None = None
    async with aclosing(examine(settings, paths, translations, vault=vault)) as checks:
        async for check in checks:
            say(f"{_(check.step.value)}: {_(check.outcome.value)}")
            for line in check.text.splitlines():
                say(f"    {line}")
            if check.outcome is Outcome.FAILED:
                failed = check.step
    if failed is None:
        say(_("Nothing is wrong."))
        return 0
    say(_("The step that fails: {step}").format(step=_(failed.value)))
    return 1


async def examine(
    settings: Settings, paths: Paths, translations: NullTranslations, *, vault: Vault | None = None
) -> AsyncGenerator[Check, None]:
    """Yield the steps in order; the one that fails is the last."""
    if vault is None:
        from agent.desktop import open_vault

        vault = open_vault()
    doctor = _Doctor(settings, paths, translations, vault)
    try:
        yield doctor.settings_are_there()
        yield await doctor.ask_the_client()
        yield await doctor.read_the_keyring()
        yield await doctor.resolve()
        yield await doctor.reach()
        connection = await doctor.upgrade()
        try:
            yield doctor.certificate(connection)
            yield Check(Step.GATEWAY, Outcome.OK, doctor.server)
            yield await doctor.log_in(connection)
        finally:
            await connection.close()
    except _Found as exc:
        yield exc.check


class _Doctor:
    def __init__(
        self, settings: Settings, paths: Paths, translations: NullTranslations, vault: Vault
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._translations = translations
        self._ = translations.gettext
        self._vault = vault
        self._view: View | None = None
        self._record: Credentials | None = None
        self._proxy: str | None = None
        self.server = settings.server or ""

    def settings_are_there(self) -> Check:
        shown = replace(self._settings, proxy=without_login(self._settings.proxy))
        lines = [
            f"{key} = {getattr(shown, key)}  ({origin})"
            for key, origin in sorted(self._settings.origins.items())
        ]
        if not self.server:
            lines.append(self._("No server is set. Use `login`, or ask your administrator."))
            raise _Found(Step.SETTINGS, "\n".join(lines))
        return Check(Step.SETTINGS, Outcome.OK, "\n".join(lines))

    async def ask_the_client(self) -> Check:
        from agent.desktop import open_channel
        from agent.report import status_text, view_of

        try:
            answer = await open_channel(self._paths).ask({"command": "status"}, timeout_s=5)
            self._view = view_of(answer.get("status"))
        except (ChannelError, ValueError):
            return Check(Step.CLIENT, Outcome.SKIPPED, self._("Not running."))
        return Check(Step.CLIENT, Outcome.OK, status_text(self._view, self._translations))

    async def read_the_keyring(self) -> Check:
        identity = self._settings.identity
        if identity is None:
            return Check(Step.KEYRING, Outcome.SKIPPED, self._("No user is logged in."))
        try:
            self._record = await asyncio.to_thread(self._vault.read, identity)
        except VaultError as exc:
            raise _Found(Step.KEYRING, f"{self._trouble(exc.reason)}\n{exc}") from None
        if self._record is None:
            text = self._("No password is stored for {user}. Use `login`.")
            raise _Found(Step.KEYRING, text.format(user=identity.user))
        if self._record.pending is not None:
            return Check(
                Step.KEYRING, Outcome.OK, self._("A new password waits for its first login.")
            )
        return Check(Step.KEYRING, Outcome.OK)

    async def resolve(self) -> Check:
        try:
            proxy = asyncio.to_thread(find_proxy, self.server, self._settings.proxy)
            self._proxy = await proxy
        except BadProxy as exc:
            raise self._found(Step.SETTINGS, exc) from None
        host, port = self._first_hop()
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                found = await asyncio.get_running_loop().getaddrinfo(
                    host, port, type=socket.SOCK_STREAM
                )
        except (OSError, UnicodeError) as exc:
            reason = classify(exc, proxy=self._proxy).reason
            if self._proxy and reason is Reason.NO_SUCH_HOST:  # the name is the proxy's
                reason = Reason.PROXY_UNREACHABLE
            raise _Found(Step.NAME, f"{host}\n{self._trouble(reason)}") from None
        addresses = ", ".join(dict.fromkeys(str(each[4][0]) for each in found))
        return Check(Step.NAME, Outcome.OK, f"{host}: {addresses}")

    async def reach(self) -> Check:
        host, port = self._first_hop()
        way = self._("by the proxy {proxy}") if self._proxy else self._("directly, without a proxy")
        way = way.format(proxy=f"{host}:{port}")
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                _, writer = await asyncio.open_connection(
                    host, port, happy_eyeballs_delay=NEXT_ADDRESS_S
                )
            writer.close()
        except OSError as exc:
            failure = classify(exc, proxy=self._proxy)
            text = f"{host}:{port} {exc.strerror or failure.detail}\n{way}"
            raise _Found(Step.NETWORK, f"{text}\n{self._trouble(failure.reason)}") from None
        return Check(Step.NETWORK, Outcome.OK, f"{host}:{port}\n{way}")

    async def upgrade(self) -> ClientConnection:
        """Connect through proxy, TLS and upgrade. Raise _Found with the step that failed."""
        try:
            connection = await open_connection(self.server, proxy=self._proxy)
        except ssl.SSLCertVerificationError as exc:
            raise _Found(Step.CERTIFICATE, self._certificate_trouble(exc)) from None
        except InsecureAddress:
            raise _Found(Step.SETTINGS, self._trouble(Reason.INSECURE_ADDRESS)) from None
        except Exception as exc:  # noqa: BLE001 - classify has an answer for everything
            raise self._found(Step.GATEWAY, exc) from None
        if connection.subprotocol != msg.SUBPROTOCOL:
            await connection.close(1002)
            raise _Found(Step.GATEWAY, self._trouble(Reason.NOT_A_GATEWAY))
        return connection

    def certificate(self, connection: ClientConnection) -> Check:
        tls = connection.transport.get_extra_info("ssl_object")
        if tls is None:
            return Check(
                Step.CERTIFICATE, Outcome.SKIPPED, self._("Not encrypted: the server is this PC.")
            )
        lines = [str(tls.version())]
        # On Windows the system verifies the certificate, and nothing can be read here.
        if ends := (tls.getpeercert() or {}).get("notAfter"):
            end = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
            lines.append(self._("valid until {date}").format(date=local_time(end).date()))
        return Check(Step.CERTIFICATE, Outcome.OK, "\n".join(lines))

    async def log_in(self, connection: ClientConnection) -> Check:
        if self._view is not None:
            text = self._("Left to the running client: a second login would end its own.")
            return Check(Step.LOGIN, Outcome.SKIPPED, text)
        identity, record = self._settings.identity, self._record
        if identity is None or record is None:
            return Check(Step.LOGIN, Outcome.SKIPPED, self._("No user is logged in."))
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                return await self._log_in(connection, identity.user, record)
        except _Found:
            raise
        except Exception as exc:  # noqa: BLE001 - classify has an answer for everything
            raise self._found(Step.LOGIN, exc) from None

    async def _log_in(self, connection: ClientConnection, user: str, record: Credentials) -> Check:
        for password in record.usable():  # a refused one is never sent again automatically
            handshake = ClientLogin(user=user, password=password, nonce=secrets.token_urlsafe(24))
            answer = await self._exchange(connection, handshake, record)
            if isinstance(answer, msg.Welcome):
                handshake.verify(answer.scram)
                return Check(Step.LOGIN, Outcome.OK, self._welcome_text(answer))
            if answer.reason != "credentials":
                raise _Found(Step.LOGIN, self._trouble(Reason(answer.reason)))
        raise _Found(Step.LOGIN, self._trouble(Reason(record.refused or "credentials")))

    async def _exchange(
        self, connection: ClientConnection, handshake: ClientLogin, record: Credentials
    ) -> msg.Welcome | msg.Rejected:
        from agent.app import host_info

        device = host_info().device(public_key(record.device_key))
        hello = msg.Hello(scram=handshake.first(), device=device)
        await connection.send(msg.encode(hello), text=True)
        while True:
            data = await connection.recv()
            try:
                message = msg.decode_from_server(data if isinstance(data, bytes) else data.encode())
            except msg.UnknownMessage:
                continue
            match message:
                case msg.Challenge():
                    proof = await asyncio.to_thread(handshake.proof, message.scram)
                    await connection.send(msg.encode(msg.Proof(scram=proof)), text=True)
                case msg.Welcome() | msg.Rejected():
                    return message
                case msg.Bye():
                    raise _Found(Step.LOGIN, self._trouble(Reason(message.reason)))

    def _welcome_text(self, welcome: msg.Welcome) -> str:
        lines = []
        now = datetime.now(UTC)
        if welcome.valid_until is not None:
            left = days_left(welcome.valid_until, welcome.server_time)
            view = View(State.STANDBY_OLD_PASSWORD, days_left=left)
            lines.append(wording.days_left(view, self._translations) or "")
        off = (welcome.server_time - now).total_seconds()
        if abs(off) > CLOCK_TOLERANCE_S:
            text = self._("This PC's clock differs from the server's by {minutes} minutes.")
            lines.append(text.format(minutes=round(abs(off) / 60)))
        return "\n".join(lines)

    def _first_hop(self) -> tuple[str, int]:
        parts = urlsplit(self._proxy or self.server)
        port = parts.port or {"wss": 443, "ws": 80}[parts.scheme]
        return parts.hostname or "", port

    def _found(self, step: Step, exc: Exception) -> _Found:
        failure = classify(exc, proxy=self._proxy)
        step = _STEPS.get(failure.reason, step)
        return _Found(step, f"{self._trouble(failure.reason)}\n{failure.detail}")

    def _certificate_trouble(self, exc: ssl.SSLCertVerificationError) -> str:
        matter, remedy = wording.trouble(Reason.CERTIFICATE, self._)
        known = _CERTIFICATE_TROUBLES.get(getattr(exc, "verify_code", 0) & 0xFFFF_FFFF)
        return f"{self._(known) if known else matter}\n{remedy}"

    def _trouble(self, reason: Reason) -> str:
        return "\n".join(wording.trouble(reason, self._))


_STEPS = {
    Reason.PROXY_SETTING: Step.SETTINGS,
    Reason.NO_SUCH_HOST: Step.NAME,
    Reason.PROXY_UNREACHABLE: Step.NETWORK,
    Reason.PROXY_REFUSED: Step.NETWORK,
    Reason.PROXY_LOGIN: Step.NETWORK,
    Reason.CERTIFICATE: Step.CERTIFICATE,
}
"""Reasons that show which step fails, whichever was tried."""
_EXPIRED = N_("The certificate has expired, or this PC's clock is wrong.")
_TOO_EARLY = N_("The certificate is not valid yet, or this PC's clock is wrong.")
_OTHER_NAME = N_("The certificate is for another server's name.")
_UNKNOWN_ROOT = N_("The certificate's authority is not trusted by this PC.")
_CERTIFICATE_TROUBLES = {
    # OpenSSL's X509_V_ERR_…, and Windows' CERT_E_…
    9: _TOO_EARLY,
    **dict.fromkeys((10, 0x800B0101), _EXPIRED),
    **dict.fromkeys((18, 19, 20, 21, 0x800B0109, 0x800B010A), _UNKNOWN_ROOT),
    **dict.fromkeys((62, 64, 0x800B010F), _OTHER_NAME),
}
