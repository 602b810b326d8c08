"""A running client whose adapters raise or hang, or whose machine raises."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import date
from gettext import NullTranslations
from typing import Any

import pytest

from agent import app as app_module
from agent import runtime as runtime_module
from agent.app import App
from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.events import Event
from agent.core.failure import Reason
from agent.core.machine import Machine
from agent.core.state import State
from agent.core.view import Command
from agent.errors import Defect
from agent.logs import WindowsEvent
from agent.ports import Topic
from agent.settings import Settings
from agent.threads import DaemonThreads
from protocol.messages import WarningOutcome
from protocol.sealing import new_device_key
from tests.support.fake_gateway import PASSWORD, USER, FakeGateway, honest
from tests.support.fakes import (
    FakeDialogs,
    FakeSavedStateStore,
    FakeSignInWatcher,
    FakeToaster,
    FakeTray,
    FakeVault,
    fake_adapters,
)
from tests.support.loop_thread import LoopThread
from tests.support.polling import eventually
from tests.support.runtimes import ClientInMemory
from tests.support.vault_contract import TANAKA

SETTINGS = Settings(server="ws://127.0.0.1:1/gateway", user="tanaka")


class Client:
    """An App on fakes, running on a thread of its own."""

    def __init__(self, settings: Settings = SETTINGS, **adapters: Any) -> None:
        self.tray = FakeTray()
        self.app = App(settings, fake_adapters(**adapters), NullTranslations())

    def start(self, **more: Any) -> None:
        self.ended = DaemonThreads().submit(self.app.run, self.open_tray, **more)

    def open_tray(self) -> FakeTray:
        return self.tray

    def is_alive(self) -> bool:
        """Return whether the machine still answers a command."""
        self.app._runtime.request(ev.LogoutRequested).result(10)
        return self.app.view.state is State.LOGGED_OUT

    def quit(self) -> None:
        self.app._runtime.post(ev.QuitRequested())
        self.ended.result(20)


@pytest.fixture
def run() -> Iterator[Callable[..., Client]]:
    """`run(settings, **adapters)` starts a client with a visible tray; it quits after the test."""
    started: list[Client] = []

    def start(settings: Settings = SETTINGS, **adapters: Any) -> Client:
        started.append(client := Client(settings, **adapters))
        client.start()
        client.tray.wait_for(lambda _: True)
        return client

    yield start
    for client in started:
        client.quit()


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Yield a gateway on a loop of its own."""
    with LoopThread() as servers:
        servers.host((made := FakeGateway(honest())).running())
        yield made


def account(server: str, password: str = PASSWORD, **more: Any) -> tuple[Settings, FakeVault]:
    """Return settings with a user of `server`, and a vault with the user's password."""
    vault = FakeVault()
    entry = Credentials(password=password, device_key=new_device_key())
    vault.write(Identity(server=server, user=USER), entry)
    return Settings(server=server, user=USER, **more), vault


def _raise(*_: object, **__: object) -> Any:
    raise RuntimeError("broken adapter")


class BrokenTray(FakeTray):
    show = translate = _raise


class BrokenDialogs(FakeDialogs):
    refresh = ask_password = show_status = translate = close = _raise


class BrokenToaster(FakeToaster):
    show = withdraw = close = _raise


class BrokenWatcher(FakeSignInWatcher):
    session = start = stop = keep_awake = _raise


