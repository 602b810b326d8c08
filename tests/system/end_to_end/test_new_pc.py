"""A new PC by a code: `login --code` at a terminal, a real server, and a user at the console."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from demo.terminal import Terminal, at_terminal
from tests.support.browser import Browser
from tests.support.installation import P1, P2, Server
from tests.support.pc import Pc

pytestmark = pytest.mark.keyring


NO_SERVER = "ws://127.0.0.1:9/gateway"


def login_by_code(pc: Pc) -> AbstractContextManager[Terminal]:
    """Run `login --code` at a terminal."""
    return at_terminal(pc, "login", "--code", "--server", pc.identity.server)


def accept(browser: Browser, code: str, words: list[str], password: str) -> str:
    """Type code and password in the console. Return the page that comes next."""
    shown = browser.send("/pcs/new/", code=code).text
    assert re.findall(r"<li>(\w+) <small", shown) == words
    return str(browser.submit(current_password=password).text)


@pytest.mark.parametrize("running", [False, True])
def test_the_user_types_the_code(
    server: Server, new_pc: Callable[..., Pc], *, running: bool
) -> None:
    """No password is typed on the PC: the console has it, and says that the PC is connected."""
    user = f"new-pc-{running}"
    server.installation.add_user(user)
    pc = new_pc(server.address, user=user, logged_in=False)
    if running:
        pc.start()
        pc.says("logged_out")
    with login_by_code(pc) as prompt, server.browser(user, P1) as browser:
        code, words = prompt.code()
        wrong = accept(browser, code, words, P2)
        assert "The current password is wrong." in wrong
        prompt.answer("y")  # too early: the question has not been asked
        browser.submit(current_password=P1)
        prompt.says(rf"as the user {user}\? \[y/N\] $")
        assert prompt.process.poll() is None
        prompt.answer("y")
        prompt.says("has been stored")
        assert prompt.process.wait(30) == 0
        browser.wait_for_text("The PC has logged in as you.")
        assert P1 not in prompt.said
    if not running:
        pc.start()
    pc.has_only(P1)


@pytest.mark.parametrize("answer", ["n", "", "yessir"])
def test_the_person_at_the_pc_does_not_agree(
    server: Server, new_pc: Callable[..., Pc], answer: str
) -> None:
    """Another user has typed the code: nothing is stored, and the exit code is 1."""
    user = f"stranger-{answer}"
    server.installation.add_user(user)
    pc = new_pc(server.address, logged_in=False)
    with login_by_code(pc) as prompt, server.browser(user, P1) as browser:
        accept(browser, *prompt.code(), P1)
        prompt.says(r"\[y/N\] $")
        prompt.answer(answer)
        prompt.says("Nothing was changed.")
        assert prompt.process.wait(30) == 1
    assert not pc.paths.config_file.exists()


def test_without_a_terminal(new_pc: Callable[..., Pc]) -> None:
    """A program cannot agree: the command says so before it connects."""
    code, said = new_pc(NO_SERVER, logged_in=False).command(
        "login", "--code", "--server", NO_SERVER, answer="y"
    )
    assert code == 1
    assert "a person at a terminal" in said


def test_a_server_that_cannot_be_reached(new_pc: Callable[..., Pc]) -> None:
    """The reason is that of a login."""
    with login_by_code(new_pc(NO_SERVER, logged_in=False)) as prompt:
        prompt.says("The server cannot be reached.\nWait a moment and try again.")
        assert prompt.process.wait(30) == 1
