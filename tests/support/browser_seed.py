"""Put users and PCs into the database of an installation, in a process of its own.

The process of the tests may have Django set up for another database.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import django
from nacl.public import PrivateKey

from server import clock, config
from tests.support.installation import Installation
from tests.support.places import ROOT

if TYPE_CHECKING:
    from server.console.models import Account, Device, User

ADMINISTRATOR = "kanri"
PASSWORD = "Correct-Horse7"


def seed(installation: Installation, *arguments: str) -> str:
    """Run a command of this module on the installation's database. Return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.browser_seed", *arguments],
        cwd=ROOT,
        env=installation.environment(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def main() -> None:
    import os

    config.use(config.load())
    os.environ["DJANGO_SETTINGS_MODULE"] = "server.settings"
    django.setup(set_prefix=False)
    command, *arguments = sys.argv[1:]
    commands: dict[str, Callable[..., None]] = {
        "user": user,
        "administrator": administrator,
        "device": device,
        "show": show,
    }
    commands[command](*arguments)


def user(name: str, display_name: str = "", *flags: str) -> None:
    """Make a general user with PASSWORD; `flags` are names of fields to set to true."""
    from server.console import passwords
    from server.console.models import User

    made = User(account=_account(), username=name, display_name=display_name)
    passwords.set_initial(made, PASSWORD, must_change="must_change_password" in flags)
    made.is_active = "disabled" not in flags
    made.role = User.Role.ADMINISTRATOR if "administrator" in flags else User.Role.GENERAL
    made.save()


def administrator(name: str) -> None:
    """Make an account administrator with PASSWORD."""
    user(name, "", "administrator")


def device(owner: str, name: str, state: str = "") -> None:
    """Make a PC of a user that never talked to the gateway. Print its primary key."""
    from server.console.models import User

    print(_device(User.objects.get(username=owner), name, state).pk)


def _device(owner: User, name: str, state: str) -> Device:
    from server.console.models import Device
    from tests.support.server_fixtures import live_gateway

    key = PrivateKey.generate().public_key
    made = Device(
        user=owner,
        device_id=hashlib.sha256(bytes(key)).digest()[:16].hex(),
        public_key=b64encode(bytes(key)).decode(),
        name=name,
        os="Windows 11 Pro 24H2",
        version="0.1.0",
        last_seen_at=clock.now() - timedelta(minutes=7),
    )
    now = clock.now()
    if "waiting" in state:
        made.waiting_since, made.gateway, made.last_seen_at = now, live_gateway(), now
    if "old" in state:
        made.login_password = "old"
        made.login_valid_until = now + timedelta(days=12)
        made.warned, made.warned_at, made.warned_days_left = Device.WarningOutcome.SHOWN, now, 12
    if "ended" in state:
        made.login_password, made.login_valid_until = "old", now - timedelta(days=2)
    if "blocked" in state:
        made.blocked_at = now
    if "unseen" in state:
        made.last_seen_at = now - timedelta(days=45)
    made.save()
    if "failed" in state:
        _failed_push(made)
    return made


def _failed_push(device: Device) -> None:
    from server.console.models import PasswordChange, PushDelivery

    change = PasswordChange.objects.create(
        user=device.user,
        kind=PasswordChange.Kind.OWN,
        old_valid_until=clock.now() + timedelta(days=12),
    )
    PushDelivery.objects.create(
        change=change,
        device=device,
        outcome=PushDelivery.Outcome.FAILED,
        outcome_at=clock.now(),
        failure="refused",
    )


def show() -> None:
    """Make an account with one of every kind, for pictures."""
    from server.console import audit
    from server.console.models import User

    user("tanaka", "田中 一郎")
    user("sato", "佐藤 花子", "must_change_password")
    user("suzuki", "鈴木 次郎")
    user("takahashi", "高橋 三郎", "disabled")
    user("watanabe", "渡辺 美咲")
    for owner, name, state in (
        ("tanaka", "DESKTOP-8F3K2Q", "waiting"),
        ("tanaka", "総務部ノートPC", "waiting old"),
        ("tanaka", "OLD-LAPTOP", "blocked"),
        ("suzuki", "DESKTOP-11AA22", "waiting old"),
        ("watanabe", "KEIRI-05", "ended"),
        ("watanabe", "KEIRI-06", "unseen"),
        ("suzuki", "EIGYO-NOTE", "unseen old failed"),
    ):
        _device(User.objects.get(username=owner), name, state)
    administrator = User.objects.get(username=ADMINISTRATOR)
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
        actor=administrator,
        subject=tanaka,
        address="192.0.2.9",
        must_change=True,
    )


def _account() -> Account:
    from server.console.models import Account

    return Account.objects.get()


if __name__ == "__main__":
    main()
