"""A new PC gets its user's password by a code, and attackers get none: real server, real pages.

The PC of the attacks is a client made of messages.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import P1, P2, Installation, Server
from tests.support.pc import Pc
from tests.support.polling import eventually
from tests.support.x11 import press, ready, screen

UNKNOWN = "No PC shows this code now"


@pytest.mark.keyring
@pytest.mark.display
def test_real_client(
    server: Server, new_pc: Callable[..., Pc], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By keys in its window: code, words, the user's name, and the PC waits; then it restarts."""
    server.installation.add_user("by-code")
    with screen() as name, server.browser("by-code", P1) as browser:
        monkeypatch.setenv("DISPLAY", name)
        options = {"DISPLAY": name, "COCONOWORK_SERVER": server.address, "LC_ALL": "C.UTF-8"}
        pc = new_pc(server.address, logged_in=False, user="by-code", **options)
        pc.wrapper = [sys.executable, "-m", "tests.support.outspoken"]
        pc.start()
        ready("Log in to coconowork")
        press("Tab", "Tab", "Tab", "space")  # from the user's name: password, its switch, the code
        shown = told(pc, "show_code")
        page = type_code(browser, shown["code"].lower())
        assert re.findall(r'<li>(\w+) <small lang="ja">', page) == shown["words"]
        wrong = browser.submit(current_password=P2)
        assert "The current password is wrong." in wrong.text
        type_password(browser)
        browser.wait_for_text("Waiting for the PC")
        assert told(pc, "question")["user"] == "by-code"
        ready("Connect this PC?")
        press("shift+Tab", "space")  # from "Cancel" to "Connect"
        browser.wait_for_text("Connected")
        told(pc, "accepted")
        pc.has_only(P1)
        assert UNKNOWN in type_code(browser, shown["code"])
        pc.quit()
    assert "shows a code" in server.logged()
    for said in (pc.log(), server.logged()):
        assert not {P1, shown["code"], shown["code"].replace("-", "")} & set(said.split())
        assert P1 not in said
    del pc.environ["DISPLAY"]
    pc.wrapper = []
    pc.start()
    pc.says("standby")
    assert P1 not in pc.told()


def told(pc: Pc, kind: str) -> dict[str, Any]:
    """Wait until the client has told its window something of this kind. Return it."""

    def found() -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in pc.output if line.startswith("{"))
        return [line for line in lines if line["type"] == kind]

    return eventually(found, or_say=pc.told)[-1]


def type_code(browser: Browser, code: str) -> str:
    """Type a code. Return the page that comes next."""
    return str(browser.send("/pcs/new/", code=code).text)


def type_password(browser: Browser) -> str:
    """Type the password on the page that shows the PC. Return the page that comes next."""
    return str(browser.submit(current_password=P1).text)


def used_codes(server: Server, user: str) -> int:
    """Return how many codes this user has used, by the audit trail."""
    counted = "SELECT count(*) FROM console_auditevent WHERE action = 'pairing.accepted'"
    both = f"{counted} AND subject_id = (SELECT id FROM console_user WHERE username = %s)"
    [(count,)] = server.installation.query(both, user)
    return int(count)


def rows(server: Server, code: str) -> int:
    return len(server.installation.query("SELECT 1 FROM console_pairing WHERE code = %s", code))


async def test_code_is_used_once(server: Server) -> None:
    """Two users type one code: the first gets the PC; no one else, and no later PC, gets more."""
    for name in ("code-first", "code-second"):
        server.installation.add_user(name)
    first, second = (server.browser(name, P1) for name in ("code-first", "code-second"))
    with first, second:
        async with Client(server.gateway) as pc:
            code = await pc.pair()
            for browser in (second, first):
                assert "Does the PC show the same four words?" in type_code(browser, code)
            answer = first.submit(current_password=P1)
            paired = await pc.expect(messages.Paired)
            assert await pc.closed() == 1000
        assert paired.user == "code-first"
        assert pc.open(paired.sealed)["password"] == P1
        assert UNKNOWN in type_password(second)
        assert UNKNOWN in type_code(first, code)
        path = answer.url.removeprefix(server.console)
        assert second.open(path).status_code == 404
        assert "Waiting for the PC" in first.open(path).text
        async with Client(server.gateway, key=pc.key) as again:
            other = await again.pair()
            assert other != code
            assert UNKNOWN in type_code(second, code)
            await asyncio.sleep(2)  # two polls, with nothing for this PC
            await again.socket.ping()
        async with Client(server.gateway, key=pc.key) as pc:
            await pc.log_in("code-first", P1)
            first.wait_for_text("Connected")
    assert (used_codes(server, "code-first"), used_codes(server, "code-second")) == (1, 0)


