"""Get a user's password by a code, for a PC without a password (docs/protocol.md).

A pairing has a connection of its own, and the machine learns nothing of it. Then the client logs in
with the password as if the user had typed it here. All secrets are local to `receive_password`. So
cancelling that coroutine leaves nothing behind, and the server forgets the code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from gettext import NullTranslations
from typing import TypeVar

from agent import prompts
from agent.connection import Connection
from agent.core import events as ev
from agent.core import wording
from agent.core.connection_state import CONNECT_S, LOGIN_S
from agent.core.events import Event
from agent.core.failure import Failure, Reason
from agent.host import host_info
from agent.settings import Settings
from agent.threads import DaemonThreads
from protocol import messages as msg
from protocol import pairing
from protocol.names import is_name, normalise_name
from protocol.pairing import CODE_SECONDS, Word
from protocol.sealing import SealError, new_device_key, open_sealed, public_key

log = logging.getLogger(__name__)

LATE_S = 5.0  # seconds after a code has expired in which the server must say so
_NOT_KNOWN = Failure(Reason.PROTOCOL, detail="closed with 1008")  # by servers without `pair`
_ENDS = {"expired", "throttled", "version"}


class PairingFailed(Exception):
    """The pairing has ended without a password."""

    def __init__(self, failure: Failure, users: tuple[str, str] | None = None) -> None:
        """`users`: the user who has typed the code, and the only user that policy allows."""
        super().__init__(f"{failure.reason.value} ({failure.detail})")
        self.failure, self.users = failure, users

    def sentences(self, translations: NullTranslations) -> tuple[str, str]:
        if self.users is not None:
            return wording.other_user(*self.users, translations.gettext)
        return wording.code_trouble(self.failure, translations)


@dataclass(frozen=True)
class Code:
    """A code as the PC shows it, with its words."""

    text: str = field(repr=False)
    words: list[Word] = field(repr=False)
    expires_in_s: int

    def words_in(self, translations: NullTranslations) -> list[str]:
        japanese = translations.info().get("language") == "ja"
        return [word.ja if japanese else word.en for word in self.words]


@dataclass(frozen=True)
class Received:
    """A user's name and password, and the device key that the password was sealed for."""

    user: str
    password: str = field(repr=False)
    device_key: str = field(repr=False)


Show = Callable[[Code], None]
Ask = Callable[[str], "Future[None]"]  # takes a user's name; done when the person agrees
LogIn = Callable[[str, str, str, str], "Future[Reason | None]"]  # `App.log_in`


async def receive_password(server: str, settings: Settings, show: Show) -> Received:
    """Call `show` with a code; return the password that a user sends. Raise PairingFailed."""
    key = new_device_key()
    events: asyncio.Queue[Event] = asyncio.Queue()
    connection = Connection(0, server, proxy_setting=settings.proxy, emit=events.put_nowait)
    running = asyncio.create_task(connection.run())
    try:
        async with asyncio.timeout(CONNECT_S):
            await _next(events, ev.Connected)
        async with asyncio.timeout(LOGIN_S):
            await connection.send(msg.Pair(device=host_info().device(public_key(key))))
            code = await _code(events)
            words = await asyncio.to_thread(pairing.words, code.code, public_key(key))
        log.info("pairing: a code is shown")
        expires_in_s = min(code.expires_in_s, CODE_SECONDS)
        show(Code(pairing.format_code(code.code), words, expires_in_s))
        try:
            async with asyncio.timeout(expires_in_s + LATE_S):
                paired = await _next_message(events, msg.Paired)
        except TimeoutError:
            raise PairingFailed(Failure(Reason.EXPIRED, detail="no word of the server")) from None
    except TimeoutError:
        raise PairingFailed(Failure(Reason.TIMED_OUT, detail="pairing")) from None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    if not is_name(paired.user) or normalise_name(paired.user) != paired.user:
        raise PairingFailed(Failure(Reason.PROTOCOL, detail="a user name that is none"))
    if (only := settings.only_user) not in {None, paired.user}:
        failure = Failure(Reason.CREDENTIALS, detail="a user that policy does not allow")
        raise PairingFailed(failure, (paired.user, str(only)))
    try:
        sealed = open_sealed(paired, device_key=key)
    except SealError as exc:
        raise PairingFailed(Failure(Reason.PROTOCOL, detail=str(exc))) from None
    return Received(paired.user, sealed.password, key)


def receive_at_terminal(
    server: str, settings: Settings, translations: NullTranslations
) -> Received | None:
    """Show a code; return a user's password, None if the person refuses. Raise PairingFailed."""
    _ = translations.gettext

    def show(code: Code) -> None:
        lines = [
            wording.code_steps(settings.console_url, _),
            f"\n    {code.text}    {'  '.join(code.words_in(translations))}\n",
            wording.code_validity(code.expires_in_s // 60, translations),
        ]
        print("\n".join(lines), flush=True)

    async def receive() -> Received:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        return await receive_password(server, settings, show)

    received = asyncio.run(receive())
    question = _("Connect this PC as the user {user}?").format(user=received.user)
    agrees = prompts.agrees(f"{question} [y/N] ", within_s=CODE_SECONDS)
    if agrees is None:
        raise PairingFailed(Failure(Reason.EXPIRED, detail="not confirmed"))
    return received if agrees else None


async def log_in_by_code(
    server: str, settings: Settings, show: Show, *, ask: Ask, log_in: LogIn
) -> Reason | None:
    """Receive a password, ask the person at the PC about its user, and log in with the password.

    Return why the password was not stored, None when it was. Raise PairingFailed.
    """
    received = await receive_password(server, settings, show)
    log.info("pairing: a password was received")
    try:
        async with asyncio.timeout(CODE_SECONDS):
            await asyncio.wrap_future(ask(received.user))
    except TimeoutError:
        raise PairingFailed(Failure(Reason.EXPIRED, detail="not confirmed")) from None
    user, password, key = received.user, received.password, received.device_key
    return await asyncio.wrap_future(log_in(server, user, password, key))


T = TypeVar("T")


async def _code(events: asyncio.Queue[Event]) -> msg.PairingCode:
    try:
        return await _next_message(events, msg.PairingCode)
    except PairingFailed as exc:
        if exc.failure == _NOT_KNOWN:
            raise PairingFailed(Failure(Reason.NO_CODES, detail="closed with 1008")) from None
        raise


async def _next_message(events: asyncio.Queue[Event], kind: type[T]) -> T:
    """Return the server's next message, which has to be of this kind. Raise PairingFailed."""
    match (await _next(events, ev.Received)).message:
        case kind() as message:
            return message
        case msg.Rejected(reason=reason, retry_after_s=wait) if reason in _ENDS:
            raise PairingFailed(Failure(Reason(reason), wait))
        case msg.Bye(reason=reason, retry_after_s=wait):
            raise PairingFailed(Failure(Reason(reason), wait))
        case _:
            raise PairingFailed(Failure(Reason.PROTOCOL, detail="a message out of order"))


async def _next(events: asyncio.Queue[Event], kind: type[T]) -> T:
    """Return the next event, which has to be of this kind. Raise PairingFailed."""
    match await events.get():
        case kind() as event:
            return event
        case ev.Disconnected(_, failure):
            raise PairingFailed(failure)
        case _:
            raise PairingFailed(Failure(Reason.PROTOCOL, detail="a message out of order"))
