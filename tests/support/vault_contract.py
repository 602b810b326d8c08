"""Tests for every vault: subclass VaultContract, and make the vault in a fixture."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.core.credentials import MAX_UTF16_UNITS, Credentials, Identity, Pending
from agent.core.failure import Reason
from agent.ports import Vault, VaultError
from protocol.sealing import new_device_key
from protocol.text import utf16_units

TANAKA = Identity(server="wss://gw.example.com/gateway", user="tanaka")
SUZUKI = Identity(server="wss://gw.example.com/gateway", user="suzuki")
ELSEWHERE = Identity(server="wss://gw.example.org:8443/gateway", user="tanaka")
SHOUTING = Identity(server="wss://gw.example.com/gateway", user="TANAKA")

ODD_NAMES = ["a@b.example.com", "姓 名", 'quo"te', "back\\slash", "per%cent*star?", "x" * 64, "😀"]
ODD_PASSWORDS = ["日本語のパスワード", "😀 emoji", "q\"u\\o'te", " lead and trail ", "\x01"]


def record(password: str = "Passw0rd!") -> Credentials:  # noqa: S107 - made up
    return Credentials(password=password, device_key=new_device_key())


def longest_record() -> Credentials:
    """Return a record as long as a vault has to keep."""
    one = record("p")
    return record("p" * (1 + MAX_UTF16_UNITS - utf16_units(one.encode())))


class VaultContract:
    """The fixture `vault` is empty. `second`, `plant` and `stored` use the same store."""

    @pytest.fixture
    def vault(self) -> Vault:
        raise NotImplementedError

    def second(self, vault: Vault) -> Vault:
        """Return another vault on the same store, as in another process."""
        raise NotImplementedError

    def plant(self, vault: Vault, identity: Identity, text: str) -> None:
        """Put `text` where the vault keeps the entry of `identity`."""
        raise NotImplementedError

    def stored(self, vault: Vault) -> list[str]:
        """Return all secrets in the store."""
        raise NotImplementedError

    def test_gives_back_what_was_written(self, vault: Vault) -> None:
        """Another process reads every field, with any characters in the password."""
        assert vault.read(TANAKA) is None
        for password in ODD_PASSWORDS:
            pending = Pending(change_id="0" * 32, password=password[::-1])
            written = replace(record(password), pending=pending, refused="expired")
            vault.write(TANAKA, written)
            assert self.second(vault).read(TANAKA) == written

    def test_replaces_and_leaves_no_older_copy(self, vault: Vault) -> None:
        """A new password replaces the old one and leaves no copy."""
        for number in range(3):
            vault.write(TANAKA, record(f"old-{number}"))
        vault.write(TANAKA, record("newest"))
        stored = self.stored(vault)
        assert len(stored) == 1
        assert "newest" in stored[0]
        assert not any("old-" in text for text in stored)

    def test_keeps_identities_apart(self, vault: Vault) -> None:
        """Entries are separate for each server and user, also by case."""
        everybody = [TANAKA, SUZUKI, ELSEWHERE, SHOUTING]
        records = {each: record(f"{n}-secret") for n, each in enumerate(everybody)}
        for identity, its in records.items():
            vault.write(identity, record("first"))
            vault.write(identity, its)
        assert {each: vault.read(each) for each in everybody} == records
        vault.delete(TANAKA)
        assert vault.read(TANAKA) is None
        for identity in everybody[1:]:
            assert vault.read(identity) == records[identity]
        assert len(self.stored(vault)) == 3

    def test_takes_any_user_name(self, vault: Vault) -> None:
        """A user name may have any characters. Deleting an entry twice is no error."""
        for name in ODD_NAMES:
            identity = Identity(server=TANAKA.server, user=name)
            vault.write(identity, record("one"))
            vault.write(identity, newest := record("two"))
            assert vault.read(identity) == newest
            for _ in range(2):
                vault.delete(identity)
                assert vault.read(identity) is None
                assert self.stored(vault) == []

    def test_the_longest_record(self, vault: Vault) -> None:
        """1,280 UTF-16 units can be written and replaced; a longer record leaves the old one."""
        longest = longest_record()
        for _ in range(2):
            vault.write(TANAKA, longest)
        with pytest.raises(VaultError) as caught:
            vault.write(TANAKA, replace(longest, refused="expired"))
        assert caught.value.reason is Reason.VAULT_BROKEN
        assert "ppp" not in str(caught.value)
        assert vault.read(TANAKA) == longest

    @pytest.mark.parametrize("text", ["not ours", '{"password": "hidden-word"}', "[]"])
    def test_an_entry_that_is_not_ours(self, vault: Vault, text: str) -> None:
        """An entry that is not ours is reported and kept, and can be replaced or deleted."""
        self.plant(vault, TANAKA, text)
        with pytest.raises(VaultError) as caught:
            vault.read(TANAKA)
        assert caught.value.reason is Reason.VAULT_BROKEN
        assert "hidden-word" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert self.stored(vault) == [text]
        vault.write(TANAKA, written := record())
        assert vault.read(TANAKA) == written
        self.plant(vault, TANAKA, text)
        vault.delete(TANAKA)
        assert self.stored(vault) == []