@pytest.mark.parametrize("typed", ["nothing", "code"])
async def test_pc_goes(server: Server, typed: str) -> None:
    """A PC that is cut off before the password is typed takes its code with it."""
    user = f"goes-{typed}"
    server.installation.add_user(user)
    with server.browser(user, P1) as browser:
        async with Client(server.gateway) as pc:
            code = await pc.pair()
            if typed == "code":
                assert UNKNOWN not in type_code(browser, code)
            pc.socket.transport.abort()
        await asyncio.to_thread(eventually, lambda: not rows(server, code))
        answer = type_code(browser, code) if typed == "nothing" else type_password(browser)
        assert UNKNOWN in answer
    assert used_codes(server, user) == 0


async def test_pc_goes_as_the_password_is_typed(server: Server) -> None:
    """Cut off before or after it is sent: the page says which, and nothing is half done."""
    server.installation.add_user("cut-off")
    with server.browser("cut-off", P1) as browser:
        async with Client(server.gateway) as pc:
            code = await pc.pair()
            type_code(browser, code)
            type_password(browser)
            pc.socket.transport.abort()

        def is_clear() -> bool:
            sealed = "SELECT sealed FROM console_pairing WHERE code = %s"
            return server.installation.query(sealed, code) in ([], [("",)])

        await asyncio.to_thread(eventually, is_clear)
        browser.wait_for_text("Waiting for the PC" if rows(server, code) else "The PC has gone")
        assert "cut-off" not in browser.open("/").text.partition("<table")[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_server_restarts(tmp_path: Path, number: signal.Signals) -> None:
    """A code ends with its gateway, stopped or killed, wherever its user is; a new one works."""
    installation = Installation(tmp_path / "data")
    installation.create()
    installation.add_user("restarted")
    serving = installation.serving(GATEWAY_NAME="north")  # else its port, which differs here
    with serving as server, server.browser("restarted", P1) as browser:
        shown, checked = Client(server.gateway), Client(server.gateway)
        async with shown, checked:
            codes = [await pc.pair() for pc in (shown, checked)]
            assert UNKNOWN not in type_code(browser, codes[1])
            await asyncio.to_thread(server.stop, number)
            if number == signal.SIGTERM:
                for pc in (shown, checked):
                    assert (await pc.expect(messages.Bye)).reason == "shutting_down"
        await asyncio.to_thread(server.start)
        assert UNKNOWN in type_password(browser)
        assert UNKNOWN in type_code(browser, codes[0])
        async with Client(server.gateway) as pc:
            type_code(browser, await pc.pair())
            type_password(browser)
            await pc.expect(messages.Paired)
        assert used_codes(server, "restarted") == 1


async def test_double_click(server: Server) -> None:
    """The password sent twice at once is sealed once, and both answers say something."""
    server.installation.add_user("twice")
    with server.browser("twice", P1) as browser, browser.second_window() as same:
        async with Client(server.gateway) as pc:
            type_code(browser, await pc.pair())
            same.open("/pcs/new/check/")
            clicks = (asyncio.to_thread(type_password, each) for each in (browser, same))
            answers = await asyncio.gather(*clicks)
            await pc.expect(messages.Paired)
            assert await pc.closed() == 1000
    assert used_codes(server, "twice") == 1
    assert all("Add a new PC" in answer for answer in answers)
