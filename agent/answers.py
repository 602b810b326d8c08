"""Answer the commands that come over the control channel (docs/commands.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import msgspec

from agent.address import normalise_server
from agent.core import events as ev
from agent.core.failure import Reason
from agent.core.view import Command, View
from agent.errors import UserError
from agent.ports import Request
from agent.report import describe
from agent.runtime import Runtime
from agent.settings import Settings, normalise_user
from protocol.messages import Bytes32

LAST_ANSWER_S = 0.05  # seconds from `quit` to the client's end, in which the answer is sent


@dataclass(frozen=True)
class Answers:
    """The commands of one client. They run on the runtime's loop."""

    settings: Settings
    runtime: Runtime
    look: Callable[[], View]
    log_in: Callable[..., Future[Reason | None]]
    on_command: Callable[[Command], None]

    async def answer(self, request: Request) -> Request:
        """Return the answer to one command: `ok`, and if `ok` is false, `reason`."""
        match request.get("command"):
            case "status":
                return {"ok": True, "status": describe(self.look())}
            case "login":
                return await self._on_login(request)
            case "update-password":
                view = self.look()
                if not view.user:
                    return _refusal("logged_out")
                return await _outcome(
                    self.log_in(view.server, view.user, _text(request, "password"))
                )
            case "logout":
                return await _outcome(self.runtime.request(ev.LogoutRequested))
            case "reconnect":
                self.runtime.post(ev.ReconnectRequested())
            case "show":
                self.on_command(Command.STATUS)
            case "quit":
                event = ev.QuitRequested("update" if request.get("update") else "quit")
                loop = asyncio.get_running_loop()
                loop.call_later(LAST_ANSWER_S, self.runtime.post, event)
            case _:
                return _refusal("unknown_command")
        return {"ok": True}

    async def _on_login(self, request: Request) -> Request:
        try:
            server = normalise_server(_text(request, "server"))
            user = normalise_user(_text(request, "user"))
        except UserError:
            return _refusal("bad_address")
        allowed = self.settings.only_server or server, self.settings.only_user or user
        if allowed != (server, user):
            return _refusal("enforced")
        try:
            key = msgspec.convert(_text(request, "device_key") or None, Bytes32 | None)
        except msgspec.ValidationError:
            return _refusal(Reason.INTERNAL.value)
        outcome = await _outcome(self.log_in(server, user, _text(request, "password"), key))
        return outcome if await self.runtime.saver.all_written() else {**outcome, "unsaved": True}


def _text(request: Request, key: str) -> str:
    value = request.get(key)
    return value if isinstance(value, str) else ""


async def _outcome(reply: Future[Reason | None]) -> Request:
    reason = await asyncio.wrap_future(reply)
    return {"ok": True} if reason is None else _refusal(reason.value)


def _refusal(reason: str) -> Request:
    return {"ok": False, "reason": reason}
