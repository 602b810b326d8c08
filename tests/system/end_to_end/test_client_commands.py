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

from agent.core.credentials import Identity
from tests.support.installation import ADMIN, ADMIN_PASSWORD, Server
from tests.support.pc import Pc
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring
NO_SERVER = "ws://127.0.0.1:9/gateway"
"""A server that no program listens at."""


@pytest.fixture
def pc(new_pc: Callable[..., Pc], server: Server) -> Pc:
    """Return a client that has logged in as the administrator, and does not run."""
    return new_pc(server.address, user=ADMIN, password=ADMIN_PASSWORD)


def waits(pc: Pc) -> int:
    """Start the client, and return its process id once it is in standby."""
    pc.start()
    return int(pc.wait_for("standby")["pid"])


def use_server(pc: Pc, address: str) -> None:
    """Change the server in the settings file."""
    text = pc.paths.config_file.read_text()
    pc.paths.config_file.write_text(text.replace(pc.identity.server, address))


def test_wrong_password_stores_nothing(new_pc: Callable[..., Pc], server: Server) -> None:
    """`login` says what is wrong, exits with 1, and leaves neither entry nor settings."""
    pc = new_pc(server.address, user=ADMIN, logged_in=False)
    code, said = pc.login("Wrong-wrong-1")
    assert code == 1
    assert "wrong" in said
    assert not pc.paths.config_file.exists()
    assert pc.command("update-password", answer="Whatever-1")[0] == 1


def test_status_has_an_exit_code_for_each_case(pc: Pc) -> None:
    """`status` prints text or JSON; monitoring sees by the code what the client does."""
    assert pc.command("status")[0] == 3
    code, said = pc.command("status", "--json")
    assert (code, json.loads(said)) == (3, {"state": "not_running"})
    waits(pc)
    code, said = pc.command("status")
    assert code == 0
    assert ADMIN in said
    code, said = pc.command("status", "--json")
    status = json.loads(said)
    assert (code, status["state"], status["user"]) == (0, "standby", ADMIN)
    assert pc.command("logout")[0] == 0
    pc.wait_for("logged_out")
    assert pc.command("status")[0] == 13
    pc.stop()
    pc.be_logged_in("Wrong-wrong-1")
    pc.start()
    pc.wait_for("needs_password")
    assert pc.command("status", "--json")[0] == 12
    pc.stop()
    pc.identity = Identity(server=NO_SERVER, user=ADMIN)
    pc.be_logged_in(ADMIN_PASSWORD)
    pc.start()
    pc.wait_for("retrying")
    assert pc.command("status", "--json")[0] == 11


def test_a_frozen_client_does_not_answer(pc: Pc) -> None:
    """`status`, `login`, `quit` and a second start say so soon, with a code of its own."""
    pid = waits(pc)
    os.kill(pid, signal.SIGSTOP)
    try:
        answers = [pc.command(command) for command in ("status", "quit", "run")]
        for code, said in (*answers, pc.login(ADMIN_PASSWORD)):
            assert code == 5, said
            assert "does not answer" in said
        assert pc.command("status", "--json")[1].strip() == '{"state": "no_answer"}'
    finally:
        os.kill(pid, signal.SIGCONT)
    pc.wait_for("standby")


def test_output_that_finds_no_room(pc: Pc) -> None:
    """A command whose output is lost fails, and does not say that the client has stopped."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent", "status"],
            check=False, env=pc.environ, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "That did not work" in done.stderr


def test_a_second_start_talks_to_the_first(pc: Pc) -> None:
    """A second start says that a client runs, and exits with 0; `quit` ends the client."""
    pid = waits(pc)
    code, said = pc.command("run")
    assert code == 0
    assert "already" in said
    assert "the client ends: another client of this user is running" in pc.log()
    assert pc.pid == pid
    assert pc.command("quit")[0] == 0
    assert pc.command("quit")[0] in {0, 3}


def test_a_client_that_starts_beside_a_command_stays(pc: Pc) -> None:
    """A command is the client while none runs; the one that starts then waits for its end."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as threads:
        use_server(pc, f"ws://127.0.0.1:{silent.getsockname()[1]}/gateway")
        update = threads.submit(pc.command, "update-password", answer="Whatever-1")
        eventually(lambda: pc.command("status")[0] == 11)
        pc.start()
        eventually(lambda: "a command has the channel" in pc.log())
        assert update.result()[0] == 1
        eventually(lambda: pc.status() is not None)
        assert pc.running


@pytest.mark.parametrize(("options", "farewell"), [([], "quit"), (["--update"], "update")])
def test_the_server_knows_why_a_client_was_ended(
    pc: Pc, server: Server, options: list[str], farewell: str
) -> None:
    """The reason of `quit` is with the PC as soon as it no longer waits."""
    waits(pc)
    assert pc.command("quit", *options)[0] == 0
    pc.wait_for_end()
    waiting = "SELECT farewell FROM console_device WHERE waiting_since IS NULL"
    eventually(lambda: server.installation.query(waiting) != [])
    assert server.installation.query(waiting)[-1] == (farewell,)


def test_update_password_checks_before_it_stores(pc: Pc) -> None:
    """`update-password` stores only a right password, with a running client and without."""
    for running in (False, True):
        if running:
            waits(pc)
        code, said = pc.command("update-password", answer="Wrong-wrong-1 ")
        assert code == 1, said
        assert "The password begins or ends with a blank." in said
        assert "Nothing was changed" in said
        code, said = pc.command("update-password", answer=ADMIN_PASSWORD)
        assert code == 0, said
    pc.wait_for("standby")


def test_logout_forgets(pc: Pc) -> None:
    """After `logout` nothing is stored, and the running client is logged out."""
    waits(pc)
    assert pc.command("logout")[0] == 0
    pc.wait_for("logged_out")
    pc.stop()
    pc.start()
    pc.wait_for("logged_out")


def test_doctor_names_the_step_that_fails(pc: Pc) -> None:
    """`doctor` exits with 0 with a good server, and with 1 when no program listens there."""
    code, said = pc.command("doctor")
    assert code == 0, said
    use_server(pc, NO_SERVER)
    code, said = pc.command("doctor")
    assert code == 1, said


def test_a_bad_settings_file_is_named(pc: Pc) -> None:
    """An unknown setting is reported with file and key, exit code 1 and no traceback."""
    with pc.paths.config_file.open("a") as file:
        file.write('languag = "ja"\n')
    code, said = pc.command("status")
    assert code == 1
    assert "client.toml" in said
    assert "languag" in said
    assert "Traceback" not in said


def test_without_a_keyring(tmp_path: Path, server: Server, new_pc: Callable[..., Pc]) -> None:
    """Without a Secret Service `login` fails, and no file has the password."""
    away = f"unix:path={tmp_path}/none"
    pc = new_pc(server.address, user=ADMIN, logged_in=False, DBUS_SESSION_BUS_ADDRESS=away)
    code, said = pc.login(ADMIN_PASSWORD)
    assert code == 1
    assert "password store" in said
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(ADMIN_PASSWORD.encode() in content for content in files)


def test_plain_websocket_is_refused_beyond_loopback(new_pc: Callable[..., Pc]) -> None:
    """`ws://` to another machine is refused before a connection is made."""
    code, said = new_pc("ws://192.0.2.1/gateway", logged_in=False).login()
    assert code == 1
    assert "wss://" in said


def test_the_password_is_no_argument(new_pc: Callable[..., Pc]) -> None:
    """No option takes a password."""
    assert new_pc(NO_SERVER, logged_in=False).command("login", "--password", "x")[0] == 2
