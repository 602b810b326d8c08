"""Put users and PCs into the database of an installation, in a process of its own.

The process of the tests may have Django set up for another database.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import django

from server import clock, config
from tests.support.installation import Installation
from tests.support.places import ROOT

ADMINISTRATOR = "kanri"
PASSWORD = "Correct-Horse7"
SHOW = """
user tanaka "田中 一郎"
user sato "佐藤 花子" must_change_password
user suzuki "鈴木 次郎"
user takahashi "高橋 三郎" disabled
user watanabe "渡辺 美咲"
device tanaka DESKTOP-8F3K2Q waiting
device tanaka 総務部ノートPC waiting old
device tanaka OLD-LAPTOP blocked
device sato SATO-PC waiting
device sato SATO-NOTE old
device suzuki DESKTOP-11AA22 waiting old
device watanabe KEIRI-05 ended
device watanabe KEIRI-06 unseen
device suzuki EIGYO-NOTE unseen old failed
events
"""
"""An account with one of every kind, for pictures."""


def seed(installation: Installation, *commands: str) -> None:
    """Run commands on the installation's database, such as `device OWNER NAME waiting old`."""
    subprocess.run(
        [sys.executable, "-m", "tests.support.browser_seed", *commands],
        cwd=ROOT,
        env=installation.environment(),
        check=True,
    )


def user(name: str, display_name: str = "", *flags: str) -> None:
    """Make a user with PASSWORD: `administrator`, `disabled`, `must_change_password`."""
    from server.console import passwords
    from server.console.models import Account, User

    made = User(account=Account.objects.get(), username=name, display_name=display_name)
    passwords.set_initial(made, PASSWORD, must_change="must_change_password" in flags)
    made.is_active = "disabled" not in flags
    made.role = User.Role.ADMINISTRATOR if "administrator" in flags else User.Role.GENERAL
    made.save()


def device(owner: str, name: str, *states: str) -> None:
    """Make a PC of a user that never talked to the gateway."""
    from server.console.models import Device, PasswordChange, PushDelivery, User
    from tests.support.gateway_client import describe, new_key
    from tests.support.server_fixtures import live_gateway

    now, known = clock.now(), describe(new_key())
    made = Device(
        user=User.objects.get(username=owner),
        device_id=known.id,
        public_key=known.public_key,
        name=name,
        os="Windows 11 Pro 24H2",
        version="0.1.0",
        last_seen_at=now - timedelta(minutes=7),
    )
    if "waiting" in states:
        made.waiting_since, made.gateway, made.last_seen_at = now, live_gateway(), now
    if "old" in states:
        made.login_password, made.login_valid_until = "old", now + timedelta(days=12)
        made.warned, made.warned_at, made.warned_days_left = Device.WarningOutcome.SHOWN, now, 12
    if "ended" in states:
        made.login_password, made.login_valid_until = "old", now - timedelta(days=2)
    if "blocked" in states:
        made.blocked_at = now
    if "unseen" in states:
        made.last_seen_at = now - timedelta(days=45)
    made.save()
    if "failed" in states:
        change = PasswordChange.objects.create(
            user=made.user,
            kind=PasswordChange.Kind.OWN,
            old_valid_until=now + timedelta(days=12),
        )
        PushDelivery.objects.create(
            change=change,
            device=made,
            outcome=PushDelivery.Outcome.FAILED,
            outcome_at=now,
            failure="refused",
        )


def pairing(code: str, name: str) -> None:
    """Make a new PC that shows a code, on no gateway."""
    from server.console.models import Pairing
    from tests.support.gateway_client import describe, new_key

    known = describe(new_key())
    Pairing.objects.create(
        code=code,
        device_id=known.id,
        public_key=known.public_key,
        name=name,
        os="Windows 11 Pro 24H2",
        version="0.1.0",
        address="192.0.2.17",
        expires_at=clock.now() + timedelta(minutes=10),
    )


def events() -> None:
    """Record a change and a forced one of tanaka's password."""
    from server.console import audit
    from server.console.models import User

    tanaka = User.objects.get(username="tanaka")
    audit.record(
        audit.Action.PASSWORD_CHANGED,
        actor=tanaka,
        subject=tanaka,
        address="192.0.2.17",
        pushed_to=["DESKTOP-8F3K2Q"],
    )
    audit.record(
        audit.Action.PASSWORD_FORCED,
        actor=User.objects.get(username=ADMINISTRATOR),
        subject=tanaka,
        address="192.0.2.9",
        must_change=True,
    )


COMMANDS: dict[str, Callable[..., None]] = {
    "user": user,
    "device": device,
    "pairing": pairing,
    "events": events,
}


def main() -> None:
    config.use(config.load())
    django.setup(set_prefix=False)
    for line in "\n".join(sys.argv[1:]).splitlines():
        if words := shlex.split(line):
            COMMANDS[words[0]](*words[1:])


if __name__ == "__main__":
    main()
