"""The vault on the Credential Manager of Windows."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

from collections.abc import Iterator
from typing import Any

import pytest
import pywintypes
import win32cred
import winerror

from agent.core.credentials import Identity
from agent.core.failure import Reason
from agent.desktop import open_vault
from agent.ports import Vault, VaultError
from agent.vault import service_name
from tests.support.vault_contract import TANAKA, VaultContract, longest_record, record


def credentials() -> list[dict[str, Any]]:
    """Return all entries of the client in the Credential Manager."""
    try:
        found = list(win32cred.CredEnumerate(None, 0) or [])
    except pywintypes.error as exc:
        if exc.winerror != winerror.ERROR_NOT_FOUND:
            raise
        return []
    return [each for each in found if "coconowork client: " in each["TargetName"]]


def put(target: str, user: str, blob: str) -> None:
    """Write an entry to the Credential Manager."""
    credential = {
        "Type": win32cred.CRED_TYPE_GENERIC,
        "TargetName": target,
        "UserName": user,
        "CredentialBlob": blob,
        "Persist": win32cred.CRED_PERSIST_LOCAL_MACHINE,
    }
    win32cred.CredWrite(credential, 0)


class TestCredentialManager(VaultContract):
    @pytest.fixture
    def vault(self) -> Iterator[Vault]:
        yield open_vault()
        for credential in credentials():
            win32cred.CredDelete(credential["TargetName"], credential["Type"])

    def second(self, vault: Vault) -> Vault:
        return open_vault()

    def plant(self, vault: Vault, identity: Identity, text: str) -> None:
        put(service_name(identity), identity.user, text)

    def stored(self, vault: Vault) -> list[str]:
        return [each["CredentialBlob"].decode("utf-16-le") for each in credentials()]

    def test_stays_on_this_machine(self, vault: Vault) -> None:
        """An entry stays on this PC and does not roam."""
        vault.write(TANAKA, record())
        vault.write(TANAKA, longest_record())
        (credential,) = credentials()
        assert credential["Persist"] == win32cred.CRED_PERSIST_LOCAL_MACHINE
        assert credential["UserName"] == TANAKA.user

    def test_removes_what_a_crash_left(self, vault: Vault) -> None:
        """An old password, left by a kill between two writes, is removed."""
        vault.write(TANAKA, record("new"))
        put(f"{TANAKA.user}@{service_name(TANAKA)}", TANAKA.user, "the old password")
        found = open_vault().read(TANAKA)
        assert found is not None
        assert found.password == "new"
        assert len(credentials()) == 1

    def test_bytes_that_are_no_text(self, vault: Vault) -> None:
        """An entry that is no text is reported as broken, and can be replaced."""
        put(service_name(TANAKA), TANAKA.user, "\udcff\udcfe")
        with pytest.raises(VaultError) as caught:
            vault.read(TANAKA)
        assert caught.value.reason is Reason.VAULT_BROKEN
        vault.write(TANAKA, record("new"))
        found = vault.read(TANAKA)
        assert found is not None
        assert found.password == "new"
