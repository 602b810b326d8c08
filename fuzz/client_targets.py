"""Fuzz targets of the client: its files and keyring, what people type, and local processes."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import tempfile
import time
import unicodedata
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from gettext import NullTranslations
from pathlib import Path
from typing import Any

import msgspec
from websockets.proxy import parse_proxy
from websockets.uri import parse_uri

from agent import address, control
from agent.app import App
from agent.core import credentials as record
from agent.core import deadline
from agent.core.events import Instant
from agent.core.failure import Reason
from agent.core.saved_state import SavedState
from agent.core.state import State
from agent.core.view import View
from agent.dialogs import host as dialogs
from agent.dialogs import messages as pipe
from agent.errors import UserError
from agent.paths import find_paths
from agent.ports import ChannelError
from agent.report import describe, status_text, view_of
from agent.settings import Settings, SettingsError, load, normalise_user, save
from agent.state_file import StateFile
from fuzz.target import SECRET, Target, as_text, says_only
from protocol import text
from tests.support.core_driver import HOME
from tests.support.fakes import fake_adapters

NOW = Instant(datetime(2026, 11, 23, 3, 0, tzinfo=UTC), 1000.0)
_home = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm"))


def vault_record(data: bytes) -> None:
    """Check that a keyring entry is decoded, or raises an error without any of its text."""
    try:
        found = record.Credentials.decode(as_text(data))
    except record.CredentialsError as exc:
        says_only(str(exc), "not an entry of this program")
    else:
        with suppress(record.CredentialsError):
            assert record.Credentials.decode(found.encode()) == found


def state_file(data: bytes) -> None:
    """Check that any state file loads as a state that can be shown and saved."""
    store = StateFile(_home / "state")
    path = store._path(HOME)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    found = store.load(HOME)
    for os.environ["TZ"] in ("Asia/Tokyo", "America/Los_Angeles"):
        time.tzset()
        show(found)
    store.save(HOME, found)
    assert store.load(HOME) == found


_dialogs = dialogs.ProcessDialogs(
    log_in=lambda *_: Future(),
    pair=lambda *_: Future(),
    view=View,  # type: ignore[arg-type] # not asked for here
    on_command=lambda _: None,
    translations=NullTranslations(),
    settings=Settings(),
)


def show(found: SavedState) -> None:
    """Make all texts that show the user a saved state."""
    clock = deadline.ServerClock(offset_s=found.clock_offset_s)
    days = None
    if found.old_valid_until is not None:
        days = deadline.days_left(found.old_valid_until, clock.at(NOW))
        assert 0 <= days < 500_000
    deadline.seconds_to_midnight(clock.at(NOW))
    view = View(
        State.STANDBY_OLD_PASSWORD,
        server="wss://gw.example.com/gateway",
        user="tanaka",
        days_left=days,
        valid_until=found.old_valid_until,
        next_try_at=NOW.wall,
        console_url=found.console_url,
    )
    _dialogs._snapshot(view)
    again = view_of(json.loads(json.dumps(describe(view))))
    assert again.valid_until == view.valid_until
    status_text(view, NullTranslations())


def settings_file(data: bytes) -> None:
    """Check that a settings file is loaded, or raises an error without the value of `proxy`."""
    paths = find_paths({"COCONOWORK_HOME": str(_home)})
    paths.config_file.write_bytes(data)
    with suppress(SettingsError):
        load(paths, environ={}, registry=lambda _: iter(()))
    with suppress(SettingsError):
        save(paths, {"language": "ja"})
        assert load(paths, environ={}, registry=lambda _: iter(())).language == "ja"
    value = json.dumps(data.decode("utf-8", "replace") + SECRET, ensure_ascii=True)
    paths.config_file.write_text(f"proxy = {value}\n")
    try:
        load(paths, environ={}, registry=lambda _: iter(()))
    except SettingsError as exc:
        assert SECRET not in exc.message


def addresses(data: bytes) -> None:
    """Check that a typed address raises a UserError, or has a normal form that stays the same."""
    typed = as_text(data)
    for proxy in (typed, f"http://{typed}:8080", f"http://user:{typed}@proxy:8080"):
        with suppress(address.BadProxy):
            read = address.read_proxy(proxy)
            assert address.read_proxy(read) == read
            parse_proxy(read)
    if address.is_console_url(typed):
        assert typed.isprintable()
        assert typed.lower().startswith(("https://", "http://"))
    with suppress(UserError):
        user = normalise_user(typed)
        assert user.isprintable()
        assert len(user) <= 64
    with suppress(UserError):
        found = address.normalise_server(typed)
        assert address.normalise_server(found) == found
        uri = parse_uri(found)
        assert found.isascii()
        assert uri.secure or address.is_loopback(uri.host)


def shown_text(data: bytes) -> None:
    """Check that cleaned text is one short line without hidden characters."""
    raw, limit = as_text(data), 1 + len(data) % 200
    cleaned = text.clean(raw, limit)
    assert len(cleaned) <= limit
    assert "\n" not in cleaned
    assert all(unicodedata.category(char) not in text._HIDDEN for char in cleaned)
    assert text.clean(cleaned, limit) == cleaned
    with suppress(UnicodeEncodeError):
        clipped = text.clip_utf16(raw, limit)
        assert raw.startswith(clipped)
        assert text.utf16_units(clipped) <= limit


_CREDENTIALS = record.Credentials(
    password=SECRET,
    device_key="A" * 43 + "=",
    pending=record.Pending(change_id="ab" * 16, password="Pending-1"),
    refused="expired",
)
_STATE = SavedState(
    old_valid_until=NOW.wall,
    clock_offset_s=3.5,
    console_url="https://console.example.com/",
    warned_session="2",
    warned_on=NOW.wall.date(),
)
_STATES = [
    msgspec.json.encode(_STATE),
    b'{"old_valid_until":"9999-12-31T23:59:59Z","clock_offset_s":1e11}',
    b'{"old_valid_until":"0001-01-01T00:00:00Z","clock_offset_s":-1e11}',
]
_SETTINGS = [
    b'server = "wss://gw.example.com/gateway"\nuser = "tanaka"\nlanguage = "ja"\n',
    b'proxy = "http://u:p@proxy.example.com:8080"\nallow_quit = false # no\n',
    b"[table]\na = [1, 2.5e3, 2026-11-23T04:05:06Z, '''x''']\n",
]
_ADDRESSES = [
    *(b"gw.example.com", b"wss://[::1]:8443/gateway", "ws://localhost/ゲート".encode()),
    *("日本.example".encode(), b"https://console.example.com/login?x=y", b"http://u:p@proxy:3128"),
]
_TEXTS = ["山田さんの PC \u202e\u200b\ufeff", "a" + "\u0301" * 40 + "\r\n2026-11-23 ERROR x"]


HARMLESS = (b"logout", b"quit", b"reconnect", b"show", b"\\u")
"""Inputs that are only decoded: commands with an effect, and escapes that could spell one."""


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


_VIEW = View(State.RETRYING, Reason.TIMED_OUT, "wss://gw/", "tanaka", 3, NOW.wall, NOW.wall)
_LOGIN = {"command": "login", "server": "gw.example.com", "user": "t", "password": SECRET}
_UPDATE = {"command": "update-password", "password": SECRET}
_REQUESTS = [json.dumps(each).encode() for each in ({"command": "status"}, _LOGIN, _UPDATE)]
_STATUSES = [json.dumps({"ok": True, "status": describe(_VIEW)}).encode(), b'{"error":"internal"}']
_PIPED = (
    pipe.Open(server="gw", user="田中", first=True, notes=["a"], rows=[("b", "c")]),
    pipe.Update(pipe.Snapshot(picture="standby", headline="x", lines=["y"], rows=[("a", "b")])),
    pipe.Submit("gw", "tanaka", SECRET),
    pipe.Picked("quit"),
    pipe.Refused("no", "user"),
)
TARGETS = [
    Target("vault-record", vault_record, [_CREDENTIALS.encode().encode()], 6),
    Target("state-file", state_file, _STATES, weight=2),
    Target("settings", settings_file, _SETTINGS, weight=2),
    Target("addresses", addresses, _ADDRESSES, weight=4),
    Target("shown-text", shown_text, [each.encode() for each in _TEXTS], weight=4),
    Target("control-request", control_request, _REQUESTS, weight=4, max_bytes=16_500),
    Target("control-answer", control_answer, _STATUSES, weight=4),
    Target("dialog-pipe", dialog_pipe, [pipe.encode(each) for each in _PIPED], 4, 66_000),
]
