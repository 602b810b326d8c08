"""A new PC gets its user's password by a code, with real server, pages and client."""

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

from demo.terminal import at_terminal
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
    """By keyboard in the client's window: code, words, consent, standby; also after a restart."""
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
    """Wait until the client has sent its window a message of this kind. Return the message."""

    def found() -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in pc.output if line.startswith("{"))
        return [line for line in lines if line["type"] == kind]

    return eventually(found, or_say=pc.told)[-1]


def type_code(browser: Browser, code: str) -> str:
    """Type a code. Return the next page."""
    return str(browser.send("/pcs/new/", code=code).text)


def type_password(browser: Browser) -> str:
    """Type the password on the page that shows the PC. Return the next page."""
    return str(browser.submit(current_password=P1).text)


async def test_killed_server(tmp_path: Path) -> None:
    """After a kill of the gateway its codes are refused on each page; a new code works."""
    installation = Installation(tmp_path / "data")
    installation.create()
    installation.add_user("restarted")
    serving = installation.serving(GATEWAY_NAME="north")  # by default, the changing port
    with serving as server, server.browser("restarted", P1) as browser:
        shown, checked = Client(server.gateway), Client(server.gateway)
        async with shown, checked:
            codes = [await pc.pair() for pc in (shown, checked)]
            assert UNKNOWN not in type_code(browser, codes[1])
            await asyncio.to_thread(server.stop, signal.SIGKILL)
        await asyncio.to_thread(server.start)
        assert UNKNOWN in type_password(browser)
        assert UNKNOWN in type_code(browser, codes[0])
        async with Client(server.gateway) as pc:
            type_code(browser, await pc.pair())
            type_password(browser)
            await pc.expect(messages.Paired)


@pytest.mark.keyring
def test_the_person_at_the_pc_does_not_agree(server: Server, new_pc: Callable[..., Pc]) -> None:
    """Unless "y" is typed after the question, no password is stored and the exit code is 1."""
    server.installation.add_user("stranger")
    pc = new_pc(server.address, logged_in=False)
    login = at_terminal(pc, "login", "--code", "--server", server.address)
    with login as prompt, server.browser("stranger", P1) as browser:
        type_code(browser, prompt.code()[0])
        prompt.answer("y")  # too early: the question has not been asked
        type_password(browser)
        prompt.says(r"as the user stranger\? \[y/N\] $")
        assert prompt.process.poll() is None
        prompt.answer("yessir")
        prompt.says("Nothing was changed.")
        assert prompt.process.wait(30) == 1
    assert not pc.paths.config_file.exists()
    code, said = pc.command("login", "--code", "--server", server.address, answer="y")
    assert code == 1
    assert "a person at a terminal" in said
