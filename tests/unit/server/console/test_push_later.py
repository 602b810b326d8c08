"""The new password pushed to a PC that kept an old one, after the change."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.test import Client

from server import clock, config
from server.console import passwords, people
from server.console.hashing import Busy
from server.console.lockout import LIMIT_USER_AND_ADDRESS
from server.console.models import AuditEvent, Device, PushDelivery, User
from tests.support.console_client import Browse, page
from tests.support.server_fixtures import P1, P2, P3, MakeDevice, MakeUser, on_own_connection

Change = Callable[[Device], object]

PATH = "/password/push/"
BUTTON = "Apply the new password to this PC"


@pytest.fixture
def device(user: User, make_device: MakeDevice) -> Device:
    """Return a PC that was asleep when the user's password became P2."""
    slept = make_device(user, waiting=False, first_seen_at=clock.now())
    change(user, P2)
    user.refresh_from_db()
    return slept


def change(user: User, new: str) -> None:
    fresh = User.objects.get(pk=user.pk)
    passwords.change_own(fresh, new_password=new, push_to=[], address=None)


def pushes(user: User) -> list[str]:
    return [each.outcome for each in PushDelivery.objects.filter(device__user=user)]


def send(client: Client, *devices: Device, current: str = P2, path: str = PATH) -> str:
    """Send the form. Return the page that comes next."""
    fields = {"device": [each.pk for each in devices], "current_password": current}
    return page(client.post(path, fields, follow=True))


def test_from_the_button_to_the_result(browse: Browse, user: User, device: Device) -> None:
    """Each page has the button; the form leads to the result, and the button is gone."""
    client, change = browse(user), user.password_changes.get()
    link = f'href="{PATH}?pc={device.pk}"'
    for path in ("/", f"/password/changed/{change.pk}/"):
        text = page(client.get(path))
        assert link in text
        assert BUTTON in text
    form = page(client.get(PATH, {"pc": device.pk}))
    assert f'value="{device.pk}" checked' in form
    assert "Not reached yet" in send(client, device)
    home = page(client.get("/"))
    assert "Takes the new password at its next login" in home
    assert BUTTON not in home
    assert pushes(user) == ["pending"]
    event = AuditEvent.objects.filter(subject=user).first()
    assert event is not None
    assert (event.action, event.actor, event.address) == ("push.later", user, "127.0.0.1")
    assert event.detail == {"pushed_to": ["PC-1"]}
    assert "on its way to it already" in page(client.get(PATH))


def test_on_the_smartphone(browse: Browse, user: User, device: Device) -> None:
    """The smartphone page has the button and shows what becomes of it; a stranger logs in first."""
    client = browse(user)
    text = page(client.get("/app/"))
    assert f'href="/app/push/?pc={device.pk}"' in text
    assert "30 days left" in text
    assert '<li class="warn">' in text
    assert "Takes the new password at its next login" in send(client, device, path="/app/push/")
    assert browse().get("/app/push/").headers["Location"] == "/app/login/?next=/app/push/"


def test_wrong_passwords_count_as_at_a_login(browse: Browse, user: User, device: Device) -> None:
    """Nothing is pushed; the lockout is the one of logins, and then the right one is refused."""
    client = browse(user)
    for _ in range(LIMIT_USER_AND_ADDRESS - 1):
        assert "The current password is wrong." in send(client, device, current=P3)
    fields = {"device": device.pk, "current_password": P3}
    assert client.post(PATH, fields).status_code == 429
    assert client.post(PATH, fields | {"current_password": P2}).status_code == 429
    assert pushes(user) == []
    assert AccessAttempt.objects.exists()


def blocked(device: Device) -> None:
    people.set_blocked(device, blocked=True, by=device.user, address=None)


def updated(device: Device) -> None:
    Device.objects.filter(pk=device.pk).update(login_password="current", login_valid_until=None)


def ended(device: Device) -> None:
    passwords.end_old_passwords(device.user, by=device.user, address=None)


def disabled(device: Device) -> None:
    User.objects.filter(pk=device.user_id).update(is_active=False)


def changed(device: Device) -> None:
    change(device.user, P3)


def gone(device: Device) -> None:
    Device.objects.filter(pk=device.pk).delete()


