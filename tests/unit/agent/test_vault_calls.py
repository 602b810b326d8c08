"""Calls of a vault that hangs, answers late, or asks the user."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from agent.core.credentials import Credentials, Identity
from agent.core.failure import Reason
from agent.ports import VaultError
from agent.vault_calls import MAX_ABANDONED, VaultCalls
from tests.support.fakes import FakeVault
from tests.support.vault_contract import SUZUKI, TANAKA, record

CALL_S = 0.2


class HangingVault(FakeVault):
    """A vault in which each read or write first waits for its event in `gates`."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[threading.Event] = []
        self.asks = False

    @property
    def has_asked_user(self) -> bool:
        return self.asks

    def hang(self) -> threading.Event:
        self.gates.append(threading.Event())
        return self.gates[-1]

    def read(self, identity: Identity) -> Credentials | None:
        self._wait()
        return super().read(identity)

    def write(self, identity: Identity, record: Credentials) -> None:
        self._wait()
        super().write(identity, record)

    def _wait(self) -> None:
        if self.gates:
            self.gates.pop(0).wait(20)


async def reason(call: Awaitable[object]) -> Reason:
    with pytest.raises(VaultError) as caught:
        await call
    return caught.value.reason


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - another thread changes it
            await asyncio.sleep(0.01)


def impatient(vault: FakeVault, prompt_s: float = 20) -> VaultCalls:
    calls = VaultCalls(vault)
    calls.call_s, calls.prompt_s = CALL_S, prompt_s
    return calls


async def test_calls_are_made_one_after_the_other() -> None:
    """Calls run one after the other in the order of their requests."""
    vault = FakeVault()
    calls = VaultCalls(vault)
    records = [record(f"{number}") for number in range(50)]
    await asyncio.gather(*(calls.write(TANAKA, each) for each in records))
    assert [each for _, each in vault.writes] == records


async def test_a_call_that_asks_the_user_may_take_longer() -> None:
    """A call that asks the user has a longer deadline, counted from its start."""
    vault = HangingVault()
    vault.asks = True
    gate = vault.hang()
    calls = impatient(vault, prompt_s=20)
    asyncio.get_running_loop().call_later(3 * CALL_S, gate.set)
    assert await calls.read(TANAKA) is None
    gate = vault.hang()
    calls = impatient(vault, prompt_s=2 * CALL_S)
    assert await reason(calls.read(TANAKA)) is Reason.VAULT_NO_ANSWER
    gate.set()


async def test_a_late_write_does_not_replace_a_newer_one() -> None:
    """The next call does not wait; after a late write the newest one is written again."""
    vault, old, new = HangingVault(), record("old"), record("new")
    gate = vault.hang()
    calls = impatient(vault)
    assert await reason(calls.write(TANAKA, old)) is Reason.VAULT_NO_ANSWER
    await calls.write(TANAKA, record("between"))
    await calls.write(TANAKA, new)
    await calls.write(SUZUKI, old)
    gate.set()
    await until(lambda: vault.writes[-1][1].password == "new")
    await until(lambda: not calls._repeats)
    assert [each.password for _, each in vault.writes] == ["between", "new", "old", "old", "new"]


async def test_a_late_write_does_not_bring_a_deleted_entry_back() -> None:
    """After a logout, an older write that hung leaves no entry."""
    vault = HangingVault()
    gate = vault.hang()
    calls = impatient(vault)
    assert await reason(calls.write(TANAKA, record("old"))) is Reason.VAULT_NO_ANSWER
    await calls.delete(TANAKA)
    gate.set()
    await until(lambda: bool(vault.writes) and not vault.entries)
    await until(lambda: not calls._repeats)


async def test_threads_that_hang_are_few() -> None:
    """After the limit of abandoned calls the next fail at once, until one returns."""
    vault = HangingVault()
    gates = [vault.hang() for _ in range(MAX_ABANDONED)]
    calls = impatient(vault)
    for _ in gates:
        assert await reason(calls.read(TANAKA)) is Reason.VAULT_NO_ANSWER
    before = threading.active_count()
    assert await reason(calls.read(TANAKA)) is Reason.VAULT_NO_ANSWER
    assert threading.active_count() == before
    for gate in gates:
        gate.set()
    await until(lambda: not calls._abandoned)
    assert await calls.read(TANAKA) is None


async def test_an_entry_moves_with_its_server() -> None:
    """The new identity reads the former one's entry, and gets its own after a login."""
    vault, stored, newer = FakeVault(), record(), record("newer")
    vault.write(TANAKA, stored)
    calls = VaultCalls(vault, moved=(TANAKA, SUZUKI))
    assert await calls.read(SUZUKI) == stored
    assert set(vault.entries) == {TANAKA}  # no entry for a wrong address
    await calls.move(TANAKA, SUZUKI)
    assert set(vault.entries) == {SUZUKI}
    assert await calls.read(SUZUKI) == stored
    # A newer password that was stored before the move stays.
    vault.write(TANAKA, stored)
    await calls.write(SUZUKI, newer)
    await calls.move(TANAKA, SUZUKI)
    assert set(vault.entries) == {SUZUKI}
    assert await calls.read(SUZUKI) == newer


async def test_a_logout_before_the_move_is_complete() -> None:
    """A logout deletes the entries of both identities, and a late move restores none."""
    vault = FakeVault()
    vault.write(TANAKA, record())
    calls = VaultCalls(vault, moved=(TANAKA, SUZUKI))
    await calls.delete(SUZUKI)
    assert vault.entries == {}
    await calls.move(TANAKA, SUZUKI)
    assert vault.entries == {}
