"""A database of the first release, with everything in it, is brought up to date and works."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

import pytest
from nacl.public import PublicKey, SealedBox

from protocol import messages
from protocol.messages import SealedPassword, encode
from tests.support.browser import Browser
from tests.support.gateway_client import Client, describe, new_key
from tests.support.installation import P1, P2, P3, Installation, verifier
from tests.support.places import ROOT

FIRST = ROOT / "server" / "console" / "migrations" / "0001_initial.py"
NUMBERED = ("account", "user", "retiredpassword", "device", "pendingchange", "auditevent")
TABLES = (*NUMBERED, "passwordchange")
CHANGE = "0123456789abcdef0123456789abcdef"
NOW = datetime.now(UTC)
UNTIL = NOW + timedelta(days=20)


def test_the_first_migration_is_as_it_was_released() -> None:
    """There are databases that it has made: what is to change goes into a migration of its own."""
    content = FIRST.read_text("utf-8").encode()
    assert hashlib.sha256(content).hexdigest() == (
        "541e5600e085d305d886917697d95c306aa7d5c642c10309f4c927b9c187dbd6"
    )


@pytest.fixture
def released(empty_installation: Installation) -> Installation:
    """Return an empty installation with the schema of the first release."""
    empty_installation.directory.mkdir(parents=True, exist_ok=True)
    for app in (("contenttypes",), ("auth",), ("sessions",), ("axes",), ("console", "0001")):
        empty_installation.django("migrate", "--verbosity=0", *app)
    return empty_installation


def fill(installation: Installation, device: messages.Device) -> None:
    """Write what a year of use leaves, as the first release wrote it."""
    insert(installation, "account", id=1, name="ACME", created_at=NOW)
    for pk, name, role in ((1, "admin", "administrator"), (2, "tanaka", "general")):
        insert(
            installation,
            "user",
            id=pk,
            account_id=1,
            last_login=NOW,
            password=verifier(P2 if name == "tanaka" else P3),
            username=name,
            display_name="田中",
            role=role,
            is_active=True,
            must_change_password=False,
            password_changed_at=NOW,
            session_epoch=3,
            created_at=NOW,
        )
    insert(
        installation,
        "retiredpassword",
        id=1,
        user_id=2,
        verifier=verifier(P1),
        since=NOW - timedelta(days=300),
        retired_at=NOW,
        valid_until=UNTIL,
    )
    insert(
        installation,
        "device",
        id=1,
        user_id=2,
        device_id=device.id,
        public_key=device.public_key,
        name=device.name,
        os=device.os,
        version=device.version,
        address="192.0.2.1",
        first_seen_at=NOW,
        last_seen_at=NOW,
        waiting_since=NOW,
        gateway="gateway",
        login_password="old",
        login_valid_until=UNTIL,
        warned="shown",
        warned_at=NOW,
        warned_days_left=20,
        blocked_at=None,
    )
    insert(
        installation,
        "passwordchange",
        id=CHANGE,
        user_id=2,
        changed_by_id=2,
        kind="own",
        changed_at=NOW,
        old_valid_until=UNTIL,
    )
    sealed = SealedPassword(change_id=CHANGE, device_id=device.id, password=P2)
    key = PublicKey(b64decode(device.public_key))
    insert(
        installation,
        "pendingchange",
        id=1,
        change_id=CHANGE,
        device_id=1,
        sealed=b64encode(SealedBox(key).encrypt(encode(sealed))).decode(),
        outcome="pending",
        outcome_at=None,
        failure="vault",
    )
    insert(
        installation,
        "auditevent",
        id=1,
        at=NOW,
        account_id=1,
        actor_id=2,
        actor_name="tanaka",
        subject_id=2,
        subject_name="tanaka",
        action="password.changed",
        address="192.0.2.1",
        detail='{"pushed_to": ["PC-1"]}',
    )
    insert(installation, "serversecret", name="made-up-salt", value=bytes(32), created_at=NOW)
    if installation.database:  # rows that brought their own numbers have not moved the sequences
        for table in NUMBERED:
            installation.query(f"ALTER TABLE console_{table} ALTER COLUMN id RESTART WITH 100")


def insert(installation: Installation, table: str, **values: object) -> None:
    columns, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    statement = f"INSERT INTO console_{table} ({columns}) VALUES ({marks})"  # noqa: S608 - ours
    installation.query(statement, *values.values())


def rows(installation: Installation) -> dict[str, int]:
    count = "SELECT count(*) FROM console_"
    return {table: installation.query(count + table)[0][0] for table in TABLES}


async def test_data_of_the_first_release(released: Installation) -> None:
    """Nothing is lost, the old password still lets the PC in, and the push arrives."""
    key = new_key()
    fill(released, describe(key))
    before = rows(released)
    assert set(before.values()) == {1, 2}
    with released.serving() as server:
        assert rows(released) == before
        secret = "SELECT value FROM console_serversecret WHERE name = 'made-up-salt'"
        assert [bytes(value) for (value,) in released.query(secret)] == [bytes(32)]
        async with Client(server.gateway, key=key) as client:
            welcome = await client.log_in("tanaka", P1)
            assert (welcome.password, welcome.valid_until) == ("old", UNTIL)
            pushed = await client.expect(messages.PasswordChanged)
            assert client.open(pushed.sealed)["password"] == P2
            assert (await client.log_in("tanaka", P2)).password == "current"
            with Browser(server.console) as browser:
                assert not browser.log_in("tanaka", P1)
                assert browser.log_in("tanaka", P2)
                assert "PC-1" in browser.open("/").text
                assert "/password/changed/" in browser.change_password(P2, "F0urth+4th").url
            with Browser(server.console) as browser:
                assert browser.log_in("admin", P3)
                assert "田中" in browser.open("/users/?q=田 中").text
                assert "192.0.2.1" in browser.open("/audit/").text
            await client.expect(messages.PasswordChanged)
    assert released.query("SELECT outcome FROM console_pendingchange ORDER BY id") == [
        ("applied",),
        ("pending",),
    ]


def test_migrations_are_complete(installation: Installation) -> None:
    """The models say nothing that no migration does."""
    installation.django("makemigrations", "--check", "--dry-run")
