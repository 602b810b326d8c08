"""Find what keeps the client from waiting, step by step until one fails: the command `doctor`.

The command changes nothing. It logs in only when no client runs: a login ends an older one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from gettext import NullTranslations
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection

from agent.address import BadProxy, Translate, without_login
from agent.connection import NEXT_ADDRESS_S, InsecureAddress, open_connection, reachable
from agent.control import ControlChannel
from agent.core import effects as do
from agent.core import events as ev
from agent.core import wording
from agent.core.classify import classify
from agent.core.credentials import Credentials, Identity
from agent.core.deadline import local_time
from agent.core.events import Event
from agent.core.failure import Reason
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.state import State
from agent.core.view import View
from agent.host import host_info
from agent.ports import ChannelError, NotRunning, Vault, VaultError
from agent.proxies import find_proxies
from agent.report import status_text, view_of
from agent.runtime import instant
from agent.settings import Settings
from agent.vault_calls import VaultCalls
from protocol import messages as msg
from protocol.text import N_, clean

STEP_TIMEOUT_S = 20.0
ANSWER_S = 5.0  # seconds that a running client may take to answer
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


class _Skipped(Exception):
    """The step has nothing to examine; the text says why."""


class _Found(Exception):
    """A step failed, which ends the examination."""

    def __init__(self, step: Step, text: str) -> None:
        super().__init__(step, text)
        self.step, self.text = step, text


async def run(
    settings: Settings,
    channel: ControlChannel,
    vault: Vault,
    translations: NullTranslations,
    say: Callable[[str], object],
) -> int:
    """Report every step as it ends; return the exit code, 0 when nothing failed."""
    _ = translations.gettext

    def report(step: Step, outcome: str, text: str) -> None:
        say(f"{_(step.value)}: {outcome}")
        for line in text.splitlines():
            say(f"    {line}")

    doctor = _Doctor(settings, channel, vault, translations)
    steps = {
        Step.SETTINGS: doctor.settings_are_there,
        Step.CLIENT: doctor.ask_the_client,
        Step.KEYRING: doctor.read_the_keyring,
        Step.NAME: doctor.resolve,
        Step.NETWORK: doctor.reach,
        Step.CERTIFICATE: doctor.certificate,
        Step.GATEWAY: doctor.gateway,
        Step.LOGIN: doctor.log_in,
    }
    try:
        for step, take in steps.items():
            try:
                report(step, _("ok"), await take())
            except _Skipped as exc:
                report(step, _("skipped"), str(exc))
    except _Found as exc:
        report(exc.step, _("FAILED"), exc.text)
        say(_("The step that fails: {step}").format(step=_(exc.step.value)))
        return 1
    finally:
        await doctor.close()
    say(_("Nothing is wrong."))
    return 0


@dataclass
class _Doctor:
    """The steps, and what they have found out for later steps."""

    settings: Settings
    channel: ControlChannel
    vault: Vault
    translations: NullTranslations
    view: View | None = None
    record: Credentials | None = None
    proxy: str | None = None
    connection: ClientConnection | None = None

    @property
    def server(self) -> str:
        return self.settings.server or ""

    def _(self, text: str) -> str:
        return self.translations.gettext(text)

    async def settings_are_there(self) -> str:
        shown = replace(self.settings, proxy=without_login(self.settings.proxy))
        lines = [
            f"{key} = {getattr(shown, key)}  ({origin})"
            for key, origin in sorted(self.settings.origins.items())
        ]
        if not self.server:
            lines.append(self._("No server is set. Use `login`, or ask your administrator."))
            raise _Found(Step.SETTINGS, "\n".join(lines))
        return "\n".join(lines)

    async def ask_the_client(self) -> str:
        try:
            answer = await self.channel.ask({"command": "status"}, timeout_s=ANSWER_S)
            self.view = view_of(answer.get("status"))
        except NotRunning:
            raise _Skipped(self._("Not running.")) from None
        except ChannelError:
            raise _Found(Step.CLIENT, "\n".join(wording.both(wording.NO_ANSWER, self._))) from None
        except ValueError:  # a client of another version, or a defect
            raise _Found(Step.CLIENT, self._trouble(Reason.INTERNAL)) from None
        return status_text(self.view, self.translations)

    async def read_the_keyring(self) -> str:
        identity = self.settings.identity
        if identity is None:
            raise _Skipped(self._("No user is logged in."))
        try:
            calls = VaultCalls(self.vault, moved=self.settings.moved)
            self.record = await calls.read(identity)
        except VaultError as exc:
            raise _Found(Step.KEYRING, f"{self._trouble(exc.reason)}\n{exc}") from None
        if self.record is None:
            text = self._("No password is stored for {user}. Use `login`.")
            raise _Found(Step.KEYRING, text.format(user=identity.user))
        if self.record.pending is not None:
            return self._("A new password waits for its first login.")
        return ""

    async def resolve(self) -> str:
        try:
            proxies = asyncio.to_thread(find_proxies, self.server, self.settings.proxy)
            self.proxy = await reachable(await proxies)
        except BadProxy as exc:
            raise self._found(Step.SETTINGS, exc) from None
        host, port = self._first_hop()
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                found = await asyncio.get_running_loop().getaddrinfo(
                    host, port, type=socket.SOCK_STREAM
                )
        except (OSError, UnicodeError) as exc:
            reason = classify(exc, proxy=self.proxy).reason
            if self.proxy and reason is Reason.NO_SUCH_HOST:  # the name is the proxy's
                reason = Reason.PROXY_UNREACHABLE
            raise _Found(Step.NAME, f"{host}\n{self._trouble(reason)}") from None
        addresses = ", ".join(dict.fromkeys(str(each[4][0]) for each in found))
        return f"{host}: {addresses}"

    async def reach(self) -> str:
        host, port = self._first_hop()
        way = self._("by the proxy {proxy}") if self.proxy else self._("directly, without a proxy")
        way = way.format(proxy=f"{host}:{port}")
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                _, writer = await asyncio.open_connection(
                    host, port, happy_eyeballs_delay=NEXT_ADDRESS_S
                )
            writer.close()
        except OSError as exc:
            failure = classify(exc, proxy=self.proxy)
            text = f"{host}:{port} {exc.strerror or failure.detail}\n{way}"
            raise _Found(Step.NETWORK, f"{text}\n{self._trouble(failure.reason)}") from None
        return f"{host}:{port}\n{way}"

    async def upgrade(self) -> ClientConnection:
        """Connect through proxy, TLS and upgrade. Raise _Found with the step that failed."""
        await self.close()
        try:
            connection = await open_connection(self.server, proxy=self.proxy)
        except ssl.SSLCertVerificationError as exc:
            lines = [_certificate_trouble(exc, self._), *await self._unverified_chain()]
            raise _Found(Step.CERTIFICATE, "\n".join(lines)) from None
        except InsecureAddress:
            raise _Found(Step.SETTINGS, self._trouble(Reason.INSECURE_ADDRESS)) from None
        except Exception as exc:  # noqa: BLE001 - classify has an answer for everything
            raise self._found(Step.GATEWAY, exc) from None
        self.connection = connection
        if connection.subprotocol != msg.SUBPROTOCOL:
            raise _Found(Step.GATEWAY, self._trouble(Reason.NOT_A_GATEWAY))
        return connection

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()

    async def certificate(self) -> str:
        tls = (await self.upgrade()).transport.get_extra_info("ssl_object")
        if tls is None:
            raise _Skipped(self._("Not encrypted: the server is this PC."))
        return "\n".join([str(tls.version()), *_chain(tls, self._)])

    async def gateway(self) -> str:
        assert self.connection is not None  # noqa: S101 - the upgrade has succeeded
        assert self.connection.response is not None  # noqa: S101 - with an answer
        lines = [self.server]
        with suppress(KeyError, ValueError):
            theirs = parsedate_to_datetime(self.connection.response.headers["Date"])
            off_s = abs((theirs - datetime.now(UTC)).total_seconds())
            if off_s > CLOCK_TOLERANCE_S:
                text = self._("This PC's clock differs from the server's by {minutes} minutes.")
                lines.append(text.format(minutes=round(off_s / 60)))
        return "\n".join(lines)

    async def log_in(self) -> str:
        if self.view is not None:
            raise _Skipped(self._("Left to the running client: a second login would end its own."))
        identity, record = self.settings.identity, self.record
        if identity is None or record is None:
            raise _Skipped(self._("No user is logged in."))
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                return await self._be_the_client(identity, record)
        except _Found:
            raise
        except Exception as exc:  # noqa: BLE001 - classify has an answer for everything
            raise self._found(Step.LOGIN, exc) from None

    async def _be_the_client(self, identity: Identity, record: Credentials) -> str:
        """Log in with the client's machine, which decides what is sent and in which order.

        The machine's writes to the vault are answered but not done. The machine stops at the login,
        so that it gets no push.
        """
        machine = Machine(host_info(), identity, SavedState())
        events: list[Event] = [ev.Started()]
        while events or machine.state in {State.CONNECTING, State.UPDATING}:
            event = events.pop(0) if events else await self._received(machine)
            for effect in machine.handle(event, instant()):
                match effect:
                    case do.ReadVault(number):
                        events.append(ev.VaultRead(number, record))
                    case do.WriteVault(number):
                        events.append(ev.VaultWritten(number))
                    case do.Connect(number):
                        if number > 1:  # the first connection is open
                            await self.upgrade()
                        events.append(ev.Connected(number))
                    case do.Send(_, message) if self.connection is not None:
                        await self.connection.send(msg.encode(message), text=True)
                    case do.ComputeProof(number, handshake, challenge):
                        proof = await asyncio.to_thread(handshake.proof, challenge)
                        events.append(ev.ProofReady(number, proof))
        if machine.failure is not None:
            raise _Found(Step.LOGIN, self._trouble(machine.failure.reason))
        return "".join(wording.days_left(machine.view(instant()), self.translations))

    async def _received(self, machine: Machine) -> Event:
        assert self.connection is not None  # noqa: S101 - the machine is connected
        while True:
            data = await self.connection.recv(decode=False)
            with suppress(msg.UnknownMessage):
                message = msg.decode_from_server(data)
                return ev.Received(machine.connection.number, message)

    async def _unverified_chain(self) -> list[str]:
        """Return lines about the refused certificates, fetched by the proxy if there is one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        lines: list[str] = []
        translate = self._

        class Look(ClientConnection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                lines.extend(_chain(transport.get_extra_info("ssl_object"), translate))

        options = {"ssl": context, "create_connection": Look}
        with suppress(Exception):  # the server may answer anything; nothing secret is sent
            await (await open_connection(self.server, proxy=self.proxy, **options)).close()
        return lines

    def _first_hop(self) -> tuple[str, int]:
        parts = urlsplit(self.proxy or self.server)
        port = parts.port or {"wss": 443, "ws": 80}[parts.scheme]
        return parts.hostname or "", port

    def _found(self, step: Step, exc: Exception) -> _Found:
        failure = classify(exc, proxy=self.proxy)
        step = _STEPS.get(failure.reason, step)
        return _Found(step, f"{self._trouble(failure.reason)}\n{failure.detail}")

    def _trouble(self, reason: Reason) -> str:
        return "\n".join(wording.trouble(reason, self._))


_STEPS = {
    Reason.PROXY_SETTING: Step.SETTINGS,
    Reason.NO_SUCH_HOST: Step.NAME,
    Reason.PROXY_UNREACHABLE: Step.NETWORK,
    Reason.PROXY_CERTIFICATE: Step.NETWORK,
    Reason.PROXY_REFUSED: Step.NETWORK,
    Reason.PROXY_LOGIN: Step.NETWORK,
    Reason.CERTIFICATE: Step.CERTIFICATE,
}
"""Reasons that tell which step fails, whichever step was running."""


# --- certificates


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


def _certificate_trouble(exc: ssl.SSLCertVerificationError, _: Translate) -> str:
    """Return what is wrong with a certificate that was refused, and what the user can do."""
    matter, remedy = wording.trouble(Reason.CERTIFICATE, _)
    known = _TROUBLES.get(getattr(exc, "verify_code", 0) & 0xFFFF_FFFF)
    return f"{_(known) if known else matter}\n{remedy}"


def _chain(tls: ssl.SSLObject, _: Translate) -> list[str]:
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
