"""Toasts on a real bus, with a notification service of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from agent.linux import toast as toast_linux
from agent.linux.toast import NotificationToaster
from agent.ports import Notification, Topic
from demo.private_keyring import PrivateKeyring
from protocol.messages import WarningOutcome
from tests.support.bus_service import Answer, BusService
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring

NAME = PATH = INTERFACE = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"


class ToastProbe:
    """A toaster, with the outcomes of its toasts."""

    def __init__(self, bus: PrivateKeyring) -> None:
        self.bus = bus
        self.toaster = NotificationToaster("Update…", Path(__file__))
        self.outcomes: Queue[WarningOutcome] = Queue()

    def show(self, title: str = "title", text: str = "text", topic: Topic = Topic.PASSWORD) -> str:
        self.toaster.show(Notification(topic, title, text), on_outcome=self.outcomes.put)
        return self.next()

    def next(self) -> str:
        """Return the next outcome."""
        return self.outcomes.get(timeout=20).value

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
        assert shown.show("題 <b>", "残り30日 <i>&") == "shown"
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


def test_only_what_happens_to_our_own_toast_counts(shown: ToastProbe) -> None:
    """Clicks and the user's closing are reported, on another program's toast or later not."""
    with shown.service() as service:
        shown.show()
        service.signal(PATH, INTERFACE, "ActionInvoked", "us", 8, "default")
        service.signal(PATH, INTERFACE, "NotificationClosed", "uu", 7, 2)
        service.signal(PATH, INTERFACE, "ActionInvoked", "us", 7, "default")
        service.signal(PATH, INTERFACE, "Nonsense")
        assert shown.next() == "dismissed"
        eventually(lambda: not shown.toaster._shown)
        shown.show()
        service.signal(PATH, INTERFACE, "ActionInvoked", "us", 7, "default")
        assert shown.next() == "clicked"
        service.signal(PATH, INTERFACE, "NotificationClosed", "uu", 7, 1)
        eventually(lambda: not shown.toaster._shown)
        assert shown.outcomes.empty()


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
    assert shown.show() == "failed"


def test_a_bus_that_comes_back_is_found(shown: ToastProbe) -> None:
    """Without a service or a bus a toast fails; the next one finds them when they are back."""
    assert shown.show() == "failed"
    with shown.service():
        assert shown.show() == "shown"
    shown.bus.stop_bus()
    assert shown.show() == "failed"
    shown.bus.start_bus()
    with shown.service():
        assert shown.show() == "shown"


def test_a_service_that_says_nothing_is_given_up(
    shown: ToastProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that does not answer makes the toast fail in time."""
    monkeypatch.setattr(toast_linux, "CALL_TIMEOUT_S", 0.5)
    with shown.service(Notify=lambda *_: None):
        assert shown.show() == "failed"
