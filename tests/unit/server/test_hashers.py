"""SCRAM verifiers: against the RFC's own example, and as Django uses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.hashers import check_password, make_password
from scramp import ScramClient

from protocol.scram import Verifier
from server import clock
from server.console import hashers, hashing, passwords
from server.console.hashers import (
    ScramSha256Hasher,
    UnusablePassword,
    format_verifier,
    parse_verifier,
    prepare,
)
from server.console.hashing import available_cores
from server.console.models import User
from tests.support.server_fixtures import P1, P2


def test_format_and_parse() -> None:
    """A formatted verifier parses to the same value, and fits the database column."""
    verifier = Verifier(10_000_000, b"\xff" * 32, b"\xfe" * 32, b"\xfd" * 32)
    text = format_verifier(verifier)
    assert parse_verifier(text) == verifier
    assert len(text) <= 256


@pytest.mark.parametrize(
    "text",
    ["scram_sha256$600000$AAAA$AAAA", "pbkdf2_sha256$1$a$b$c", "scram_sha256$x$AA==$AA==$AA=="],
)
def test_parse_refuses(text: str) -> None:
    """Text that is not exactly a verifier is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - binascii's as well
        parse_verifier(text)


def test_django_hashes_and_checks() -> None:
    """Django's own functions hash and check, with the 600,000 rounds that clients insist on."""
    encoded = make_password(P1)
    assert encoded.startswith("scram_sha256$600000$")
    assert check_password(P1, encoded)
    assert not check_password(P2, encoded)
    # Full-width and half-width letters are one password, for the console and for a client.
    wide = "".join(chr(ord(char) + 0xFEE0) for char in P1)
    assert check_password(wide, encoded)
    assert ScramClient(["SCRAM-SHA-256"], "u", wide).password.password == P1
    assert encoded.split("$")[3] not in repr(parse_verifier(encoded))


@pytest.mark.parametrize("password", ["", "\ud800", "x" * 1025])
def test_unusable_passwords(password: str, user: User) -> None:
    """A password that no client can send cannot be set; at a login it is a wrong password."""
    with pytest.raises(UnusablePassword):
        prepare(password)
    with pytest.raises(UnusablePassword):
        passwords.set_initial(User(), password, must_change=False)
    with pytest.raises(UnusablePassword):
        passwords.change_own(user, new_password=password, push_to=[])
    assert not user.check_password(password)


@pytest.fixture
def more_rounds() -> Iterator[int]:
    """Raise the number of rounds, as a later version may. Yield the number."""
    rounds = hashers.ITERATIONS + 1000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashers, "ITERATIONS", rounds)
        patch.setattr(ScramSha256Hasher, "iterations", rounds)
        yield rounds


def test_rounds_are_raised_when_nothing_old_is_valid(user: User, more_rounds: int) -> None:
    """The next right password on the console makes a verifier with the raised rounds."""
    before = parse_verifier(user.password)
    since = user.password_changed_at
    assert not user.check_password(P2)
    assert parse_verifier(User.objects.get(pk=user.pk).password) == before
    assert user.check_password(P1)
    row = User.objects.get(pk=user.pk)
    after = parse_verifier(row.password)
    assert after.iterations == more_rounds
    assert after.salt != before.salt
    assert row.password == user.password
    assert row.password_changed_at == since
    assert row.check_password(P1)


def test_rounds_stay_while_an_old_password_is_valid(user: User, more_rounds: int) -> None:
    """All verifiers of a user share salt and count, so that one proof fits them all."""
    before = parse_verifier(user.password)
    passwords.change_own(user, new_password=P2, push_to=[])
    assert user.check_password(P2)
    row = User.objects.get(pk=user.pk)
    assert parse_verifier(row.password).shares_salt(before)
    clock.move(passwords.GRACE)
    assert row.check_password(P2)
    assert parse_verifier(User.objects.get(pk=user.pk).password).iterations == more_rounds
    assert row.retired_passwords.count() == 0


def test_raising_the_rounds_does_not_undo_a_change(user: User, more_rounds: int) -> None:
    """A check that began before a change does not restore the earlier password's verifier."""
    stale = User.objects.get(pk=user.pk)
    passwords.change_own(user, new_password=P2, push_to=[])
    clock.move(passwords.GRACE)
    assert stale.check_password(P1)
    assert User.objects.get(pk=user.pk).password == user.password


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/", {"cpu.max": "%d 100000\n"}),  # a container
        ("0::/a.slice/b.service", {"a.slice/b.service/cpu.max": "%d 100000"}),  # CPUQuota=
        ("0::/a.slice/b.service", {"a.slice/cpu.max": "%d 100000", "cpu.max": "max 100000"}),
    ],
)
def test_cores_within_a_quota(tmp_path: Path, own: str, files: dict[str, str]) -> None:
    """A CPU quota of 1.5 cores counts as two, at most the cores of the machine."""
    line = tmp_path / "own"
    line.write_text(f"{own}\n")
    of_machine = available_cores(tmp_path / "nothing", line)
    for quota, cores in ((50_000, 1), (150_000, 2)):
        for name, text in files.items():
            file = tmp_path / "mounted" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text % quota if "%" in text else text)
        assert available_cores(tmp_path / "mounted", line) == min(cores, of_machine)
    assert available_cores(tmp_path, tmp_path / "none") == of_machine
    assert hashing._executor._max_workers == available_cores(), "no more hash at once"
