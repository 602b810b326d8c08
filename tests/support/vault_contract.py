"""Test what every vault promises: subclass VaultContract and say how to make a vault."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.core.credentials import (
    MAX_UTF16_UNITS,
    Credentials,
    Identity,
    Pending,
    encode_credentials,
)
from agent.core.failure import Reason
from agent.ports import Vault, VaultError
from protocol.sealing import new_device_key
from protocol.text import utf16_units

TANAKA = Identity(server="wss://gw.example.com/gateway", user="tanaka")
SUZUKI = Identity(server="wss://gw.example.com/gateway", user="suzuki")
ELSEWHERE = Identity(server="wss://gw.example.org:8443/gateway", user="tanaka")
SHOUTING = Identity(server="wss://gw.example.com/gateway", user="TANAKA")

ODD_NAMES = ["a@b.example.com", "姓 名", 'quo"te', "back\\slash", "per%cent*star?", "x" * 64, "😀"]
ODD_PASSWORDS = [
    "Passw0rd!",
    "日本語のパスワード",
    "😀 emoji",
    "q\"u\\o'te",
    " lead and trail ",
    "\x01",
]


def record(password: str = "Passw0rd!") -> Credentials:  # noqa: S107 - made up
    return Credentials(password=password, device_key=new_device_key())


def longest_record() -> Credentials:
    """Return a record as long as a vault has to keep."""
    one = record("p")
    return record("p" * (1 + MAX_UTF16_UNITS - utf16_units(encode_credentials(one))))


class VaultContract:
    """The fixture `vault` is empty. `second`, `plant` and `stored` look at the same store."""

    @pytest.fixture
    def vault(self) -> Vault:
        raise NotImplementedError

    def second(self, vault: Vault) -> Vault:
        """Return another vault on the same store, as another process has it."""
        raise NotImplementedError

    def plant(self, vault: Vault, identity: Identity, text: str) -> None:
        """Put `text` where the vault keeps the entry of `identity`."""
        raise NotImplementedError

    def stored(self, vault: Vault) -> list[str]:
        """Return all secrets that the store holds."""
        raise NotImplementedError

    def test_an_empty_vault_has_nothing(self, vault: Vault) -> None:
        """Reading an entry that does not exist returns None."""
        assert vault.read(TANAKA) is None

    @pytest.mark.parametrize("password", ODD_PASSWORDS)
    def test_gives_back_what_was_written(self, vault: Vault, password: str) -> None:
        """Every field is kept, with any characters in the password."""
        written = replace(
            record(password),
            pending=Pending(change_id="0" * 32, password=password[::-1]),
            refused="expired",
        )
        vault.write(TANAKA, written)
        assert vault.read(TANAKA) == written

    def test_another_process_reads_it(self, vault: Vault) -> None:
        """A written entry can be read by another process."""
        written = record()
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

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_takes_any_user_name(self, vault: Vault, name: str) -> None:
        """A user name may have any characters."""
        identity = Identity(server=TANAKA.server, user=name)
        vault.write(identity, record("one"))
        vault.write(identity, record("two"))
        found = vault.read(identity)
        assert found is not None
        assert found.password == "two"
        vault.delete(identity)
        assert self.stored(vault) == []

    def test_delete_leaves_nothing(self, vault: Vault) -> None:
        """A deleted entry is gone, and can be deleted again."""
        vault.write(TANAKA, record("one"))
        vault.write(TANAKA, record("two"))
        vault.delete(TANAKA)
        assert vault.read(TANAKA) is None
        assert self.stored(vault) == []
        vault.delete(TANAKA)

    def test_keeps_the_longest_record(self, vault: Vault) -> None:
        """The longest record, 1,280 UTF-16 units, can be written and replaced."""
        longest = longest_record()
        vault.write(TANAKA, longest)
        vault.write(TANAKA, longest)
        assert vault.read(TANAKA) == longest

    def test_refuses_a_longer_record_and_keeps_the_old(self, vault: Vault) -> None:
        """A record that is too long is refused, and the old one stays."""
        before = record()
        vault.write(TANAKA, before)
        too_long = replace(longest_record(), refused="expired")
        with pytest.raises(VaultError) as caught:
            vault.write(TANAKA, too_long)
        assert caught.value.reason is Reason.VAULT_BROKEN
        assert "ppp" not in str(caught.value)
        assert vault.read(TANAKA) == before

    @pytest.mark.parametrize("text", ["not ours", "{}", '{"password": "hidden-word"}', "[]"])
    def test_tells_of_an_entry_that_is_not_ours(self, vault: Vault, text: str) -> None:
        """An entry that is not ours is reported, kept, and can be replaced."""
        self.plant(vault, TANAKA, text)
        with pytest.raises(VaultError) as caught:
            vault.read(TANAKA)
        assert caught.value.reason is Reason.VAULT_BROKEN
        assert "hidden-word" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert self.stored(vault) == [text]
        written = record()
        vault.write(TANAKA, written)
        assert vault.read(TANAKA) == written

    def test_deletes_an_entry_that_is_not_ours(self, vault: Vault) -> None:
        """`delete` removes an entry that is not ours, too."""
        self.plant(vault, TANAKA, "not ours")
        vault.delete(TANAKA)
        assert self.stored(vault) == []
