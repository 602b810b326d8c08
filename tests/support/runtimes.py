"""Make clients in this process: the real runtime and machine, with a keyring in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from agent.core.credentials import Credentials, Identity
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.host import host_info
from agent.ports import SavedStateStore
from agent.runtime import Hooks, Runtime
from protocol.sealing import new_device_key
from tests.support.fakes import FakeSavedStateStore, FakeVault


def _nothing(*_: object) -> None: ...


def runtime_in_memory(
    server: str,
    *,
    user: str = "tanaka",
    password: str,
    saved_state: SavedStateStore | None = None,
    **hooks: Callable[..., Any],
) -> Runtime:
    """Return a client that has stored its password and does not run; `hooks` are some of Hooks."""
    identity = Identity(server=server, user=user)
    vault = FakeVault()
    vault.write(identity, Credentials(password=password, device_key=new_device_key()))
    return Runtime(
        Machine(host_info(), identity, SavedState()),
        vault=vault,
        saved_state=saved_state or FakeSavedStateStore(),
        hooks=Hooks(**{**dict.fromkeys([each.name for each in fields(Hooks)], _nothing), **hooks}),
    )
