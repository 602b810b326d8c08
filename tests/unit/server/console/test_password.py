"""The page on which users change their own password: its form, its effect, its result."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from server import clock
from server.console import passwords
from server.console.models import Device, PasswordChange, PushDelivery, User
from server.console.validators import rule_texts
from tests.support.console_client import Browse, change, page, run_before
from tests.support.server_fixtures import P1, P2, P3, MakeDevice, MakeUser


def form(new: str = P2, *, current: str = P1, **more: object) -> dict[str, object]:
    return {"current_password": current, "new_password1": new, "new_password2": new, **more}


def has(user: User, password: str) -> bool:
    return User.objects.get(pk=user.pk).check_password(password)


def test_other_sessions_end(browse: Browse, user: User) -> None:
    """A change logs out the user's other browsers, not the one that made it."""
    here, elsewhere = browse(user), browse(user)
    answer = here.post("/password/", form())
    made = PasswordChange.objects.get(user=user)
    assert answer.headers["Location"] == f"/password/changed/{made.pk}/"
    assert has(user, P2)
    assert (here.get("/").status_code, elsewhere.get("/").status_code) == (200, 302)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((P1, P2, P3), "not the same"),
        ((P2, P2, P2), "current password is wrong"),
        ((P1, "my-NAME", "my-NAME"), "not contain the user name"),
        ((P1, P3, P3), "neither the current password nor an old one"),
        ((P1, "パスワードAb1!", "パスワードAb1!"), "ASCII"),
        ((P1, "", ""), "required"),
        (("", P2, P2), "required"),
    ],
)
def test_refused(browse: Browse, make_user: MakeUser, typed: tuple[str, ...], said: str) -> None:
    """A refused form names the broken rule, changes nothing, and repeats nothing typed."""
    user = make_user(P3)
    change(user, P1)
    names = ("current_password", "new_password1", "new_password2")
    typed = tuple(word.replace("NAME", user.username.upper()) for word in typed)
    text = page(browse(user).post("/password/", dict(zip(names, typed, strict=True))))
    assert said in text
    assert 'aria-invalid="true"' in text
    assert not any(password in text for password in typed if password)
    assert has(user, P1)


A, B = "PC-A", "PC-B"


@pytest.mark.parametrize(
    ("waiting", "shown", "ticked", "said", "pushed"),
    [
        pytest.param([A], [A], [A], "On its way", [A], id="on, as is the default"),
        pytest.param([A], [A], None, "Update the stored password…", [], id="off"),
        pytest.param([A, B], [A, B], [A], "Not applied", [A], id="one of two is chosen"),
        pytest.param([A, B], [A, B], [], "Choose at least one PC", None, id="none is chosen"),
        pytest.param([], [A], [A], "just stopped waiting", None, id="the only one has gone"),
        pytest.param([A], [A, B], [A, B], "Stopped waiting before", [A], id="one of two has gone"),
        pytest.param([A], [], None, "Began to wait after", [], id="one has come"),
    ],
)
def test_push(
    mine: Client,
    user: User,
    make_device: MakeDevice,
    *,
    waiting: list[str],
    shown: list[str],
    ticked: list[str] | None,
    said: str,
    pushed: list[str] | None,
) -> None:
    """Only ticked PCs that wait get the push; if none of them waits, nothing is changed.

    `shown` were waiting when the form was opened; `ticked` is None when the switch is off, and
    `pushed` is None when nothing is changed.
    """
    make_device(user, blocked_at=clock.now())
    pks = {name: make_device(user, name=name, waiting=name in waiting).pk for name in (A, B)}
    form_page = page(mine.get("/password/"))
    assert f'name="push" {"checked" if waiting else "disabled"}' in form_page
    assert ("No client is connected" in form_page) is (not waiting)
    more: dict[str, Any] = {"shown": [pks[name] for name in shown]}
    if ticked is not None:
        more |= {"push": "on", "device": [pks[name] for name in ticked]}
    answer = mine.post("/password/", form(**more))
    text = page(answer if pushed is None else mine.get(answer.headers["Location"]))
    assert said in text
    assert has(user, P1 if pushed is None else P2)
    deliveries = PushDelivery.objects.filter(change__user=user, outcome="pending")
    assert [each.device.name for each in deliveries] == (pushed or [])
    if ticked == []:  # the form asks again, and ticks nothing
        assert 'name="push" checked' in text
        assert not any(f'value="{pk}" checked' in text for pk in pks.values())


