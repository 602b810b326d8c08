"""The own password's page: what it asks, what it changes, and what it says afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from server import clock
from server.console import passwords
from server.console.models import Device, PasswordChange, PushDelivery, User
from server.console.validators import rule_texts
from tests.support.console_client import Browse, page
from tests.support.server_fixtures import P1, P2, P3

MakeUser = Callable[..., User]
MakeDevice = Callable[..., Device]


def form(new: str = P2, *, current: str = P1, **more: object) -> dict[str, object]:
    return {"current_password": current, "new_password1": new, "new_password2": new, **more}


def reload(user: User) -> User:
    return User.objects.get(pk=user.pk)


def test_change(browse: Browse, user: User) -> None:
    """The new password counts at once; the old one only for clients, for 30 days."""
    answer = browse(user).post("/password/", form())
    change = PasswordChange.objects.get(user=user)
    assert answer.headers["Location"] == f"/password/changed/{change.pk}/"
    assert reload(user).check_password(P2)
    assert change.old_valid_until - change.changed_at == passwords.GRACE


def test_other_sessions_end(browse: Browse, user: User) -> None:
    """The browser that made the change goes on; the user's others are logged out."""
    here, elsewhere = browse(user), browse(user)
    here.post("/password/", form())
    assert here.get("/").status_code == 200
    assert elsewhere.get("/").status_code == 302


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((P1, P2, P3), "not the same"),
        ((P2, P2, P2), "current password is wrong"),
        ((P1, "Ab1!", "Ab1!"), "8 to 64"),
        ((P1, "Ab1!" * 17, "Ab1!" * 17), "8 to 64"),
        ((P1, "zyxwvut1", "zyxwvut1"), "at least 3"),
        ((P1, "パスワードAb1!", "パスワードAb1!"), "ASCII"),
        ((P1, "P@ssw0rd", "P@ssw0rd"), "commonly used"),
        ((P1, "", ""), "required"),
        (("", P2, P2), "required"),
    ],
)
def test_refused(browse: Browse, user: User, typed: tuple[str, str, str], said: str) -> None:
    """The broken rule is named, nothing is changed, and nothing typed comes back."""
    names = ("current_password", "new_password1", "new_password2")
    text = page(browse(user).post("/password/", dict(zip(names, typed, strict=True))))
    assert said in text
    assert 'aria-invalid="true"' in text
    assert not any(password in text for password in typed if password)
    assert reload(user).check_password(P1)


def test_user_name_is_no_password(browse: Browse, make_user: MakeUser) -> None:
    """The user name is refused as a password, in upper or lower case."""
    user = make_user(username="Tanaka.Ichiro-1")
    assert "not contain the user name" in page(
        browse(user).post("/password/", form("tanaka.ICHIRO-1"))
    )


def test_an_old_password_that_is_still_valid_is_refused(browse: Browse, user: User) -> None:
    """P2, P3, and neither P3 nor P2 again: clients could not tell old from new."""
    for password in (P2, P3):
        passwords.change_own(user, new_password=password, push_to=[], address=None)
    for again in (P2, P3):
        text = page(browse(user).post("/password/", form(again, current=P3)))
        assert "neither the current password nor an old one" in text
    assert reload(user).check_password(P3)


def test_temporary_password(browse: Browse, make_user: MakeUser) -> None:
    """The change is asked for without the current password, and then everything is open."""
    client = browse(make_user(must_change_password=True))
    text = page(client.get("/password/"))
    assert "temporary password" in text
    assert "current_password" not in text
    assert "User management" not in text
    client.post("/password/", {"new_password1": P2, "new_password2": P2})
    assert client.get("/").status_code == 200


def test_the_switch_is_off_while_no_client_waits(
    browse: Browse, user: User, make_device: MakeDevice
) -> None:
    """Off, not changeable, with the reason beside it; a PC that does not wait does not count."""
    make_device(user, waiting=False)
    make_device(user, blocked_at=clock.now())
    text = page(browse(user).get("/password/"))
    assert 'name="push" disabled' in text
    assert "No client is connected" in text


