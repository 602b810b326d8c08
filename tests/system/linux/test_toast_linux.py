"""Toasts on a real bus, with a notification service of the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from agent.linux import toast as toast_linux
from agent.linux.toast import NotificationToaster
from agent.ports import Notification, ToastError, Topic
from demo.private_keyring import PrivateKeyring
from tests.support.bus_service import Answer, BusService
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring

NAME = PATH = INTERFACE = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"


class ToastProbe:
    """A toaster, with the result and clicks of its toasts."""

    def __init__(self, bus: PrivateKeyring) -> None:
        self.bus = bus
        self.toaster = NotificationToaster("Update…", Path(__file__))
        self.done: Queue[Exception | None] = Queue()
        self.clicked = threading.Event()

    def show(
        self, title: str = "title", text: str = "text", topic: Topic = Topic.PASSWORD
    ) -> Exception | None:
        notification = Notification(topic, title, text, self.clicked.set)
        self.toaster.show(notification, on_done=self.done.put)
        return self.done.get(timeout=20)

    def service(self, **others: Answer) -> BusService:
        answers: dict[str, Answer] = {
            "GetCapabilities": lambda: ("as", (["body", "actions", "body-markup"],)),
            "Notify": lambda *_: ("u", (7,)),
            "CloseNotification": lambda *_: ("", ()),
            **others,
        }
        return BusService(self.bus.environment["DBUS_SESSION_BUS_ADDRESS"], NAME, answers)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToastProbe]:
    bus = PrivateKeyring(tmp_path / "bus")
    bus.start()
    for name, value in bus.environment.items():
        monkeypatch.setenv(name, value)
    shown = ToastProbe(bus)
    yield shown
    shown.toaster.close()
    bus.stop()


def next_call(service: BusService, method: str) -> tuple[Any, ...]:
    while True:
        name, arguments = service.calls.get(timeout=10)
        if name == method:
            return arguments


def test_shows_until_it_is_read(shown: ToastProbe) -> None:
    """A toast has no time limit, an action, and text that is safe from markup."""
    with shown.service() as service:
        assert shown.show("題 <b>", "残り30日 <i>&") is None
        name, replaces, icon, title, text, actions, hints, timeout = next_call(service, "Notify")
        assert (name, replaces, title, text) == (
            "coconowork client",
            0,
            "題 <b>",
            "残り30日 &lt;i&gt;&amp;",
        )
        assert icon.startswith("file:///")
        assert actions == ["default", "Update…"]
        assert hints["urgency"] == ("y", 1)
        assert timeout == 0


def test_only_a_click_on_our_own_toast_counts(shown: ToastProbe) -> None:
    """A click on another program's toast, or after ours has gone, does nothing."""
    with shown.service() as service:
        shown.show()
        service.signal(PATH, INTERFACE, "ActionInvoked", "us", 8, "default")
        service.signal(PATH, INTERFACE, "NotificationClosed", "uu", 7, 2)
        service.signal(PATH, INTERFACE, "ActionInvoked", "us", 7, "default")
        service.signal(PATH, INTERFACE, "Nonsense")
        eventually(lambda: not shown.toaster._shown)
        assert not shown.clicked.is_set()
        shown.show()
        service.signal(PATH, INTERFACE, "ActionInvoked", "us", 7, "default")
        assert shown.clicked.wait(10)


def test_withdraw_takes_it_back_once(shown: ToastProbe) -> None:
    """A toast is taken back once, and a closed toaster shows no other."""
    with shown.service() as service:
        shown.toaster.withdraw(Topic.PASSWORD)
        shown.show()
        shown.toaster.withdraw(Topic.PASSWORD)
        assert next_call(service, "CloseNotification") == (7,)
        shown.toaster.withdraw(Topic.PASSWORD)
        shown.toaster.close()
    assert "CloseNotification" not in [method for method, _ in service.calls.queue]
    assert isinstance(shown.show(), ToastError)


def test_a_bus_that_comes_back_is_found(shown: ToastProbe) -> None:
    """Without a service or a bus a toast fails; the next one finds them when they are back."""
    assert isinstance(shown.show(), ToastError)
    with shown.service():
        assert shown.show() is None
    shown.bus.stop_bus()
    assert isinstance(shown.show(), ToastError)
    shown.bus.start_bus()
    with shown.service():
        assert shown.show() is None


def test_a_service_that_says_nothing_is_given_up(
    shown: ToastProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that does not answer makes the toast fail in time."""
    monkeypatch.setattr(toast_linux, "CALL_TIMEOUT_S", 0.5)
    with shown.service(Notify=lambda *_: None):
        assert isinstance(shown.show(), ToastError)
