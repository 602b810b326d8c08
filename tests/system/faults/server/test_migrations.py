"""A database of the first release, with everything in it, is brought up to date and works."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nacl.public import PublicKey, SealedBox

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client, describe, new_key
from tests.support.installation import P1, P2, P3, Installation, verifier
from tests.support.places import ROOT

FIRST = ROOT / "server" / "console" / "migrations" / "0001_initial.py"
CHANGE = "0123456789abcdef0123456789abcdef"
NOW = datetime.now(UTC)
UNTIL = NOW + timedelta(days=20)


def test_the_first_migration_is_as_it_was_released() -> None:
    """There are databases that it has made: what is to change goes into a migration of its own."""
    content = FIRST.read_text("utf-8").encode()
    assert hashlib.sha256(content).hexdigest() == (
        "541e5600e085d305d886917697d95c306aa7d5c642c10309f4c927b9c187dbd6"
    )


MIGRATE = """
from django.core.management import call_command
for app in (["contenttypes"], ["auth"], ["sessions"], ["axes"], ["console", "0001"]):
    call_command("migrate", *app, verbosity=0)
"""


@pytest.fixture
def released(empty_installation: Installation) -> Installation:
    """Return an empty installation with the schema of the first release."""
    empty_installation.directory.mkdir(parents=True, exist_ok=True)
    empty_installation.django("shell", "--verbosity=0", "--command", MIGRATE)
    return empty_installation


def rows_of_a_year(device: messages.Device) -> list[tuple[str, dict[str, Any]]]:
    """Return what a year of use leaves, table and row, as the first release wrote it."""
    sealed = messages.SealedPassword(change_id=CHANGE, device_id=device.id, password=P2)
    box = SealedBox(PublicKey(b64decode(device.public_key))).encrypt(messages.encode(sealed))
    user = {"account_id": 1, "last_login": NOW, "display_name": "田中", "is_active": True,
            "must_change_password": False, "password_changed_at": NOW, "session_epoch": 3,
            "created_at": NOW}  # fmt: skip
    return [
        ("account", {"id": 1, "name": "ACME", "created_at": NOW}),
        ("user", {"id": 1, "username": "admin", "password": verifier(P3), **user,
                  "role": "administrator"}),
        ("user", {"id": 2, "username": "tanaka", "password": verifier(P2), **user,
                  "role": "general"}),
        ("retiredpassword", {"id": 1, "user_id": 2, "verifier": verifier(P1), "retired_at": NOW,
                             "since": NOW - timedelta(days=300), "valid_until": UNTIL}),
        ("device", {"id": 1, "user_id": 2, "device_id": device.id, "name": device.name,
                    "public_key": device.public_key, "os": device.os, "version": device.version,
                    "address": "192.0.2.1", "first_seen_at": NOW, "last_seen_at": NOW,
                    "waiting_since": NOW, "gateway": "gateway", "login_password": "old",
                    "login_valid_until": UNTIL, "warned": "shown", "warned_at": NOW,
                    "warned_days_left": 20, "blocked_at": None}),
        ("passwordchange", {"id": CHANGE, "user_id": 2, "changed_by_id": 2, "kind": "own",
                            "changed_at": NOW, "old_valid_until": UNTIL}),
        ("pendingchange", {"id": 1, "change_id": CHANGE, "device_id": 1, "outcome": "pending",
                           "outcome_at": None, "failure": "vault",
                           "sealed": b64encode(box).decode()}),
        ("auditevent", {"id": 1, "at": NOW, "account_id": 1, "actor_id": 2, "subject_id": 2,
                        "actor_name": "tanaka", "subject_name": "tanaka", "address": "192.0.2.1",
                        "action": "password.changed", "detail": '{"pushed_to": ["PC-1"]}'}),
        ("serversecret", {"name": "made-up-salt", "value": bytes(32), "created_at": NOW}),
    ]  # fmt: skip


def fill(installation: Installation, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Write the rows."""
    for table, values in rows:
        columns, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        statement = f"INSERT INTO console_{table} ({columns}) VALUES ({marks})"
        installation.query(statement, *values.values())
        if installation.database and values.get("id") in {1, 2}:
            # A row that brings its own number does not move the sequence.
            installation.query(f"ALTER TABLE console_{table} ALTER COLUMN id RESTART WITH 100")


async def test_data_of_the_first_release(released: Installation) -> None:
    """Nothing is lost, the old password still lets the PC in, and the push arrives."""

    def counted() -> dict[str, int]:
        count = "SELECT count(*) FROM console_"
        return {table: released.query(count + table)[0][0] for table, _ in rows[:-1]}

    key = new_key()
    rows = rows_of_a_year(describe(key))
    fill(released, rows)
    before = counted()
    with released.serving() as server:
        assert counted() == before
        secret = "SELECT value FROM console_serversecret WHERE name = 'made-up-salt'"
        assert [bytes(value) for (value,) in released.query(secret)] == [bytes(32)]
        async with Client(server.gateway, key=key) as client:
            welcome = await client.log_in("tanaka", P1)
            assert (welcome.password, welcome.valid_until) == ("old", UNTIL)
            await client.takes("tanaka", P2)
            with Browser(server.console) as browser:
                assert not browser.log_in("tanaka", P1)
                assert browser.log_in("tanaka", P2)
                assert "PC-1" in browser.open("/").text
                browser.change_password(P2, "F0urth+4th")
            with server.browser("admin", P3) as browser:
                assert "田中" in browser.open("/users/?q=田 中").text
                assert "192.0.2.1" in browser.open("/audit/").text
            await client.expect(messages.PasswordChanged)
    outcomes = released.query("SELECT outcome FROM console_pendingchange ORDER BY id")
    assert outcomes == [("applied",), ("pending",)]


def test_migrations_are_complete(installation: Installation) -> None:
    """The models say nothing that no migration does."""
    installation.django("makemigrations", "--check", "--dry-run")