@pytest.mark.parametrize(
    ("happens", "status", "said"),
    [
        (blocked, 200, "Not possible any more: PC-1"),
        (updated, 200, "Not possible any more: PC-1"),
        (ended, 200, "Not possible any more: PC-1"),
        (gone, 200, "Not possible any more: PC-1"),
        (changed, 200, "just been changed elsewhere"),
        (disabled, 403, "You may not open this page."),
    ],
)
def test_what_happens_at_the_same_moment(
    browse: Browse,
    user: User,
    device: Device,
    make_device: MakeDevice,
    monkeypatch: pytest.MonkeyPatch,
    *,
    happens: Change,
    status: int,
    said: str,
) -> None:
    """Between the password's check and the push: nothing is pushed, and the page says why."""
    other = make_device(user, name="PC-2", login_password="old")
    Device.objects.filter(pk=other.pk).update(login_valid_until=clock.now() + timedelta(days=9))
    original, reached = passwords.push_later, []

    def after(user: User, **arguments: object) -> object:
        happens(device)
        reached.append(True)
        return original(user, **arguments)  # type: ignore[arg-type]  # passed through as they are

    monkeypatch.setattr(passwords, "push_later", after)
    fields = {"device": [device.pk, other.pk], "current_password": P2}
    answer = browse(user).post(PATH, fields)
    assert reached
    assert answer.status_code == status
    assert said in answer.content.decode()
    assert pushes(user) == []
    assert not AuditEvent.objects.filter(subject=user, action="push.later").exists()


def block(device: Device, administrator: User) -> None:
    people.set_blocked(device, blocked=True, by=administrator, address=None)


def remove(device: Device, administrator: User) -> None:
    people.remove_device(device, by=administrator, address=None)


def delete(device: Device, administrator: User) -> None:
    people.delete(device.user, by=administrator, address=None)


@pytest.mark.parametrize("other", [block, remove, delete])
def test_two_people_act_on_one_pc(
    user: User, administrator: User, device: Device, other: Callable[[Device, User], None]
) -> None:
    """A push and another action at once: both are done, or the push is refused; no deadlock."""
    both = threading.Barrier(2)

    def push() -> bool:
        both.wait()
        try:
            passwords.push_later(user, password=P2, devices=[device], address=None)
        except (passwords.NotPushed, User.DoesNotExist):
            return False
        return True

    def act() -> None:
        both.wait()
        other(device, administrator)

    with ThreadPoolExecutor(2) as pool:
        pushed, done = (pool.submit(on_own_connection, each) for each in (push, act))
    done.result()
    assert pushes(user) == (["pending"] if pushed.result() and other is block else [])
    assert Device.objects.filter(pk=device.pk).exists() is (other is block)


@pytest.mark.parametrize("whose", ["user", "stranger", "administrator"])
def test_nobody_pushes_for_another_user(
    browse: Browse,
    request: pytest.FixtureRequest,
    device: Device,
    make_user: MakeUser,
    whose: str,
) -> None:
    """Also an administrator, who sees no button, cannot; the PC counts as not one's own."""
    by = make_user(P2) if whose == "user" else request.getfixturevalue(whose)
    if whose != "user":
        User.objects.filter(pk=by.pk).update(password=make_user(P2).password)
        by.refresh_from_db()
    client = browse(by)
    assert "One of the PCs is not yours." in send(client, device)
    assert f"pc={device.pk}" not in page(client.get(PATH))
    if whose == "administrator":
        assert BUTTON not in page(client.get(f"/users/{device.user_id}/"))
    assert pushes(device.user) == []


def test_no_pc_chosen(browse: Browse, user: User, device: Device) -> None:
    """The page asks for one."""
    assert "Choose at least one PC." in send(browse(user))
    assert pushes(user) == []
    assert device.deliveries.count() == 0