@pytest.mark.parametrize(
    ("language", "said"), [("en", "One of the PCs is not yours."), ("ja", "ご自身のものではないPC")]
)
def test_other_peoples_pcs_take_no_push(
    browse: Browse, user: User, stranger: User, make_device: MakeDevice, *, language: str, said: str
) -> None:
    """A forged device id is refused, at the switch and in the language of the page."""
    device, client = make_device(stranger), browse(user, language=language)
    for fields in ({"device": device.pk}, {"shown": device.pk}, {"device": "x"}):
        text = page(client.post("/password/", form(push="on", **fields)))
        assert said in text
        assert "#id_push" in text
        assert "#id_device" not in text
    assert not PushDelivery.objects.filter(device=device).exists()
    assert has(user, P1)


def test_administrators_have_no_switch(
    client: Client, administrator: User, make_device: MakeDevice
) -> None:
    """Administrators have no switch for a push, and a forged form makes no push."""
    device = make_device(administrator)
    assert 'name="push"' not in page(client.get("/password/"))
    client.post("/password/", form(push="on", device=device.pk, shown=device.pk))
    assert has(administrator, P2)
    assert not PushDelivery.objects.filter(device=device).exists()


def test_two_browsers_at_once(mine: Client, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two changes is refused with the reason, and nothing is half done."""
    original = passwords.change_own
    run_before(
        monkeypatch, passwords, "change_own",
        lambda *_, **__: original(User.objects.get(pk=user.pk), new_password=P3),
    )  # fmt: skip
    assert "just been changed elsewhere" in page(mine.post("/password/", form()))
    assert has(user, P3)


def failed(outcome: str) -> dict[str, str]:
    return {"outcome": outcome, "failure": "vault"}


ENDED = {"login_password": "old", "login_valid_until": clock.now() - timedelta(days=1)}


@pytest.mark.parametrize(
    ("before", "push", "since", "said", "is_final"),
    [
        pytest.param({}, failed("applied"), {}, "nothing left to do", True, id="applied"),
        pytest.param({}, failed("failed"), {}, "the PC could not store it", True, id="failed"),
        pytest.param({}, failed("pending"), {}, "the PC could not store it", True, id="locked"),
        pytest.param({}, failed("superseded"), {}, "changed again", True, id="superseded"),
        pytest.param({}, failed("expired"), {}, "has ended before", True, id="expired"),
        pytest.param({}, {}, {"waiting_since": None}, "Not reached yet", False, id="gone since"),
        pytest.param({}, None, {}, "Not applied", False, id="not pushed to"),
        pytest.param(
            {}, None, {"login_password": "current"}, "nothing left to do", True, id="by hand since"
        ),
        pytest.param(ENDED, None, {}, "The old password no longer works", False, id="older one"),
    ],
)
def test_what_the_result_says_of_a_pc(
    browse: Browse,
    user: User,
    make_device: MakeDevice,
    *,
    before: dict[str, object],
    push: dict[str, object] | None,
    since: dict[str, object],
    said: str,
    is_final: bool,
) -> None:
    """The result says which password the PC has, with what became known after the change.

    `push` has the fields of the push; None when there was none.
    """
    device = make_device(user, **before)
    made = change(user, P2, push_to=[] if push is None else [device])
    PushDelivery.objects.filter(device=device).update(**push or {})
    Device.objects.filter(pk=device.pk).update(**since)
    client = browse(user)
    text = page(client.get(f"/password/changed/{made.pk}/"))
    assert said in text
    assert ("data-settled" in text) is is_final
    assert said in client.get(f"/live/changed/{made.pk}/").json()["html"]


def test_the_page_of_rules_is_the_rules(browse: Browse) -> None:
    """The page of rules shows each rule in force, in both languages, without a login."""
    for language in ("en", "ja"):
        text = page(browse(language=language).get("/password/rules/"))
        assert text.count("<li>") == len(rule_texts()) == 6
    assert "8文字以上64文字以内" in text
