"""The new password pushed to a PC that kept an old one, after the change."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.test import Client

from server import clock, config
from server.console import passwords, people
from server.console.models import AuditEvent, Device, PushDelivery, User
from tests.support.console_client import Browse, actions, at_once, change, page, run_before
from tests.support.server_fixtures import P1, P2, P3, MakeDevice, MakeUser

PATH = "/password/push/"
BUTTON = "Apply the new password to this PC"


@pytest.fixture
def device(user: User, make_device: MakeDevice) -> Device:
    """Return a PC that was asleep when the user's password became P2."""
    slept = make_device(user, waiting=False, first_seen_at=clock.now())
    change(user, P2)
    return slept


@pytest.fixture
def mine(browse: Browse, user: User, device: Device) -> Client:
    """Return a browser in which the user has logged in after the change."""
    return browse(user)


def pushes(user: User) -> list[str]:
    return [each.outcome for each in PushDelivery.objects.filter(device__user=user)]


def old(days: float) -> dict[str, object]:
    return {"login_password": "old", "login_valid_until": clock.now() + timedelta(days=days)}


def send(client: Client, *devices: Device, current: str = P2, path: str = PATH) -> str:
    """Send the form. Return the page that comes next."""
    fields = {"device": [each.pk for each in devices], "current_password": current}
    return page(client.post(path, fields, follow=True))


def test_from_the_button_to_the_result(mine: Client, user: User, device: Device) -> None:
    """Each page has the button; the form leads to the result, and the button is gone."""
    made = user.password_changes.get()
    for path in ("/", f"/password/changed/{made.pk}/"):
        text = page(mine.get(path))
        assert f'href="{PATH}?pc={device.pk}"' in text
        assert BUTTON in text
    assert f'value="{device.pk}" checked' in page(mine.get(PATH, {"pc": device.pk}))
    assert "Choose at least one PC." in send(mine)
    assert "Not reached yet" in send(mine, device)
    home = page(mine.get("/"))
    assert "Takes the new password at its next login" in home
    assert BUTTON not in home
    assert pushes(user) == ["pending"]
    event = AuditEvent.objects.get(subject=user, action="push.later")
    assert (event.actor, event.address) == (user, "127.0.0.1")
    assert event.detail == {"pushed_to": ["PC-1"]}
    assert "on its way to it already" in page(mine.get(PATH))


def test_on_the_smartphone(mine: Client, browse: Browse, device: Device) -> None:
    """The smartphone page has the button and shows the push's result; strangers log in first."""
    text = page(mine.get("/app/"))
    assert f'href="/app/push/?pc={device.pk}"' in text
    assert "30 days left" in text
    assert '<li class="warn">' in text
    assert "Takes the new password at its next login" in send(mine, device, path="/app/push/")
    assert browse().get("/app/push/").headers["Location"] == "/app/login/?next=/app/push/"


def update(device: Device, **fields: object) -> None:
    Device.objects.filter(pk=device.pk).update(**fields)


@pytest.mark.parametrize(
    ("happens", "status", "said"),
    [
        (lambda pc: update(pc, blocked_at=clock.now()), 200, "Not possible any more: PC-1"),
        (lambda pc: update(pc, login_password="current"), 200, "Not possible any more: PC-1"),
        (lambda pc: update(pc, login_valid_until=clock.now()), 200, "Not possible any more: PC-1"),
        (lambda pc: Device.objects.filter(pk=pc.pk).delete(), 200, "Not possible any more: PC-1"),
        (lambda pc: change(pc.user, P3), 200, "just been changed elsewhere"),
        (lambda pc: User.objects.filter(pk=pc.user_id).update(is_active=False), 403, "You may not"),
    ],
    ids=["blocked", "updated", "ended", "gone", "changed", "disabled"],
)
def test_what_happens_at_the_same_moment(
    mine: Client,
    device: Device,
    make_device: MakeDevice,
    monkeypatch: pytest.MonkeyPatch,
    *,
    happens: Callable[[Device], object],
    status: int,
    said: str,
) -> None:
    """An event between the password's check and the push: no push, and the page says why."""
    other = make_device(device.user, name="PC-2", **old(9))
    reached = run_before(monkeypatch, passwords, "push_later", lambda *_, **__: happens(device))
    answer = mine.post(PATH, {"device": [device.pk, other.pk], "current_password": P2})
    assert reached
    assert answer.status_code == status
    assert said in answer.content.decode()
    assert pushes(device.user) == []
    assert "push.later" not in actions(device.user)


@pytest.mark.parametrize("other", ["block", "remove", "delete"])
def test_two_people_act_on_one_pc(
    user: User, administrator: User, device: Device, other: str
) -> None:
    """A push and another action at once: both are done, or the push is refused; no deadlock."""
    both = threading.Barrier(2)
    acts: dict[str, Callable[[], object]] = {
        "block": partial(people.set_blocked, device, blocked=True, by=administrator),
        "remove": partial(people.remove_device, device, by=administrator),
        "delete": partial(people.delete, device.user, by=administrator),
    }

    def push() -> bool:
        both.wait()
        try:
            passwords.push_later(user, password=P2, devices=[device])
        except (passwords.NotPushed, User.DoesNotExist):
            return False
        return True

    pushed, _ = at_once([push, lambda: both.wait() >= 0 and bool(acts[other]())])
    assert pushes(user) == (["pending"] if pushed and other == "block" else [])
    assert Device.objects.filter(pk=device.pk).exists() is (other == "block")


