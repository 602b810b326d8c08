"""Make clients in this process: the real runtime and machine, with a keyring in memory."""

from __future__ import annotations

from collections.abc import Callable

from agent.core.credentials import Credentials, Identity
from agent.core.effects import Effect
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.view import View
from agent.host import host_info
from agent.ports import SavedStateStore
from agent.runtime import Runtime
from protocol.sealing import new_device_key
from tests.support.fakes import FakeSavedStateStore, FakeVault


def _nothing(*_: object) -> None: ...


def runtime_in_memory(
    server: str,
    *,
    user: str = "tanaka",
    password: str,
    saved_state: SavedStateStore | None = None,
    show: Callable[[View], None] = _nothing,
    tell: Callable[[Effect], None] = _nothing,
) -> Runtime:
    """Return a client that has stored its password and does not run."""
    identity = Identity(server=server, user=user)
    vault = FakeVault()
    vault.write(identity, Credentials(password=password, device_key=new_device_key()))
    return Runtime(
        Machine(host_info(), identity, SavedState()),
        vault=vault,
        saved_state=saved_state or FakeSavedStateStore(),
        show=show,
        tell=tell,
        save_identity=_nothing,
        quit=_nothing,
    )
