"""Clients in this process: the real runtime, machine and connection, with a keyring in memory."""

from __future__ import annotations

from collections.abc import Callable

from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.effects import Effect
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.view import View
from agent.host import host_info
from agent.runtime import Runtime
from agent.state_file import StateFile
from protocol.sealing import new_device_key
from tests.support.fakes import FakeSavedStateStore, FakeTray, FakeVault


def _nothing(*_: object) -> None: ...


def runtime_in_memory(
    server: str,
    *,
    user: str = "tanaka",
    password: str,
    vault: FakeVault | None = None,
    saved_state: FakeSavedStateStore | StateFile | None = None,
    show: Callable[[View], None] = _nothing,
    tell: Callable[[Effect], None] = _nothing,
) -> Runtime:
    """Return a client that has stored its password and does not run."""
    identity = Identity(server=server, user=user)
    vault = vault or FakeVault()
    vault.write(identity, Credentials(password=password, device_key=new_device_key()))
    return Runtime(
        Machine(host_info(), identity, SavedState()),
        vault=vault,
        save_state=(saved_state or FakeSavedStateStore()).save,
        show=show,
        tell=tell,
        save_identity=_nothing,
        quit=_nothing,
    )


class ClientInMemory:
    """A client that has logged in at a server, and waits or tries to."""

    def __init__(self, server: str, *, user: str, password: str) -> None:
        self.identity = Identity(server=server, user=user)
        self.vault, self.saved_state, self.tray = FakeVault(), FakeSavedStateStore(), FakeTray()
        self._runtime = runtime_in_memory(
            server,
            user=user,
            password=password,
            vault=self.vault,
            saved_state=self.saved_state,
            show=self.tray.show,
        )

    def start(self) -> None:
        self._runtime.start()
        self._runtime.post(ev.Started())

    def end(self) -> None:
        """Quit, and assert that the client has found no defect in itself."""
        self._runtime.post(ev.QuitRequested())
        assert self._runtime.join(20)
        assert not self._runtime.defect

    def reconnect(self) -> None:
        self._runtime.post(ev.ReconnectRequested())

    def log_in(self, password: str) -> None:
        """Type the password, which must be accepted."""
        identity = self.identity
        answer = self._runtime.request(lambda number: ev.LoginRequested(number, identity, password))
        assert answer.result(30) is None

    def says(self, state: str, reason: str | None = None, *, within_s: float = 30) -> View:
        """Wait until the client shows this. Return all that it shows."""

        def is_it(view: View) -> bool:
            return (view.state.value, view.reason and view.reason.value) == (state, reason)

        return self.tray.wait_for(is_it, timeout_s=within_s)

    def stored(self) -> Credentials:
        """Return the keyring's entry."""
        found = self.vault.read(self.identity)
        assert found is not None
        return found

    def has_only(self, password: str) -> None:
        """Wait for standby. Assert that the client has this password, and no other."""
        assert self.says("standby").days_left is None
        found = self.stored()
        assert (found.password, found.pending, found.refused) == (password, None, None)