def test_nobody_pushes_for_another_user(
    browse: Browse, device: Device, make_user: MakeUser
) -> None:
    """No user, not even an administrator, can push to another user's PC."""
    for by in (make_user(P2), make_user(P2, role=User.Role.ADMINISTRATOR)):
        client = browse(by)
        assert "One of the PCs is not yours." in send(client, device)
        assert f"pc={device.pk}" not in page(client.get(PATH))
    assert BUTTON not in page(client.get(f"/users/{device.user_id}/"))
    assert pushes(device.user) == []


@pytest.mark.parametrize(
    ("outcome", "failure", "renewed"),
    [
        ("pending", "", False),
        ("pending", "vault", True),
        ("failed", "refused", True),
        ("expired", "", True),
    ],
)
def test_a_push_that_is_renewed(
    user: User, device: Device, outcome: str, failure: str, *, renewed: bool
) -> None:
    """Only a push that has ended or failed so far is renewed, with a new box and a new time."""
    passwords.push_later(user, password=P2, devices=[device])
    PushDelivery.objects.update(outcome=outcome, failure=failure, outcome_at=clock.now())
    before = PushDelivery.objects.get(device=device)
    passwords.push_later(user, password=P2, devices=[device])
    after = PushDelivery.objects.get(device=device)
    assert (after.outcome, after.failure) == ("pending", "")
    assert (after.sealed != before.sealed) is renewed
    assert (after.pushed_at > before.pushed_at) is renewed


def test_a_pc_from_after_the_change_is_pointed_out(
    mine: Client, user: User, device: Device, make_device: MakeDevice
) -> None:
    """A PC whose first login was with an old password may be a thief's, so it is not ticked."""
    update(device, login_password="current", login_valid_until=None)
    new = make_device(user, name="NEW", first_seen_at=clock.now(), **old(9))
    text = page(mine.get(PATH))
    assert "for the first time after the password was changed" in text
    assert f'value="{new.pk}" checked' not in text
    assert f'value="{new.pk}" checked' in page(mine.get(PATH, {"pc": new.pk}))


def test_late_delivery_at_a_temporary_password(
    browse: Browse, user: User, administrator: User, make_device: MakeDevice
) -> None:
    """The form after a forced change offers to push to a sleeping PC at its next login."""
    sleeps, left_out = make_device(user, waiting=False), make_device(user, waiting=False)
    waits, off = make_device(user), make_device(user, waiting=False, blocked_at=clock.now())
    passwords.force(user, by=administrator, new_password=P2, must_change=True)
    client = browse(user)
    offered = re.findall(r'name="late" value="(\d+)"', page(client.get("/password/")))
    assert sorted(map(int, offered)) == sorted([sleeps.pk, left_out.pk])
    fields = {"new_password1": P3, "new_password2": P3, "shown": waits.pk}
    wanted = {"push": "on", "device": waits.pk, "late": [sleeps.pk, off.pk]}
    client.post("/password/", fields | wanted)
    found = PushDelivery.objects.filter(device__user=user, outcome="pending")
    assert {each.device for each in found} == {waits, sleeps}


def test_late_delivery_is_not_offered_otherwise(mine: Client, user: User, device: Device) -> None:
    """An ordinary change offers no late push, and a forged form makes none."""
    assert 'name="late"' not in page(mine.get("/password/"))
    fields = {"current_password": P2, "new_password1": P3, "new_password2": P3}
    mine.post("/password/", fields | {"late": device.pk})
    assert pushes(user) == []


def test_preview(browse: Browse, make_user: MakeUser, make_device: MakeDevice) -> None:
    """The preview has three groups: push now, old password until a day, disconnected."""
    user = make_user()
    make_device(user, name="WAITS")
    make_device(user, name="SLEEPS", waiting=False)
    make_device(user, name="OLD", waiting=False, **old(9))
    make_device(user, name="ENDED", waiting=False, **old(-1))
    make_device(user, name="OFF", blocked_at=clock.now())
    client = browse(user)
    for text in (page(client.get("/password/")), client.get("/live/push/").json()["html"]):
        groups = re.split(r"<h3>", text.partition('class="preview"')[2])[1:]
        shown = [re.findall(r"<li(?! [^>]*hidden)[^>]*>([A-Z]+)", group) for group in groups]
        assert shown == [["WAITS"], ["ENDED", "OLD", "SLEEPS"], ["OFF"]]
        assert "(30 days left)" in groups[1]
        assert "(9 days left)" in groups[1]


def test_a_push_ends_with_the_old_password_of_its_pc(user: User, device: Device) -> None:
    """A push ends when its PC's old password ends, although a later old one is still valid."""
    clock.move(timedelta(days=20))
    change(user, P3)
    passwords.push_later(user, password=P3, devices=[device])
    passwords.tidy_up()
    assert pushes(user) == ["pending"]
    clock.move(timedelta(days=11))
    passwords.tidy_up()
    [push] = PushDelivery.objects.filter(device=device)
    assert (push.outcome, push.sealed) == ("expired", "")


def test_a_push_outlives_a_temporary_password(make_user: MakeUser, make_device: MakeDevice) -> None:
    """A late push stays pending although the replaced temporary password has ended."""
    user = make_user(P1)
    device = make_device(user, waiting=False)
    passwords.force(user, by=None, new_password=P2, must_change=True)
    clock.move(timedelta(days=config.current().temporary_password_days))
    passwords.change_own(user, new_password=P3, late=[device])
    passwords.tidy_up()
    assert pushes(user) == ["pending"]
