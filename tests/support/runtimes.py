"""Clients in this process: the real runtime, machine and connection, with a keyring in memory."""

from __future__ import annotations

from typing import Any

from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.view import View
from agent.host import host_info
from agent.runtime import Runtime
from protocol.sealing import new_device_key
from tests.support.fake_gateway import PASSWORD, USER
from tests.support.fakes import FakeTray, FakeVault


def _nothing(*_: object) -> None: ...


class ClientInMemory(Runtime):
    """A client, not yet started, with a stored password."""

    def __init__(
        self, server: str, *, user: str = USER, password: str = PASSWORD, **others: Any
    ) -> None:
        """Store the password in a vault in memory; `others` replace arguments of the Runtime."""
        self.identity = Identity(server=server, user=user)
        self.vault, self.tray = FakeVault(), FakeTray()
        self.saved_state: dict[Identity, SavedState] = {}
        key = new_device_key()
        self.vault.write(self.identity, Credentials(password=password, device_key=key))
        own: dict[str, Any] = {
            "show": self.tray.show,
            "tell": _nothing,
            "save_identity": _nothing,
            "save_state": self.saved_state.__setitem__,
            "quit": _nothing,
        }
        machine = Machine(host_info(), self.identity, SavedState())
        super().__init__(machine, vault=self.vault, **own | others)

    def sign_in(self) -> None:
        """Start the client, as a sign-in to the desktop does."""
        self.start()
        self.post(ev.Started())

    def end(self) -> None:
        """Quit the client. Assert that its runtime has found no defect."""
        self.post(ev.QuitRequested())
        assert self.join(20)
        assert not self.defect

    def reconnect(self) -> None:
        self.post(ev.ReconnectRequested())

    def log_in(self, password: str) -> None:
        """Log in with a typed password, which must be accepted."""
        identity = self.identity
        answer = self.request(lambda number: ev.LoginRequested(number, identity, password))
        assert answer.result(30) is None

    def says(self, state: str, reason: str | None = None, *, within_s: float = 30) -> View:
        """Wait until the client shows this state and reason. Return the view."""

        def is_it(view: View) -> bool:
            return (view.state.value, view.reason and view.reason.value) == (state, reason)

        return self.tray.wait_for(is_it, timeout_s=within_s)

    def stored(self) -> Credentials:
        """Return the keyring's entry."""
        found = self.vault.read(self.identity)
        assert found is not None
        return found

    def has_only(self, password: str) -> None:
        """Wait for standby. Assert that only this password is stored."""
        assert self.says("standby").days_left is None
        found = self.stored()
        assert (found.password, found.pending, found.refused) == (password, None, None)
