"""Simultaneous changes of one password, on real threads and processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client, new_key
from tests.support.installation import (
    ADMIN,
    ADMIN_PASSWORD,
    P1,
    P2,
    P3,
    Installation,
    Server,
    verifier,
)


def at_the_form(server: Server, username: str, password: str, path: str) -> Browser:
    """Return a browser that is logged in and has the form at `path` open."""
    browser = server.browser(username, password)
    browser.open(path)
    return browser


def change(browser: Browser, new: str) -> Callable[[], Any]:
    """Return a function that sends the open form of a password change."""
    fields = {"current_password": P1, "new_password1": new, "new_password2": new}
    return lambda: browser.submit(follow=False, **fields)


async def together(*actions: Callable[[], Any]) -> list[Any]:
    return list(await asyncio.gather(*(asyncio.to_thread(action) for action in actions)))


def count(installation: Installation, table: str, where: str, *values: object) -> int:
    [(number,)] = installation.query(f"SELECT count(*) FROM console_{table} WHERE {where}", *values)
    return int(number)


async def test_administrator_during_a_push(server: Server) -> None:
    """Of simultaneous changes by administrator and user the second counts, also on the PC."""
    installation = server.installation
    pk = installation.add_user("suzuki")
    async with Client(server.gateway) as pc:
        await pc.log_in("suzuki", P1)
        with (
            at_the_form(server, "suzuki", P1, "/password/") as own,
            at_the_form(server, ADMIN, ADMIN_PASSWORD, f"/users/{pk}/") as admin,
        ):
            form = {"new_password1": P3, "new_password2": P3}
            answers = await together(change(own, P2), lambda: admin.submit(follow=False, **form))
        told = await pc.receive()
        assert isinstance(told, messages.PasswordChanged | messages.PasswordStatus)
        [(current,)] = installation.query("SELECT password FROM console_user WHERE id = %s", pk)
        changes = count(installation, "passwordchange", "user_id = %s", pk)
        assert changes == sum(each.status_code == 302 for each in answers) > 0
        assert current in {verifier(P2), verifier(P3)}
        pending = (
            "outcome = 'pending' AND device_id IN"
            " (SELECT id FROM console_device WHERE user_id = %s)"
        )
        assert count(installation, "pendingchange", pending, pk) == (current == verifier(P2))
    async with Client(server.gateway, key=pc.key) as pc:
        assert (await pc.log_in("suzuki", P1)).password == "old"


async def test_disabled_in_the_middle(server: Server) -> None:
    """A user disabled during a change is logged out everywhere, and the push stays pending."""
    pk = server.installation.add_user("sato")
    async with Client(server.gateway) as pc:
        await pc.log_in("sato", P1)
        with (
            at_the_form(server, "sato", P1, "/password/") as own,
            at_the_form(server, ADMIN, ADMIN_PASSWORD, f"/users/{pk}/disable/") as admin,
        ):
            await together(change(own, P2), lambda: admin.submit(follow=False))
            assert own.get("/").status_code == 302
            while not isinstance(said := await pc.receive(), messages.Bye):
                pass  # the push
            assert said == messages.Bye(reason="disabled")
            async with Client(server.gateway, key=pc.key) as again:
                refused = await again.try_log_in("sato", P1)
                assert refused == messages.Rejected(reason="disabled")
            admin.send(f"/users/{pk}/enable/")
    done = count(server.installation, "passwordchange", "user_id = %s", pk)
    async with Client(server.gateway, key=pc.key) as pc:
        assert (await pc.log_in("sato", P1)).password == ("old" if done else "current")
        if done:
            await pc.takes("sato", P2)


POSTGRESQL = pytest.mark.parametrize("server", ["postgresql"], indirect=True)
LOG_IN_ALL = """
from server.console.models import User
from server.console.sessions import SessionStore
for user in User.objects.filter(username__startswith="person"):
    session = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = user.get_session_auth_hash()
    session.create()
    print(session.session_key)
"""


@POSTGRESQL
def test_many_people_change_at_once(server: Server) -> None:
    """Many simultaneous changes succeed with 16 database connections and a queue of hashes."""
    installation, people = server.installation, 24
    for number in range(people):
        installation.add_user(f"person{number}")
    installation.query(
        "UPDATE console_user SET must_change_password = TRUE WHERE left(username, 6) = 'person'"
    )
    keys = installation.django("shell", "--verbosity=0", "--command", LOG_IN_ALL).split()
    assert len(keys) == people
    ready = Barrier(people)

    def change_it(key: str) -> str:
        with Browser(server.console) as browser:
            browser.set_cookie("sessionid", key)
            browser.open("/password/")
            ready.wait()
            answer = browser.submit(follow=False, new_password1=P2, new_password2=P2)
            return str(answer.headers.get("Location", answer.status_code))

    with ThreadPoolExecutor(people) as pool:
        answers = list(pool.map(change_it, keys))
    assert [each[:18] for each in answers] == ["/password/changed/"] * people


@POSTGRESQL
async def test_logins_do_not_deadlock_with_the_console(server: Server) -> None:
    """No deadlock when PCs log in while users change passwords, disconnect and allow PCs.

    The fixture searches both logs for deadlocks.
    """
    people = 12
    users = [server.installation.add_user(f"owner{number}") for number in range(people)]
    keys = [new_key() for _ in users]
    stop = asyncio.Event()

    async def log_in_again(number: int) -> int:
        done = 0
        while not stop.is_set():
            async with Client(server.gateway, key=keys[number]) as pc:
                await pc.try_log_in(f"owner{number}", P1)
                done += 1
        return done

    def disconnect_and_allow() -> None:
        with server.browser(ADMIN, ADMIN_PASSWORD) as admin:
            for number in range(20):
                admin.open(f"/users/{users[number // 2 % people]}/")
                done = admin.submit(follow=False, which='form[action*="/pcs/"]')
                assert done.status_code == 302

    def change_twice(number: int) -> None:
        with server.browser(f"owner{number}", P1) as browser:
            browser.change_password(P1, P2, push=False)
            browser.change_password(P2, P3, push=False)

    for number, key in enumerate(keys):  # makes each PC's row
        async with Client(server.gateway, key=key) as pc:
            await pc.log_in(f"owner{number}", P1)
    logins = [asyncio.create_task(log_in_again(number)) for number in range(people)]
    work = [asyncio.to_thread(disconnect_and_allow) for _ in range(2)]
    work += [asyncio.to_thread(change_twice, number) for number in range(3)]
    await asyncio.gather(*work)
    stop.set()
    assert sum(await asyncio.gather(*logins)) > 50
