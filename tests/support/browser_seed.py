"""Put users and PCs into an installation's database, in a separate process.

The tests' own process may use Django with another database.
"""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import Any

from server import clock
from tests.support.installation import Installation

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
"""An account with users and PCs of every kind, for pictures."""


def seed(installation: Installation, *commands: str) -> None:
    """Run commands on the installation's database, such as `device OWNER NAME waiting old`."""
    words = (shlex.split(line) for line in "\n".join(commands).splitlines())
    calls = "; ".join(f"{name}(*{arguments})" for name, *arguments in filter(None, words))
    code = f"from tests.support.browser_seed import device, events, pairing, user; {calls}"
    installation.django("shell", "--verbosity=0", "--command", code)


def user(name: str, display_name: str = "", *flags: str) -> None:
    """Make a user with PASSWORD: `administrator`, `disabled`, `must_change_password`."""
    from server.console import passwords
    from server.console.models import Account, User

    made = User(account=Account.objects.get(), username=name, display_name=display_name)
    passwords.set_initial(made, PASSWORD, must_change="must_change_password" in flags)
    made.is_active = "disabled" not in flags
    made.role = User.Role.ADMINISTRATOR if "administrator" in flags else User.Role.GENERAL
    made.save()


def _machine(name: str) -> dict[str, Any]:
    from tests.support.gateway_client import describe, new_key

    known = describe(new_key())
    names = {"name": name, "os": "Windows 11 Pro 24H2", "version": "0.1.0"}
    return names | {"device_id": known.id, "public_key": known.public_key}


def device(owner: str, name: str, *states: str) -> None:
    """Make a user's PC, which has never connected to the gateway."""
    from server.console.models import Device, User
    from tests.support.server_fixtures import live_gateway

    now = clock.now()
    until = now + timedelta(days=12)
    fields: dict[str, dict[str, Any]] = {
        "waiting": {"waiting_since": now, "gateway": live_gateway(), "last_seen_at": now},
        "old": {
            "login_password": "old",
            "login_valid_until": until,
            "warned": "shown",
            "warned_at": now,
            "warned_days_left": 12,
        },
        "ended": {"login_password": "old", "login_valid_until": now - timedelta(days=2)},
        "blocked": {"blocked_at": now},
        "unseen": {"last_seen_at": now - timedelta(days=45)},
        "failed": {},
    }
    made = Device(user=User.objects.get(username=owner), **_machine(name))
    made.last_seen_at = now - timedelta(minutes=7)
    for state in states:
        for field, value in fields[state].items():
            setattr(made, field, value)
    made.save()
    if "failed" in states:
        change = made.user.password_changes.create(kind="own", old_valid_until=until)
        change.deliveries.create(device=made, outcome="failed", outcome_at=now, failure="refused")


def pairing(code: str, name: str) -> None:
    """Make a new PC's code, which no gateway serves."""
    from server.console.models import Pairing

    end = clock.now() + timedelta(minutes=10)
    Pairing.objects.create(code=code, address="192.0.2.17", expires_at=end, **_machine(name))


def events() -> None:
    """Add audit events: a change and a forced change of tanaka's password."""
    from server.console.audit import Action, record
    from server.console.models import User

    tanaka, by = (User.objects.get(username=name) for name in ("tanaka", ADMINISTRATOR))
    about: dict[str, Any] = {"subject": tanaka, "address": "192.0.2.17"}
    record(Action.PASSWORD_CHANGED, actor=tanaka, pushed_to=["DESKTOP-8F3K2Q"], **about)
    record(Action.PASSWORD_FORCED, actor=by, must_change=True, **about)
