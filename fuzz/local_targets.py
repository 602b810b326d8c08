"""Fuzz targets of the client: its local peers, at the control channel and at a dialog's pipes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from gettext import NullTranslations
from typing import Any

from agent import control
from agent.app import Adapters, App
from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import View
from agent.dialogs import messages as pipe
from agent.ports import ChannelError
from agent.report import describe, status_text, view_of
from agent.settings import Settings
from fuzz.target import SECRET, Target, says_only
from tests.support.core_driver import HOME
from tests.support.fakes import FakeMemoryStore, FakeVault

MOMENT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


class _Quiet(App):
    """An App whose machine is never asked: the channel's own parsing is what is tested."""

    def sign_in(self, server: str, user: str, password: str) -> Future[Reason | None]:
        done: Future[Reason | None] = Future()
        done.set_result(Reason.CREDENTIALS)
        return done


def _app() -> App:
    adapters = Adapters(
        vault=FakeVault(),
        memory=FakeMemoryStore(),
        channel=_NoChannel(),
        save_identity=lambda _: None,
    )
    return _Quiet(Settings(server=HOME.server, user=HOME.user), adapters, NullTranslations())


class _NoChannel:
    """The lines are handed over directly."""

    async def serve(self, handle: control.Handler, *, claimed: Callable[[], None]) -> None: ...


_loop = asyncio.new_event_loop()
_the_app: list[App] = []


def control_request(data: bytes) -> None:
    """A line on the control channel: an answer in JSON, or the peer is hung up on; no secret."""
    if not _the_app:
        _the_app.append(_app())
    app = _the_app[0]
    harmless = [b"logout", b"quit", b"reconnect", b"show"]
    if any(word in data for word in harmless) or b"\\u" in data:
        with suppress(ChannelError):
            control.decode_line(data)
        return
    try:
        answer = _loop.run_until_complete(control.answer(app._answer, data))
    except ChannelError as exc:
        says_only(str(exc), "not a JSON object|more than 16384 bytes")
    else:
        assert isinstance(json.loads(answer), dict)
        assert len(answer) <= control.MAX_LINE_BYTES


def control_answer(data: bytes) -> None:
    """What answers a `status`: a view, or one of the errors that the command line tells."""
    try:
        answer = control.decode_line(data)
        view = view_of(answer.get("status"))
    except (ChannelError, ValueError) as exc:
        assert SECRET not in str(exc)
    else:
        status_text(view, NullTranslations())


def dialog_pipe(data: bytes) -> None:
    """A line on a dialog's pipes, either way: a message, or a PipeError that quotes nothing."""
    for decode in (pipe.decode_from_dialog, pipe.decode_from_client):
        try:
            message: Any = decode(data)
        except pipe.PipeError as exc:
            says_only(str(exc), r"not a message of (a dialog|the client)")
        else:
            assert decode(pipe.encode(message)) == message
            assert SECRET not in repr(message) or not isinstance(message, pipe.Submit)


_STATUS = json.dumps(
    {
        "ok": True,
        "status": describe(
            View(State.RETRYING, Reason.TIMED_OUT, "wss://gw/", "tanaka", 3, MOMENT, MOMENT)
        ),
    }
)
_OPEN = pipe.Open(
    assets="/assets",
    server="gw.example.com",
    user="田中",
    first=True,
    notes=["a"],
    rows=[("b", "c")],
)
_SNAPSHOT = pipe.Snapshot(picture="standby", headline="x", lines=["y"], rows=[("a", "b")])


TARGETS = [
    Target(
        "control-request",
        control_request,
        [
            b'{"command":"status"}\n',
            json.dumps(
                {"command": "login", "server": "gw.example.com", "user": "t", "password": SECRET}
            ).encode(),
            json.dumps({"command": "update-password", "password": SECRET}).encode(),
        ],
        weight=4,
        max_bytes=16_500,
    ),
    Target("control-answer", control_answer, [_STATUS.encode(), b'{"error":"internal"}'], weight=4),
    Target(
        "dialog-pipe",
        dialog_pipe,
        [
            pipe.encode(_OPEN),
            pipe.encode(pipe.Update(_SNAPSHOT)),
            pipe.encode(pipe.Submit("gw", "tanaka", SECRET)),
            pipe.encode(pipe.Picked("quit")),
            pipe.encode(pipe.Refused("no", "user")),
        ],
        weight=4,
        max_bytes=66_000,
    ),
]
