"""The client's commands as a user types them, against a real server and a real keyring."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.installation import ADMIN, ADMIN_PASSWORD, Server
from tests.support.pc import Pc
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring
WRONG = "Wrong-wrong-1"


@pytest.fixture
def pc(new_pc: Callable[..., Pc], server: Server) -> Pc:
    """Return a client, not running, with a wrong password for the administrator stored."""
    return new_pc(server.address, user=ADMIN, password=WRONG)


def test_each_command(pc: Pc, server: Server) -> None:
    """Each command says what it did; exit codes give the client's state to monitoring."""

    def says(*command: str, code: int = 0, answer: str | None = None) -> str:
        found, said = pc.command(*command, answer=answer)
        assert found == code, said
        return said

    says("status", code=3)
    assert json.loads(says("status", "--json", code=3)) == {"state": "not_running"}
    pc.start()
    pc.says("needs_password", "credentials")
    says("status", code=12)
    said = says("update-password", code=1, answer=f"{WRONG} ")
    assert "The password begins or ends with a blank." in said
    assert "Nothing was changed" in said
    says("update-password", answer=ADMIN_PASSWORD)
    pc.has_only(ADMIN_PASSWORD)
    assert ADMIN in says("status")
    status = json.loads(says("status", "--json"))
    assert (status["state"], status["user"], status["pid"]) == ("standby", ADMIN, pc.pid)
    assert "already" in says("run")
    assert "the client ends: another client of this user is running" in pc.log()
    says("doctor")
    says("logout")
    pc.says("logged_out")
    says("status", code=13)
    pc.log_in(ADMIN_PASSWORD)
    pc.has_only(ADMIN_PASSWORD)
    says("quit", "--update")
    pc.wait_for_end()
    says("quit", code=3)
    farewell = "SELECT farewell FROM console_device WHERE waiting_since IS NULL"
    eventually(lambda: server.installation.query(farewell)[-1:] == [("update",)])


def test_a_frozen_client_does_not_answer(pc: Pc) -> None:
    """`status`, `login`, `quit` and a second start report a frozen client by an exit code."""
    pc.start()
    pc.says("needs_password", "credentials")
    assert pc.pid is not None
    os.kill(pc.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as threads:
            answers = [threads.submit(pc.command, each) for each in ("status", "quit", "run")]
            answers.append(threads.submit(pc.login, ADMIN_PASSWORD))
            as_json = threads.submit(pc.command, "status", "--json")
            for code, said in (each.result() for each in answers):
                assert code == 5, said
                assert "does not answer" in said
            assert as_json.result()[1].strip() == '{"state": "no_answer"}'
    finally:
        os.kill(pc.pid, signal.SIGCONT)


def test_output_that_finds_no_room(pc: Pc) -> None:
    """A command whose output cannot be written fails, but not with the code for "no client"."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent", "status"],
            check=False, env=pc.environ, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "That did not work" in done.stderr


def test_a_client_that_starts_beside_a_command_stays(pc: Pc) -> None:
    """Without a client a command runs as the client; a client that starts waits for its end."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as threads:
        address = f"ws://127.0.0.1:{silent.getsockname()[1]}/gateway"
        text = pc.paths.config_file.read_text()
        pc.paths.config_file.write_text(text.replace(pc.identity.server, address))
        update = threads.submit(pc.command, "update-password", answer="Whatever-1")
        eventually(lambda: pc.command("status")[0] == 11)
        pc.start()
        eventually(lambda: "a command has the channel" in pc.log())
        assert update.result()[0] == 1
        eventually(lambda: pc.status() is not None)
        assert pc.running


def test_a_login_that_fails_stores_nothing(new_pc: Callable[..., Pc], server: Server) -> None:
    """A login with a wrong password, or without a keyring, stores no entry and no settings."""
    pc = new_pc(server.address, user=ADMIN, logged_in=False)
    code, said = pc.login(WRONG)
    assert code == 1
    assert "wrong" in said
    assert pc.command("update-password", answer="Whatever-1")[0] == 1
    pc.environ["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/none"
    code, said = pc.login(ADMIN_PASSWORD)
    assert code == 1
    assert "password store" in said
    assert not pc.paths.config_file.exists()
    kept = [path.read_bytes() for path in pc.paths.state_dir.rglob("*") if path.is_file()]
    assert not any(ADMIN_PASSWORD.encode() in content for content in kept)
