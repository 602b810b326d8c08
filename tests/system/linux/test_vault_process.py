"""The vault in a process of its own: the real process, on the real keyring."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from agent.core.failure import Reason
from agent.ports import Vault, VaultError
from agent.vault import KeyringVault
from agent.vault_process import ProcessVault
from demo.private_keyring import PrivateKeyring
from tests.support.vault_contract import TANAKA, record
from tests.system.linux.test_vault import SecretServiceContract, lock, service, silent_prompter

pytestmark = pytest.mark.keyring
__all__ = ["service"]  # a fixture


@pytest.fixture(scope="module")
def shared(keyring_environment: dict[str, str]) -> Iterator[ProcessVault]:
    """One process for all the tests of the contract."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keyring_environment.items():
            patch.setenv(name, value)
        vault = ProcessVault()
        vault.prepare()
        yield vault
        vault._end()


class TestProcessVault(SecretServiceContract):
    @pytest.fixture
    def vault(self, shared: ProcessVault, keyring: None) -> Vault:
        return shared

    def test_half_a_character(self, vault: Vault) -> None:
        """What is no text is refused, and the process still serves."""
        with pytest.raises(VaultError) as caught:
            vault.write(TANAKA, record("half \udc80"))
        assert caught.value.reason is Reason.VAULT_BROKEN
        assert vault.read(TANAKA) is None


def process_of(vault: ProcessVault) -> subprocess.Popen[bytes]:
    assert vault._process is not None
    return vault._process


def test_is_there_only_while_it_is_needed(service: PrivateKeyring) -> None:
    """It ends by itself with 0 when nobody has called for a while; the next call has another."""
    vault, written = ProcessVault(idle_s=0.1), record()
    vault.prepare()
    first = process_of(vault)
    vault.write(TANAKA, written)
    assert first.wait(10) == 0
    assert vault.read(TANAKA) == written
    assert process_of(vault) is not first
    assert process_of(vault).wait(10) == 0


def test_one_that_was_killed_is_replaced(service: PrivateKeyring) -> None:
    """Between two calls nobody notices; during one the call fails as if the keyring had gone."""
    vault, written = ProcessVault(), record()
    vault.write(TANAKA, written)
    process_of(vault).kill()
    process_of(vault).wait(10)
    assert vault.read(TANAKA) == written
    lock()
    told: list[Reason] = []
    reader = threading.Thread(target=lambda: told.append(reason(vault)))
    with silent_prompter(service) as prompter:
        reader.start()
        assert prompter.calls.get(timeout=10)[0] == "BeginPrompting"
        process_of(vault).kill()
        reader.join(10)
    assert told == [Reason.VAULT_MISSING]
    service.stop_service()
    service.start_service()
    assert vault.read(TANAKA) == written
    vault._end()


def reason(vault: Vault) -> Reason:
    with pytest.raises(VaultError) as caught:
        vault.read(TANAKA)
    return caught.value.reason


def test_the_end_of_the_program_ends_a_prompt(service: PrivateKeyring) -> None:
    """Quitting does not wait for somebody to type a password, and asks for no other."""
    KeyringVault().write(TANAKA, record())
    lock()
    vault = ProcessVault(idle_s=0.1)
    told: list[Reason] = []
    reader = threading.Thread(target=lambda: told.append(reason(vault)))
    with silent_prompter(service) as prompter:
        reader.start()
        assert prompter.calls.get(timeout=10)[0] == "BeginPrompting"
        vault.close()
        reader.join(10)
        assert told == [Reason.VAULT_LOCKED]
        assert reason(vault) is Reason.VAULT_LOCKED
        # Kept although it is idle: it is the process that knows of the prompt.
        assert process_of(vault).poll() is None
        assert "BeginPrompting" not in [method for method, _ in prompter.calls.queue]
    vault._end()


def test_one_that_cannot_be_started() -> None:
    """No process, or one that speaks another language: told like a keyring that is not there."""
    assert reason(ProcessVault(["/nonexistent/program"])) is Reason.VAULT_MISSING
    assert reason(ProcessVault([sys.executable, "-c", "print('hello')"])) is Reason.VAULT_MISSING


def test_what_the_client_never_loads() -> None:
    """Large libraries that only other, short processes need."""
    code = (
        "import sys, agent.desktop, agent.linux.tray, agent.linux.session_watcher\n"
        "print(*({'keyring', 'secretstorage', 'cryptography', 'tkinter', 'logging.handlers'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