def test_busy(browse: Browse, user: User, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many passwords wait to be hashed, the page says so and nothing is done."""

    def busy(*_: object, **__: object) -> None:
        raise Busy

    monkeypatch.setattr("server.console.forms.authenticate", busy)
    answer = browse(user).post(PATH, {"device": device.pk, "current_password": P2})
    assert answer.status_code == 503
    assert "nothing was done" in answer.content.decode()
    assert pushes(user) == []


def test_sent_twice(browse: Browse, user: User, device: Device) -> None:
    """The same form gets the same answer, another one finds it on its way; one box in all."""
    client = browse(user, csrf=True)
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page(client.get(PATH)))
    assert token
    fields = {"device": device.pk, "current_password": P2, "csrfmiddlewaretoken": token[1]}
    first, second = client.post(PATH, fields), client.post(PATH, fields)
    assert first.status_code == second.status_code == 302
    assert first.headers["Location"] == second.headers["Location"]
    assert AuditEvent.objects.filter(subject=user, action="push.later").count() == 1
    box = PushDelivery.objects.get(device=device).sealed
    send(browse(user), device)
    assert PushDelivery.objects.get(device=device).sealed == box


@pytest.mark.parametrize(
    ("outcome", "failure", "renewed"),
    [
        ("pending", "", False),
        ("pending", "vault", True),
        ("failed", "refused", True),
        ("expired", "", True),
        ("applied", "", True),
    ],
)
def test_a_push_that_is_renewed(
    user: User, device: Device, outcome: str, failure: str, *, renewed: bool
) -> None:
    """One that came to an end, or failed so far, begins again with a new box and a new time."""
    passwords.push_later(user, password=P2, devices=[device], address=None)
    PushDelivery.objects.update(outcome=outcome, failure=failure, outcome_at=clock.now())
    before = PushDelivery.objects.get(device=device)
    passwords.push_later(user, password=P2, devices=[device], address=None)
    after = PushDelivery.objects.get(device=device)
    assert (after.outcome, after.failure) == ("pending", "")
    assert (after.sealed != before.sealed) is renewed
    assert (after.pushed_at > before.pushed_at) is renewed


def test_a_pc_from_after_the_change_is_pointed_out(
    browse: Browse, user: User, device: Device, make_device: MakeDevice
) -> None:
    """A client that logged in first with an old password may be a thief's: it is not ticked."""
    updated(device)
    new = make_device(
        user,
        name="NEW",
        login_password="old",
        login_valid_until=clock.now() + timedelta(days=9),
        first_seen_at=clock.now(),
    )
    client = browse(user)
    text = page(client.get(PATH))
    assert "for the first time after the password was changed" in text
    assert f'value="{new.pk}" checked' not in text
    assert f'value="{new.pk}" checked' in page(client.get(PATH, {"pc": new.pk}))


def test_late_delivery_at_a_temporary_password(
    browse: Browse, user: User, administrator: User, make_device: MakeDevice
) -> None:
    """After a forced change a PC that sleeps is offered the password at its next login."""
    sleeps, left_out = make_device(user, waiting=False), make_device(user, waiting=False)
    waits, off = make_device(user), make_device(user, waiting=False, blocked_at=clock.now())
    passwords.force(user, by=administrator, new_password=P2, must_change=True, address=None)
    client = browse(user)
    text = page(client.get("/password/"))
    offered = re.findall(r'name="late" value="(\d+)"', text)
    assert sorted(map(int, offered)) == sorted([sleeps.pk, left_out.pk])
    fields = {"new_password1": P3, "new_password2": P3, "shown": waits.pk}
    wanted = {"push": "on", "device": waits.pk, "late": [sleeps.pk, off.pk]}
    client.post("/password/", fields | wanted)
    found = PushDelivery.objects.filter(device__user=user, outcome="pending")
    assert {each.device for each in found} == {waits, sleeps}


def test_late_delivery_is_not_offered_otherwise(
    browse: Browse, user: User, make_device: MakeDevice
) -> None:
    """The page of an ordinary change is the manual's; what a forged form asks for is not done."""
    sleeps = make_device(user, waiting=False)
    client = browse(user)
    assert 'name="late"' not in page(client.get("/password/"))
    fields = {"current_password": P1, "new_password1": P2, "new_password2": P2}
    client.post("/password/", fields | {"late": sleeps.pk})
    assert pushes(user) == []


def test_preview(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """Three groups: takes the password now, keeps the old one until a day, disconnected."""
    until = clock.now() + timedelta(days=9)
    kinds: dict[str, dict[str, object]] = {
        "WAITS": {},
        "SLEEPS": {"waiting": False},
        "OLD": {"waiting": False, "login_password": "old", "login_valid_until": until},
        "ENDED": {
            "waiting": False,
            "login_password": "old",
            "login_valid_until": clock.now() - timedelta(days=1),
        },
        "OFF": {"blocked_at": clock.now()},
    }
    for name, fields in kinds.items():
        make_device(user, name=name, **fields)
    client = browse(user)
    for text in (page(client.get("/password/")), client.get("/live/push/").json()["html"]):
        shown = text.partition('class="preview"')[2]
        groups = re.split(r"<h3>", shown)[1:]
        takes, keeps, disconnected = (
            re.findall(r"<li(?! [^>]*hidden)[^>]*>([A-Z]+)", group) for group in groups
        )
        assert takes == ["WAITS"]
        assert keeps == ["ENDED", "OLD", "SLEEPS"]
        assert disconnected == ["OFF"]
        assert "(30 days left)" in groups[1]
        assert "(9 days left)" in groups[1]


def test_a_push_ends_with_the_old_password_of_its_pc(user: User, device: Device) -> None:
    """That may be before the end of the password that the latest change replaced."""
    clock.move(timedelta(days=20))
    change(user, P3)
    user.refresh_from_db()
    passwords.push_later(user, password=P3, devices=[device], address=None)
    passwords.tidy_up()
    assert pushes(user) == ["pending"]
    clock.move(timedelta(days=11))
    passwords.tidy_up()
    [push] = PushDelivery.objects.filter(device=device)
    assert (push.outcome, push.sealed) == ("expired", "")


def test_a_push_outlives_a_temporary_password(make_user: MakeUser, make_device: MakeDevice) -> None:
    """The user may type the new password after the end of the temporary one."""
    user = make_user()
    device = make_device(user, waiting=False)
    passwords.force(user, by=None, new_password=P2, must_change=True, address=None)
    clock.move(timedelta(days=config.current().temporary_password_days))
    passwords.change_own(user, new_password=P3, push_to=[], late=[device], address=None)
    passwords.tidy_up()
    assert pushes(user) == ["pending"]
