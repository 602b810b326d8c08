"""Fuzz targets of the client: local processes at its control channel and a dialog's pipes."""

from __future__ import annotations

import asyncio
import functools
import json
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from gettext import NullTranslations
from typing import Any

from agent import control
from agent.app import App
from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import View
from agent.dialogs import messages as pipe
from agent.ports import ChannelError
from agent.report import describe, status_text, view_of
from agent.settings import Settings
from fuzz.target import SECRET, Target, says_only
from tests.support.core_driver import HOME
from tests.support.fakes import fake_adapters

MOMENT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
HARMLESS = (b"logout", b"quit", b"reconnect", b"show", b"\\u")
"""Commands that the target does not run, and escapes that could spell them."""


class _Quiet(App):
    """An App that refuses every login: only the channel's parsing is tested."""

    def log_in(
        self, server: str, user: str, password: str, device_key: str | None = None
    ) -> Future[Reason | None]:
        done: Future[Reason | None] = Future()
        done.set_result(Reason.CREDENTIALS)
        return done


_loop = asyncio.new_event_loop()


@functools.cache
def _app() -> App:
    return _Quiet(Settings(server=HOME.server, user=HOME.user), fake_adapters(), NullTranslations())


def control_request(data: bytes) -> None:
    """Check that a line on the control channel gets an answer, or raises a ChannelError."""
    if any(word in data for word in HARMLESS):
        with suppress(ChannelError):
            control.decode_line(data)
        return
    try:
        answer = _loop.run_until_complete(control.answer(_app()._answers.answer, data))
    except ChannelError as exc:
        says_only(str(exc), "not a JSON object|more than 16384 bytes")
    else:
        assert isinstance(json.loads(answer), dict)
        assert len(answer) <= control.MAX_LINE_BYTES


def control_answer(data: bytes) -> None:
    """Check that an answer to `status` is a view, or an error without a secret."""
    try:
        view = view_of(control.decode_line(data).get("status"))
    except (ChannelError, ValueError) as exc:
        assert SECRET not in str(exc)
    else:
        status_text(view, NullTranslations())


def dialog_pipe(data: bytes) -> None:
    """Check that a line on a dialog's pipes is a message, or raises a PipeError."""
    decoders: tuple[Any, ...] = (pipe.FROM_DIALOG, pipe.FROM_CLIENT)
    for decoder in decoders:
        try:
            message: Any = pipe.decode(data, decoder)
        except pipe.PipeError as exc:
            says_only(str(exc), "not a message of the other side")
        else:
            assert pipe.decode(pipe.encode(message), decoder) == message
            assert SECRET not in repr(message) or not isinstance(message, pipe.Submit)


_VIEW = View(State.RETRYING, Reason.TIMED_OUT, "wss://gw/", "tanaka", 3, MOMENT, MOMENT)
_LOGIN = {"command": "login", "server": "gw.example.com", "user": "t", "password": SECRET}
_UPDATE = {"command": "update-password", "password": SECRET}
_REQUESTS = [json.dumps(each).encode() for each in ({"command": "status"}, _LOGIN, _UPDATE)]
_ANSWERS = [json.dumps({"ok": True, "status": describe(_VIEW)}).encode(), b'{"error":"internal"}']
_PIPED = (
    pipe.Open(assets="/a", server="gw", user="田中", first=True, notes=["a"], rows=[("b", "c")]),
    pipe.Update(pipe.Snapshot(picture="standby", headline="x", lines=["y"], rows=[("a", "b")])),
    pipe.Submit("gw", "tanaka", SECRET),
    pipe.Picked("quit"),
    pipe.Refused("no", "user"),
)
TARGETS = [
    Target("control-request", control_request, _REQUESTS, weight=4, max_bytes=16_500),
    Target("control-answer", control_answer, _ANSWERS, weight=4),
    Target("dialog-pipe", dialog_pipe, [pipe.encode(each) for each in _PIPED], 4, 66_000),
]
