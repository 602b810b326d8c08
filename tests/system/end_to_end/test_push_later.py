"""A real client that kept the old password gets the new one from wherever its user is."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, P3, Server
from tests.support.pc import Pc

pytestmark = pytest.mark.keyring
WAITS = "standby_old_password"


def test_a_pc_that_was_asleep_at_the_change(server: Server, new_pc: Callable[..., Pc]) -> None:
    """Pushed from the smartphone page while it sleeps, it takes the password when it wakes up."""
    server.installation.add_user("sleeper")
    pc = new_pc(server.address, user="sleeper", password=P1)
    pc.start()
    pc.says("standby")
    pc.quit()
    with server.browser("sleeper", P1) as browser:
        answer = browser.change_password(P1, P2)
        assert "Apply the new password to this PC" in answer.text
    with server.browser("sleeper", P2) as phone:
        [link] = re.findall(r'href="(/app/push/\?pc=\d+)"', phone.open("/app/").text)
        wrong = phone.send(link, current_password=P3)
        assert "The current password is wrong." in wrong.text
        done = phone.send(link, current_password=P2)
        assert done.url.endswith("/app/")
        assert "Takes the new password at its next login" in done.text
        pc.start()
        pc.has_only(P2)
        assert "Old password" not in phone.open("/app/").text


def test_a_pc_that_was_left_out(server: Server, new_pc: Callable[..., Pc]) -> None:
    """A PC that waits takes it at once, and the result page says that it was applied."""
    server.installation.add_user("left-out")
    pc = new_pc(server.address, user="left-out", password=P1)
    pc.start()
    pc.says("standby")
    with server.browser("left-out", P1) as browser:
        answer = browser.change_password(P1, P2, push=False)
        pc.says(WAITS)
        [link] = re.findall(r'href="(/password/push/\?pc=\d+)"', answer.text)
        assert "/password/changed/" in browser.send(link, current_password=P2).url
        browser.wait_for_text("Applied")
    pc.has_only(P2)


def test_after_a_forced_change(server: Server, new_pc: Callable[..., Pc]) -> None:
    """The page that changes the temporary password delivers the user's own one to a PC asleep."""
    pk = server.installation.add_user("forced-later")
    pc = new_pc(server.address, user="forced-later", password=P1)
    pc.start()
    pc.says("standby")
    pc.quit()
    with server.browser(ADMIN, ADMIN_PASSWORD) as admin:
        admin.send(f"/users/{pk}/", new_password1=P2, new_password2=P2)
    with server.browser("forced-later", P2) as browser:
        page = browser.open("/password/").text
        [late] = re.findall(r'name="late" value="(\d+)"', page)
        browser.submit(new_password1=P3, new_password2=P3, late=late)
        pc.start()
        pc.has_only(P3)