def test_adapters_that_raise_end_nothing(
    run: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    """Adapters that raise are logged; the client still answers commands and quits normally."""
    client = run(
        dialogs=BrokenDialogs(),
        open_toaster=BrokenToaster,
        watcher=BrokenWatcher(),
        save_identity=_raise,
        on_menu_action=_raise,
    )
    for command in (Command.STATUS, Command.UPDATE_PASSWORD, Command.ABOUT):
        client.tray.pick(command)
    client.app.toasts.show(Topic.ACTION, ("title", "text"), Command.STATUS)
    client.app.translate(NullTranslations())
    assert client.is_alive()
    client.quit()
    assert caplog.text.count("broken adapter") > 6


def test_a_lost_tray_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost tray is opened again; the client runs on, and logs losses 1, 2, 4, 8, 16."""
    monkeypatch.setattr(app_module, "TRAY_AGAIN_S", 0.001)
    monkeypatch.setattr(lost := FakeTray(), "run", _raise)
    client = Client()
    trays: list[Callable[[], FakeTray]] = [_raise, BrokenTray, lambda: lost] * 6
    trays.insert(0, lambda: client.tray)
    monkeypatch.setattr(client, "open_tray", lambda: trays.pop()())  # noqa: PLW0108 - one a call
    client.start()
    client.tray.wait_for(lambda _: True)
    assert client.is_alive()
    client.quit()
    losses = [each for each in caplog.records if "the tray is lost" in each.message]
    assert [bool(each.exc_info) for each in losses] == [True, False, False, False, False]
    assert "time 16;" in losses[-1].message


@pytest.mark.parametrize("opened", [_raise, None])
def test_no_toaster(
    run: Callable[..., Client], opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a toaster, notifications are reported as failed, and the client runs on."""
    client = run(open_toaster=opened)
    outcomes: list[WarningOutcome] = []
    client.app.toasts.show(Topic.ACTION, ("title", "text"), Command.STATUS, outcomes.append)
    assert outcomes == [WarningOutcome.FAILED]
    assert any(each.exc_info for each in caplog.records) is (opened is _raise)


def test_a_defect_of_the_machine_ends_the_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of the machine ends the client, with a critical log line and an exception."""
    client = Client()
    client.start()
    handle = Machine.handle

    def raise_at_reconnect(self: Machine, event: Event, now: Any) -> Any:
        return _raise() if isinstance(event, ev.ReconnectRequested) else handle(self, event, now)

    monkeypatch.setattr(Machine, "handle", raise_at_reconnect)
    client.tray.pick(Command.RECONNECT)
    with pytest.raises(Defect):
        client.ended.result(20)
    assert "a defect of the client ends it" in caplog.text
    assert any(each.levelno == logging.CRITICAL for each in caplog.records)


def test_the_vault_does_not_wait_for_files(
    run: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file write that hangs does not delay the vault, and delays the end only briefly."""
    monkeypatch.setattr(runtime_module, "WRITES_S", 0.2)
    gate, store = threading.Event(), FakeSavedStateStore()
    monkeypatch.setattr(store, "save", lambda *_: gate.wait(60))
    settings, vault = account("ws://127.0.0.1:1/gateway")
    client = run(settings, vault=vault, saved_state=store)
    client.tray.wait_for(lambda view: view.state is not State.CONNECTING)
    assert client.is_alive()
    assert vault.entries == {}
    client.quit()
    gate.set()


def test_a_notification_lives_and_acts_by_its_topic(run: Callable[..., Client]) -> None:
    """Each notification's click opens its window; a logout withdraws only the password's."""
    toaster, dialogs, picked = FakeToaster(), FakeDialogs(), list[Command]()
    client = run(open_toaster=lambda: toaster, dialogs=dialogs, on_menu_action=picked.append)
    client.app._tell(do.AskForPassword(None))
    client.app._tell(do.TellReceived())
    client.app.toasts.show(Topic.SETTINGS, ("The settings cannot be read", ""), Command.SHOW_LOG)
    for topic in (Topic.PASSWORD, Topic.RECEIVED, Topic.SETTINGS):
        toaster.open[topic](WarningOutcome.CLICKED)
    assert (dialogs.asked, dialogs.status_shown, picked) == (1, 1, [Command.SHOW_LOG])
    assert client.is_alive()
    assert set(toaster.open) == {Topic.RECEIVED, Topic.SETTINGS}


def test_logging_out_from_a_window(run: Callable[..., Client]) -> None:
    """Logging out deletes the stored password; a failure of the keyring is shown."""
    dialogs, toaster = FakeDialogs(), FakeToaster()
    settings, vault = account("ws://127.0.0.1:1/gateway")
    client = run(settings, vault=vault, dialogs=dialogs, open_toaster=lambda: toaster)
    client.app.command(Command.LOG_OUT_NOW)
    eventually(lambda: dialogs.status_shown == 1)
    assert (vault.entries, client.app.view.state) == ({}, State.LOGGED_OUT)
    assert Topic.ACTION not in toaster.open
    vault.failure = Reason.VAULT_LOCKED
    client.app.command(Command.LOG_OUT_NOW)
    eventually(lambda: Topic.ACTION in toaster.open)


def test_what_fleets_collect_is_marked(
    run: Callable[..., Client], gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Received and refused passwords and warnings go to Windows' event log, once each."""
    caplog.set_level(logging.INFO)
    settings, vault = account(gateway.address, "wrong")
    client = run(settings, vault=vault)
    client.tray.wait_for(lambda view: view.state is State.NEEDS_PASSWORD)
    client.app._tell(do.TellReceived())
    client.app._tell(do.ShowWarning(3, date(2026, 12, 23)))
    client.quit()
    marked = [getattr(each, "windows_event", None) for each in caplog.records]
    assert [each for each in marked if each is not None] == [
        WindowsEvent.PASSWORD_REFUSED,
        WindowsEvent.PASSWORD_RECEIVED,
        WindowsEvent.OLD_PASSWORD,
    ]


def test_unsaved_settings_are_taken_back_when_saved(run: Callable[..., Client]) -> None:
    """Unsaved settings show a notification, which is withdrawn once they are saved."""
    toaster, full = FakeToaster(), [OSError("full"), OSError("full"), None, OSError("full")]

    def save(_: Identity) -> None:
        if error := full.pop(0):
            raise error

    client = run(open_toaster=lambda: toaster, save_identity=save)
    seen = []
    for _ in range(4):
        with suppress(OSError):
            client.app._save_identity(TANAKA)
        seen.append(Topic.UNSAVED in toaster.open)
    assert seen == [True, True, False, True]


def test_work_ends_with_the_loop() -> None:
    """Calls made before the loop runs, while it ends, or after its end never wait for ever."""
    runtime = ClientInMemory(TANAKA.server)
    began, late = threading.Event(), list[Future[None]]()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(600)
        finally:
            late.append(runtime.begin(asyncio.sleep(600)))

    early = runtime.begin(work())
    runtime.start()
    assert began.wait(20)
    runtime.post(ev.QuitRequested())
    assert runtime.join(20)
    late.append(runtime.begin(asyncio.sleep(600)))
    assert [each.cancelled() for each in (early, *late)] == [True, True, True]


def test_policy_wins_over_the_command_line(run: Callable[..., Client]) -> None:
    """`login` with another server or user than the policy's is refused without a try."""
    enforced = frozenset({"server", "user"})
    client = run(Settings(server=SETTINGS.server, user=SETTINGS.user, enforced=enforced))
    for server, user, reason in (
        ("ws://127.0.0.1:2", "tanaka", "enforced"),
        ("ws://127.0.0.1:1", "suzuki", "enforced"),
        ("ws://127.0.0.1:1", "tanaka", "unreachable"),
    ):
        asked = {"command": "login", "server": server, "user": user, "password": "Passw0rd!"}
        assert client.app.answer(asked) == {"ok": False, "reason": reason}


@pytest.mark.parametrize("interactive", [True, False])
def test_the_first_interactive_start_opens_the_log_in_window(*, interactive: bool) -> None:
    """The first start by the user opens the login window; a sign-in to Windows does not."""
    dialogs = FakeDialogs()
    client = Client(Settings(), dialogs=dialogs)
    client.start(ask_to_log_in=interactive)
    client.tray.wait_for(lambda view: view.state is State.LOGGED_OUT)
    eventually(lambda: dialogs.views)
    assert client.is_alive()
    assert dialogs.asked == interactive
    client.quit()


def test_a_server_moved_by_policy_takes_the_password_along(
    run: Callable[..., Client], gateway: FakeGateway
) -> None:
    """After policy moved the server, the client logs in there and saves the new address only."""
    (old, vault), saved = account("ws://127.0.0.1:1/gateway"), list[Identity]()
    new = Identity(server=gateway.address, user=USER)
    enforced = frozenset({"server"})
    settings = Settings(server=new.server, user=USER, enforced=enforced, last_login=old.identity)
    client = run(settings, vault=vault, save_identity=saved.append)
    client.tray.wait_for(lambda view: view.state is State.STANDBY)
    eventually(lambda: set(vault.entries) == {new} and saved == [new])


@pytest.mark.parametrize(("setting", "awake"), [(True, [True, False]), (False, [])])
def test_pc_is_kept_awake_until_the_logout(
    run: Callable[..., Client], setting: bool, awake: list[bool]
) -> None:
    """If so set, the client keeps the PC awake from the login to the logout, also offline."""
    watcher = FakeSignInWatcher()
    settings, vault = account("ws://127.0.0.1:1/gateway", keep_awake=setting)
    client = run(settings, vault=vault, watcher=watcher)
    client.tray.wait_for(lambda view: view.state is State.RETRYING)
    assert watcher.awake == awake[:1]
    assert client.app.answer({"command": "logout"}) == {"ok": True}
    assert watcher.awake == awake


@pytest.mark.parametrize(
    ("event", "farewell"), [(ev.Suspending(), "sleep"), (ev.QuitRequested("update"), "update")]
)
def test_watcher_returns_when_the_client_has_left(
    run: Callable[..., Client], gateway: FakeGateway, event: Event, farewell: str
) -> None:
    """The watcher returns once the client has disconnected: then Windows may suspend the client."""
    (settings, vault), watcher = account(gateway.address), FakeSignInWatcher()
    client = run(settings, vault=vault, watcher=watcher)
    client.tray.wait_for(lambda view: view.state is State.STANDBY)
    watcher.report(event)
    assert not client.app._runtime._connections
    eventually(gateway.first_has_ended)
    assert (gateway.visits[0].farewell, gateway.visits[0].close_code) == (farewell, 1000)
