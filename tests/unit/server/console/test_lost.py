"""A lost PC: its steps, which may be left out, and its record."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from server import clock
from server.console import passwords
from server.console.audit import coming_from
from server.console.models import PushDelivery, User
from tests.support.console_client import Browse, actions, change, page
from tests.support.server_fixtures import P1, P2, P3, MakeDevice

DISCONNECT, PASSWORD, OLD, SESSIONS = range(4)


def steps(text: str) -> list[str]:
    """Return the address of each step's button, or "Done"."""
    found = re.split(r"<h2>\d\. ", text)[1:]
    return [
        link[1].replace("&amp;", "&")
        if (link := re.search(r'class="button" href="([^"]+)"', step))
        else "Done"
        for step in found
    ]


def take(client: Client, address: str, **fields: Any) -> str:
    """Open a step's page and send its form. Return the page of all steps."""
    page(client.get(address))
    answer = client.post(address, fields, follow=True)
    text = page(answer)
    back = re.search(r'class="button" href="(/[^"]*/lost/)"', text)
    return page(client.get(back[1])) if back else text


@pytest.mark.parametrize("whose", ["own", "administrator"])
def test_all_steps(
    browse: Browse, user: User, administrator: User, make_device: MakeDevice, whose: str
) -> None:
    """Each step leads to its action's page and back; at the end all are done and recorded."""
    lost, kept = make_device(user, name="LOST"), make_device(user, name="KEPT")
    own = whose == "own"
    by = user if own else administrator
    client, elsewhere = browse(by), browse(user)
    start = "/" if own else f"/users/{user.pk}/"
    [path] = re.findall(rf'id="lost-{lost.pk}" href="([^"]+)"', page(client.get(start)))
    text = page(client.get(path))
    assert text.count("If you leave this out:") == 4
    assert "Done" not in steps(text)
    text = take(client, steps(text)[DISCONNECT])
    assert steps(text)[DISCONNECT] == "Done"
    form: dict[str, Any] = {"new_password1": P2, "new_password2": P2}
    if own:
        form |= {"current_password": P1, "push": "on", "device": kept.pk, "shown": kept.pk}
    text = take(client, steps(text)[PASSWORD], **form)
    assert steps(text)[PASSWORD] == "Done"
    assert "on an old password: KEPT." in text
    text = take(client, steps(text)[OLD])
    text = take(client, steps(text)[SESSIONS])
    assert steps(text) == ["Done"] * 4
    assert elsewhere.get("/").status_code == 302
    user.refresh_from_db()
    assert passwords.old_valid_until(user) is None
    assert [push.device for push in PushDelivery.objects.filter(device__user=user)] == (
        [kept] if own else []
    )
    changed = "password.changed" if own else "password.forced"
    done = ["sessions.ended", "password.old_ended", changed, "device.blocked"]
    assert actions(user) == done
    for word in ("sessions ended", "old passwords ended early", "PC disconnected", by.username):
        assert word in text


def test_the_record_says_which_pc_knew_what(
    browse: Browse, user: User, make_device: MakeDevice
) -> None:
    """The record has, for each PC, when its password was set and until when it is valid.

    When a PC may have had any of several ended passwords, the record has no date for that PC.
    """
    old = make_device(user, name="OLD")
    change(user, P2)
    new = make_device(user, name="NEW", blocked_at=clock.now())
    client, path = browse(user), f"/pcs/{old.pk}/lost/"
    table = page(client.get(path)).partition("Which PC knew which password")[2]
    rows = {
        name: re.findall(r'<time datetime="([^"]+)">', row)
        for row in table.partition("</table>")[0].split("<tr ")[2:]
        if (name := re.findall(r'scope="row">(\w+)', row)[0])
    }
    [retired] = user.retired_passwords.all()

    def shown(*times: datetime | None) -> list[str]:
        return [f"{timezone.localtime(at):%Y-%m-%dT%H:%M%z}" for at in times]

    assert rows["OLD"][-2:] == shown(retired.since, retired.valid_until)
    assert rows["NEW"][-2:] == shown(user.password_changed_at, new.blocked_at)
    assert "It is the current password." in table
    change(user, P3)
    passwords.end_old_passwords(user, by=user)
    assert 'data-label="Its password was set">–<' in page(browse(user).get(path))


def test_a_pc_that_a_push_may_have_reached(
    browse: Browse, user: User, make_device: MakeDevice
) -> None:
    """A PC that was sent a push may have the current password, so the change is still to do."""
    device, sent = make_device(user), "The current password was sent to this PC"

    def shown() -> str:
        return page(browse(user).get(f"/pcs/{device.pk}/lost/"))

    change(user, P2, push_to=[device])
    assert sent in shown()
    assert "Done" not in steps(shown())
    passwords.end_old_passwords(user, by=user)
    assert "Done" not in steps(shown())
    change(user, P3)
    assert sent not in shown()
    assert steps(shown())[PASSWORD] == "Done"


def test_whose_addresses_the_record_has(
    browse: Browse, client: Client, user: User, administrator: User, make_device: MakeDevice
) -> None:
    """The record shows an administrator's address to administrators, and not to the user."""
    path, address = f"pcs/{make_device(user).pk}/lost/", "192.0.2.99"
    with coming_from(address):
        passwords.force(user, by=administrator, new_password=P2, must_change=False)
    assert address not in page(browse(user).get(f"/{path}"))
    assert address in page(client.get(f"/users/{user.pk}/{path}"))


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil", "/\\evil", "elsewhere/"])
def test_no_way_back_to_another_site(
    mine: Client, user: User, make_device: MakeDevice, wanted: str
) -> None:
    """`next` leads to pages of this site only."""
    address = f"/pcs/{make_device(user).pk}/disconnect/"
    assert wanted not in page(mine.get(address, {"next": wanted}))
    assert mine.post(f"{address}?next={wanted}").headers["Location"] == "/"


def test_own_sessions_end_but_this_one(browse: Browse, user: User) -> None:
    """Ending one's own sessions keeps the browser that asked; a copy of its old cookie ends."""
    here, elsewhere = browse(user), browse(user)
    copy = browse()
    copy.cookies.load({name: morsel.value for name, morsel in here.cookies.items()})
    assert "stays logged in" in page(here.get("/sessions/end/"))
    here.post("/sessions/end/")
    assert here.get("/").status_code == 200
    assert elsewhere.get("/").status_code == copy.get("/").status_code == 302
