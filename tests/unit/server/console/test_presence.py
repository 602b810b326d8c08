"""Days left and states of PCs on the pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from protocol.messages import Release
from server import clock, config
from server.console import presence
from server.console.models import User
from server.console.templatetags.console import day, moment
from tests.support.console_client import Browse, change
from tests.support.server_fixtures import P2, P3, MakeDevice, with_settings

NOON = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
"""12:00 in Japan."""


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (timedelta(days=30), "30 days left"),
        (timedelta(hours=12), "1 day left"),
        (timedelta(hours=11, minutes=59), "today is the last day"),
        (timedelta(0), "no longer valid"),
    ],
)
def test_days_left(monkeypatch: pytest.MonkeyPatch, after: timedelta, text: str) -> None:
    """Days left are calendar days in the server's time zone, not spans of 24 hours."""
    monkeypatch.setattr(clock, "now", lambda: NOON)
    with translation.override("en"):
        assert presence.days_left_text(NOON + after) == text


def test_times_on_pages() -> None:
    """Pages show times in the server's time zone, for people and for programs."""
    with translation.override("ja"):
        assert moment(NOON) == '<time datetime="2026-11-23T12:00+0900">2026年11月23日 12:00</time>'
        assert day(NOON) == '<time datetime="2026-11-23">2026年11月23日</time>'
        assert moment(None) == day(None) == "–"


def test_each_pc_has_its_own_end(user: User, make_device: MakeDevice) -> None:
    """A second change does not lengthen the life of the first old password."""
    device = make_device(user)
    change(user, P2)
    first = presence.pcs_of(user)[0]
    clock.move(timedelta(days=10))
    change(user, P3)
    second = presence.pcs_of(user)[0]
    assert first.device == device
    assert (first.password, second.password) == ("old", "old")
    assert first.valid_until == second.valid_until
    clock.move(timedelta(days=21))
    assert presence.pcs_of(user)[0].password == "ended"


def test_newer_versions(
    user: User, make_device: MakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PC with an older client than the newest one is marked, once that is known."""
    for version in ("1.10.0", "1.9", ""):
        make_device(user, name=f"PC {version}", version=version)
    assert not any(pc.newer for pc in presence.pcs_of(user))
    release = Release(version="1.10", url="https://example.com/setup.exe")
    monkeypatch.setattr(config, "_current", with_settings(newest_client=release))
    newer = {pc.device.version: pc.newer for pc in presence.pcs_of(user)}
    assert newer == {"1.10.0": None, "1.9": release, "": release}


def test_order_of_pcs(user: User, make_device: MakeDevice) -> None:
    """Waiting PCs come first, disconnected ones last; a disconnected PC never waits."""
    make_device(user, name="A", blocked_at=clock.now())
    make_device(user, name="B", waiting=False)
    make_device(user, name="C")
    pcs = presence.pcs_of(user)
    assert [pc.device.name for pc in pcs] == ["C", "B", "A"]
    assert [pc.waiting for pc in pcs] == [True, False, False]
    assert [device.name for device in user.devices.reachable()] == ["C"]


@pytest.mark.parametrize(
    ("farewell", "text"),
    [
        ("sleep", "スリープ中(18:02 から)"),
        ("", "未接続(最終接続 18:02、理由の連絡なし)"),
        ("of a later one", "未接続(最終接続 18:02、理由の連絡なし)"),
    ],
)
def test_why_a_pc_does_not_wait(
    browse: Browse,
    user: User,
    make_device: MakeDevice,
    monkeypatch: pytest.MonkeyPatch,
    *,
    farewell: str,
    text: str,
) -> None:
    """Both pages say why and since when a PC does not wait, without the date if it is today."""
    seen_at = datetime(2026, 11, 30, 9, 2, tzinfo=UTC)
    make_device(user, waiting=False, farewell=farewell, last_seen_at=seen_at)
    client = browse(user, language="ja")
    for days, since in ((0, "18:02"), (1, "2026年11月30日 18:02")):
        now = seen_at + timedelta(hours=1, days=days)
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        for path in ("/", "/app/"):
            shown = re.sub("<time[^>]*>|</time>", "", client.get(path).content.decode())
            assert text.replace("18:02", since) in shown
