"""The administrators' start page: which PCs need action, as a chart and as lists."""

from __future__ import annotations

import re
from datetime import timedelta

from django.test import Client

from server import clock
from server.console.models import Device, PasswordChange, PushDelivery, User
from tests.support.console_client import page
from tests.support.server_fixtures import MakeDevice

Outcome = PushDelivery.Outcome


def old(days: float) -> dict[str, object]:
    return {"login_password": "old", "login_valid_until": clock.now() + timedelta(days=days)}


def push(device: Device, outcome: str, failure: str = "") -> None:
    change = PasswordChange.objects.create(
        user=device.user, kind=PasswordChange.Kind.OWN, old_valid_until=clock.now()
    )
    PushDelivery.objects.create(change=change, device=device, outcome=outcome, failure=failure)


def bars(text: str) -> dict[str, tuple[int, int]]:
    """Return the chart: where each link leads, the number beside it, and the length of its bar."""
    found = re.findall(
        r'<a href="([^"]+)">[^<]+</a>\s*<svg.+?<rect width="(\d+)%" height="12".+?<strong>(\d+) PC',
        text,
        re.DOTALL,
    )
    return {address: (int(count), int(percent)) for address, percent, count in found}


def test_nothing_needs_action(
    client: Client, mine: Client, user: User, stranger: User, make_device: MakeDevice
) -> None:
    """Without old passwords and lost PCs there is neither chart nor list.

    Other accounts' PCs do not count, odd filters show no PC, general users have no such part.
    """
    make_device(user)
    make_device(stranger, waiting=False, last_seen_at=clock.now() - timedelta(days=99), **old(-1))
    text = page(client.get("/"))
    assert "Nothing. No PC is on an old password" in text
    assert bars(text) == {}
    assert "No PC is on an old password" in page(client.get("/old-passwords/"))
    assert "Each PC has been seen lately" in page(client.get("/pcs/unseen/"))
    assert "What needs action" not in page(mine.get("/"))
    for query in ("left=nonsense", "left=%00", "left=failed&page=x"):
        assert "No PC matches" in page(client.get(f"/old-passwords/?{query}"))


def test_chart_and_lists(client: Client, user: User, make_device: MakeDevice) -> None:
    """Each bar of the chart has the number of PCs on the page that the bar leads to."""
    for days in (-1, 0.5, 6, 10, 12, 25, 26, 29):
        make_device(user, name=f"PC-{days}", **old(days))
    make_device(user, name="PC-BLOCKED", blocked_at=clock.now(), **old(2))
    long_ago = clock.now() - timedelta(days=31)
    make_device(user, name="PC-LOST", waiting=False, last_seen_at=long_ago)
    make_device(user, name="PC-HERE", last_seen_at=long_ago)
    for outcome, failure in (
        (Outcome.FAILED, "unreadable"),
        (Outcome.PENDING, "vault"),
        (Outcome.PENDING, ""),
        (Outcome.SUPERSEDED, "vault"),
    ):
        push(make_device(user, name=f"PC-{outcome}-{failure}", **old(28)), outcome, failure)
    push(make_device(user, name="PC-MENDED"), Outcome.FAILED, "refused")
    text = page(client.get("/"))
    assert bars(text) == {
        "/old-passwords/?left=ended": (1, 14),
        "/old-passwords/?left=week": (2, 29),
        "/old-passwords/?left=fortnight": (2, 29),
        "/old-passwords/?left=later": (7, 100),
        "/old-passwords/?left=failed": (2, 29),
        "/pcs/unseen/": (1, 14),
    }
    for address, (count, _) in bars(text).items():
        assert page(client.get(address)).count('data-label="PC"') == count, address
    assert "the PC could not store it" in text
    assert "PC-BLOCKED" not in text
    assert "PC-MENDED" not in text
    saved = client.get("/old-passwords.csv?left=failed").getvalue().decode("utf-8-sig")
    assert len(saved.splitlines()) == 3
