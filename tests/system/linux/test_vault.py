"""The vault on a fake and on the real Secret Service, also locked or stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import secretstorage
from keyring.backend import KeyringBackend

from agent.core.credentials import Identity
from agent.core.failure import Reason
from agent.desktop import open_keyring, open_vault
from agent.linux.secret_service import SecretServiceKeyring
from agent.ports import Vault, VaultError
from agent.vault import KeyringVault, service_name
from agent.vault_calls import VaultCalls
from demo.private_keyring import PrivateKeyring
from tests.support.bus_service import Answer, BusService
from tests.support.fakes import FakeVault
from tests.support.own_keyring import lock_keyring
from tests.support.vault_contract import TANAKA, VaultContract, record

pytestmark = pytest.mark.keyring


class TestFakeVault(VaultContract):
    @pytest.fixture
    def vault(self) -> Vault:
        return FakeVault()

    def second(self, vault: Vault) -> Vault:
        return vault

    def plant(self, vault: Vault, identity: Identity, text: str) -> None:
        assert isinstance(vault, FakeVault)
        vault.entries[identity] = text

    def stored(self, vault: Vault) -> list[str]:
        assert isinstance(vault, FakeVault)
        return list(vault.entries.values())


class TestSecretService(VaultContract):
    @pytest.fixture
    def vault(
        self, keyring_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Vault]:
        for name, value in keyring_environment.items():
            monkeypatch.setenv(name, value)
        yield open_vault()
        with closing(secretstorage.dbus_init()) as bus:
            for item in list(secretstorage.Collection(bus).get_all_items()):
                item.delete()

    def second(self, vault: Vault) -> Vault:
        return open_vault()

    def plant(self, vault: Vault, identity: Identity, text: str) -> None:
        open_keyring().set_password(service_name(identity), identity.user, text)

    def stored(self, vault: Vault) -> list[str]:
        with closing(secretstorage.dbus_init()) as bus:
            items = secretstorage.Collection(bus).get_all_items()
            return [item.get_secret().decode() for item in items]


def reason(vault: Vault, action: Callable[[], object] | None = None) -> Reason:
    """Return the reason with which `action`, by default a read, fails."""
    with pytest.raises(VaultError) as caught:
        action() if action else vault.read(TANAKA)
    return caught.value.reason


def test_no_bus_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a session bus there is no vault, and a plug-in's backend is not used."""
    assert type(open_keyring()) is SecretServiceKeyring
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    assert reason(open_vault()) is Reason.VAULT_MISSING
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    assert reason(open_vault()) is Reason.VAULT_MISSING


def test_a_service_that_comes_back_is_found(keyring: PrivateKeyring) -> None:
    """An entry is durable once `write` returns: service and bus may be killed and come back."""
    vault = open_vault()
    for number in range(3):
        written = record(f"password-{number}")
        vault.write(TANAKA, written)
        process = keyring._service
        assert process is not None
        process.kill()
        keyring.stop_service()
        assert reason(vault) is Reason.VAULT_MISSING
        keyring.start_service()
        assert vault.read(TANAKA) == written
    keyring.stop_bus()
    assert reason(vault) is Reason.VAULT_MISSING
    keyring.start_bus()
    assert reason(vault) is Reason.VAULT_MISSING
    keyring.stop_service()
    keyring.start_service()
    assert vault.read(TANAKA) == written


def test_a_locked_keyring_is_reported(keyring: PrivateKeyring) -> None:
    """A locked keyring is reported, keeps its entries, and works again once unlocked."""
    vault, written = open_vault(), record()
    vault.write(TANAKA, written)
    lock_keyring()
    for action in (
        lambda: vault.read(TANAKA),
        lambda: vault.write(TANAKA, record("other")),
        lambda: vault.delete(TANAKA),
    ):
        assert reason(vault, action) is Reason.VAULT_LOCKED
    keyring.stop_service()
    keyring.start_service()
    assert vault.read(TANAKA) == written


def silent_prompter(keyring: PrivateKeyring) -> BusService:
    """Replace the desktop's password prompt by a service whose user never answers. Return it."""
    answers: dict[str, Answer] = {
        name: lambda *_: ("", ()) for name in ("BeginPrompting", "PerformPrompt", "StopPrompting")
    }
    address = keyring.environment["DBUS_SESSION_BUS_ADDRESS"]
    return BusService(address, "org.gnome.keyring.SystemPrompter", answers)


def reason_in_time(vault: Vault) -> Reason:
    """Return why the vault cannot be read within shortened deadlines."""

    async def read() -> None:
        calls = VaultCalls(vault)
        calls.call_s, calls.prompt_s = 0.5, 1.0
        await calls.read(TANAKA)

    with pytest.raises(VaultError) as caught:
        asyncio.run(read())
    return caught.value.reason