def test_push_to_the_waiting_client(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """On by default while a client waits; the page tells that it is on its way."""
    device = make_device(user)
    client = browse(user)
    assert 'name="push" checked' in page(client.get("/password/"))
    answer = client.post("/password/", form(push="on", device=device.pk, shown=device.pk))
    assert PushDelivery.objects.get(device=device).outcome == "pending"
    assert "On its way" in page(client.get(answer.headers["Location"]))


def test_push_off(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """Nothing is pushed; the page says what to do at the PC, and until when."""
    device = make_device(user)
    client = browse(user)
    answer = client.post("/password/", form(device=device.pk, shown=device.pk))
    assert not PushDelivery.objects.filter(device=device).exists()
    text = page(client.get(answer.headers["Location"]))
    assert "Not applied" in text
    assert "data-settled" not in text
    assert "Update the stored password…" in text


def test_push_to_chosen_pcs(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """Of several waiting PCs, only the ticked ones take the password."""
    wanted, unwanted = make_device(user, name="PC-A"), make_device(user, name="PC-B")
    both = [wanted.pk, unwanted.pk]
    browse(user).post("/password/", form(push="on", device=wanted.pk, shown=both))
    assert PushDelivery.objects.get(change__user=user).device == wanted


def test_push_on_without_a_pc(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """Push on with no PC ticked: the form asks again, and changes and ticks nothing."""
    devices = [make_device(user), make_device(user)]
    shown = [device.pk for device in devices]
    text = page(browse(user).post("/password/", form(push="on", shown=shown)))
    assert "Choose at least one PC" in text
    assert 'name="push" checked' in text
    assert not any(f'value="{pk}" checked' in text for pk in shown)
    assert reload(user).check_password(P1)


def test_the_only_client_has_gone(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """The user wanted the push, so nothing is changed without it, and the page says so."""
    device = make_device(user, waiting=False)
    fields = form(push="on", device=device.pk, shown=device.pk)
    text = page(browse(user).post("/password/", fields))
    assert "just stopped waiting" in text
    assert reload(user).check_password(P1)


def test_one_of_two_clients_has_gone(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """The change is made and pushed to the other; the result names the one that went."""
    here, gone = make_device(user, name="PC-HERE"), make_device(user, name="PC-G", waiting=False)
    both = [here.pk, gone.pk]
    client = browse(user)
    answer = client.post("/password/", form(push="on", device=both, shown=both))
    assert "Stopped waiting before the change, so not applied there: PC-G" in page(
        client.get(answer.headers["Location"])
    )
    assert PushDelivery.objects.get(change__user=user).device == here


def test_a_client_has_come(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """A client that came after the page was shown gets no push, and the result says so."""
    make_device(user, name="PC-NEW")
    client = browse(user)
    answer = client.post("/password/", form())
    text = page(client.get(answer.headers["Location"]))
    assert "Began to wait after you opened the page, so not applied there: PC-NEW" in text


def test_other_peoples_pcs_take_no_push(
    browse: Browse, make_user: MakeUser, make_device: MakeDevice
) -> None:
    """A forged device id is refused, at the switch and in the language of the page."""
    user, other = make_user(), make_user()
    device = make_device(other)
    for language, said in (
        ("en", "One of the PCs is not yours."),
        ("ja", "ご自身のものではないPC"),
    ):
        client = browse(user, language=language)
        for fields in ({"device": device.pk}, {"shown": device.pk}, {"device": "x"}):
            text = page(client.post("/password/", form(push="on", **fields)))
            assert said in text
            assert "#id_push" in text
            assert "#id_device" not in text
    assert not PushDelivery.objects.filter(device=device).exists()
    assert reload(user).check_password(P1)


def test_administrators_have_no_switch(
    browse: Browse, administrator: User, make_device: MakeDevice
) -> None:
    """As in the manual; what a forged form asks for is not done."""
    device = make_device(administrator)
    client = browse(administrator)
    assert 'name="push"' not in page(client.get("/password/"))
    client.post("/password/", form(push="on", device=device.pk, shown=device.pk))
    assert reload(administrator).check_password(P2)
    assert not PushDelivery.objects.filter(device=device).exists()


def test_two_browsers_at_once(browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two changes is refused with the reason, and nothing is half done."""
    original = passwords.change_own

    def after_another(user: User, **arguments: object) -> PasswordChange:
        original(reload(user), new_password=P3, push_to=[], address=None)
        return original(user, **arguments)  # type: ignore[arg-type]  # passed through as they are

    monkeypatch.setattr(passwords, "change_own", after_another)
    text = page(browse(user).post("/password/", form()))
    assert "just been changed elsewhere" in text
    assert reload(user).check_password(P3)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("applied", "nothing left to do"),
        ("failed", "the PC could not store it"),
        ("superseded", "changed again"),
        ("expired", "has ended before"),
    ],
)
def test_outcomes(
    browse: Browse, user: User, make_device: MakeDevice, outcome: str, said: str
) -> None:
    """Each end of a push has its words, on the page and on the live part."""
    device = make_device(user)
    change = passwords.change_own(user, new_password=P2, push_to=[device], address=None)
    PushDelivery.objects.update(outcome=outcome, failure="vault")
    client = browse(user)
    text = page(client.get(f"/password/changed/{change.pk}/"))
    assert said in text
    assert "data-settled" in text
    assert said in client.get(f"/live/changed/{change.pk}/").json()["html"]


def test_on_its_way_to_a_client_that_has_gone(
    browse: Browse, user: User, make_device: MakeDevice
) -> None:
    """The page tells a PC that failed from one that is just storing the password."""
    device = make_device(user)
    change = passwords.change_own(user, new_password=P2, push_to=[device], address=None)
    Device.objects.filter(pk=device.pk).update(waiting_since=None)
    assert "Not reached yet" in page(browse(user).get(f"/password/changed/{change.pk}/"))


def test_updated_by_hand_since(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """A PC that was not pushed to, and has logged in with the new password, is done."""
    device = make_device(user)
    change = passwords.change_own(user, new_password=P2, push_to=[], address=None)
    client = browse(user)
    assert "Not applied" in page(client.get(f"/password/changed/{change.pk}/"))
    Device.objects.filter(pk=device.pk).update(login_password="current", login_valid_until=None)
    assert "nothing left to do" in page(client.get(f"/password/changed/{change.pk}/"))


def test_a_pc_on_an_older_password(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """The result page says about a PC what is true of the old password that this PC has."""
    ended = clock.now() - timedelta(days=1)
    make_device(user, login_password="old", login_valid_until=ended)
    change = passwords.change_own(user, new_password=P2, push_to=[], address=None)
    text = page(browse(user).get(f"/password/changed/{change.pk}/"))
    assert "The old password no longer works there." in text


def test_other_peoples_results(browse: Browse, make_user: MakeUser) -> None:
    """There is no such page, also for another user of the same account."""
    change = passwords.change_own(make_user(), new_password=P2, push_to=[], address=None)
    client = browse(make_user())
    assert client.get(f"/password/changed/{change.pk}/").status_code == 404
    assert client.get(f"/live/changed/{change.pk}/").status_code == 404


def test_end_old_passwords(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """Asked first, with a warning; then no old password is valid any more."""
    make_device(user)
    passwords.change_own(user, new_password=P2, push_to=[], address=None)
    client = browse(user)
    assert "cut off at once" in page(client.get("/password/end-old/"))
    assert passwords.old_valid_until(user) is not None
    client.post("/password/end-old/")
    assert passwords.old_valid_until(user) is None
    assert "no longer valid" in page(client.get("/"))


def test_the_page_of_rules_is_the_rules(browse: Browse) -> None:
    """The page of rules shows each rule in force, in both languages, without a login."""
    for language in ("en", "ja"):
        text = page(browse(language=language).get("/password/rules/"))
        assert text.count("<li>") == len(rule_texts()) == 6
    assert "8 文字以上 64 文字以内" in text