def test_a_prompt_without_an_answer_ends(keyring: PrivateKeyring) -> None:
    """A prompt without an answer is dismissed, and not shown again."""
    vault = open_vault()
    vault.write(TANAKA, record())
    lock_keyring()
    with silent_prompter(keyring) as prompter:
        assert reason_in_time(vault) is Reason.VAULT_NO_ANSWER
        assert prompter.calls.get(timeout=10)[0] == "BeginPrompting"
        assert reason_in_time(vault) is Reason.VAULT_LOCKED
    asked = [method for method, _ in prompter.calls.queue]
    assert "BeginPrompting" not in asked


def test_quitting_does_not_wait_for_a_prompt(keyring: PrivateKeyring, tmp_path: Path) -> None:
    """The real client quits while the prompt to unlock the keyring is open."""
    identity = Identity(server="ws://127.0.0.1:9/gateway", user="tanaka")
    open_vault().write(identity, record())
    lock_keyring()
    environ = {
        **os.environ,
        "COCONOWORK_HOME": str(tmp_path / "home"),
        "COCONOWORK_SERVER": identity.server,
        "COCONOWORK_USER": identity.user,
    }
    environ.pop("DISPLAY", None)
    program = [sys.executable, "-m", "agent"]
    with (
        silent_prompter(keyring) as prompter,
        subprocess.Popen([*program, "run"], env=environ, stdout=subprocess.DEVNULL) as client,
    ):
        try:
            assert prompter.calls.get(timeout=30)[0] == "BeginPrompting"
            subprocess.run([*program, "quit"], env=environ, check=True, timeout=30)
            assert client.wait(timeout=20) == 0
        finally:
            client.kill()


def test_a_keyring_that_was_never_made(keyring: PrivateKeyring) -> None:
    """For a keyring that does not exist yet, a prompt appears, as for unlocking."""
    keyring.stop_service()
    shutil.rmtree(keyring.directory / "data")
    command = ["gnome-keyring-daemon", "--foreground", "--components=secrets"]
    environ = {**os.environ, **keyring.environment, "XDG_DATA_HOME": str(keyring.directory)}
    with (
        silent_prompter(keyring) as prompter,
        subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as daemon,
    ):
        keyring._wait_until_open(daemon)
        assert reason_in_time(open_vault()) is Reason.VAULT_NO_ANSWER
        assert prompter.calls.get(timeout=10)[0] == "BeginPrompting"
        daemon.terminate()


def test_a_service_that_says_nothing(keyring: PrivateKeyring) -> None:
    """A service that hangs does not block the client, which uses it again once it answers."""
    vault, written = open_vault(), record()
    vault.write(TANAKA, written)
    process = keyring._service
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        assert reason_in_time(vault) is Reason.VAULT_NO_ANSWER
    finally:
        process.send_signal(signal.SIGCONT)
    assert vault.read(TANAKA) == written


def test_an_entry_of_bytes_is_broken(keyring: PrivateKeyring) -> None:
    """An entry that is not text is reported as broken, and can be replaced."""
    vault = open_vault()
    vault.write(TANAKA, record())
    with closing(secretstorage.dbus_init()) as bus:
        (item,) = secretstorage.Collection(bus).get_all_items()
        item.set_secret(b"\xff\xfe\xfd")
    assert reason(vault) is Reason.VAULT_BROKEN
    vault.write(TANAKA, written := record("new"))
    assert vault.read(TANAKA) == written


class StaleCopies(KeyringBackend):
    """A backend that keeps copies of replaced entries, as WinVaultKeyring. Reads raise `error`."""

    priority = 0
    error: Exception | None = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # keyring's has no types
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        if self.error:
            raise self.error
        found = self.entries.get((service, username))
        return found or self.entries.get((f"{username}@{service}", username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if old := self.entries.get((service, username)):
            self.entries[f"{username}@{service}", username] = old
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


StaleCopies.__name__ = "WinVaultKeyring"


def test_older_copies_go_where_the_backend_leaves_them() -> None:
    """The copy of an old password that Windows' backend keeps is removed, also after a crash."""
    backend, copy = StaleCopies(), (f"{TANAKA.user}@{service_name(TANAKA)}", TANAKA.user)
    vault = KeyringVault(lambda: backend)
    vault.write(TANAKA, record("one"))
    vault.write(TANAKA, written := record("two"))
    assert copy not in backend.entries
    backend.entries[copy] = "copy of one"  # a crash between two writes
    assert vault.read(TANAKA) == written
    assert copy not in backend.entries
    backend.entries = {copy: "copy of one"}  # a crash in a delete: the copy alone is no entry
    assert vault.read(TANAKA) is None
    assert backend.entries == {}


def test_a_backend_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that stores nothing is reported; errors quote only a type and a number."""
    backend = StaleCopies()
    vault = KeyringVault(lambda: backend)
    monkeypatch.setattr(backend, "set_password", lambda *_: None)
    assert reason(vault, lambda: vault.write(TANAKA, record())) is Reason.VAULT_BROKEN

    class WindowsError(Exception):
        winerror = 1312

    backend.error = WindowsError("hidden-word")
    with pytest.raises(VaultError, match="1312") as caught:
        vault.read(TANAKA)
    assert caught.value.reason is Reason.VAULT_BROKEN
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__suppress_context__
