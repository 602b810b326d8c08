"""The client's commands as a user types them, against a real server and a real keyring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.installation import Client
from tests.support.places import ROOT
from tests.system.end_to_end.conftest import ADMINISTRATOR, Server

pytestmark = pytest.mark.keyring


@pytest.fixture
def signed_in(client: Client, server: Server) -> Client:
    """A client that has signed in as the administrator, and does not run."""
    code, said = login(client, server, server.administrator_password)
    assert code == 0, said
    return client


def login(client: Client, server: Server, password: str) -> tuple[int, str]:
    return client.command(
        "login", "--server", server.gateway, "--user", ADMINISTRATOR, answer=password
    )


def test_wrong_password_stores_nothing(client: Client, server: Server) -> None:
    """`login` says what is wrong, exits with 1, and leaves neither entry nor settings."""
    code, said = login(client, server, "Wrong-wrong-1")
    assert code == 1
    assert "wrong" in said
    assert not client.paths.config_file.exists()
    code, said = client.command("update-password", answer="Whatever-1")
    assert code == 1


def test_status_tells_what_it_does(signed_in: Client) -> None:
    """3 when it does not run; as text and as JSON when it does."""
    assert signed_in.command("status")[0] == 3
    code, said = signed_in.command("status", "--json")
    assert (code, json.loads(said)) == (3, {"state": "not_running"})
    signed_in.start()
    signed_in.wait_for("standby")
    code, said = signed_in.command("status")
    assert code == 0
    assert ADMINISTRATOR in said
    code, said = signed_in.command("status", "--json")
    status = json.loads(said)
    assert (code, status["state"], status["user"]) == (0, "standby", ADMINISTRATOR)


def test_a_second_start_talks_to_the_first(signed_in: Client) -> None:
    """It starts no second client, says so, and exits with 0; `quit` ends the first."""
    signed_in.start()
    pid = signed_in.wait_for("standby")["pid"]
    code, said = signed_in.command("run")
    assert code == 0
    assert "already" in said
    status = signed_in.status()
    assert status is not None
    assert status["pid"] == pid
    assert signed_in.command("quit")[0] == 0
    assert signed_in.command("quit")[0] in {0, 3}


def test_update_password_checks_before_it_stores(signed_in: Client, server: Server) -> None:
    """With a running client as without: a wrong one changes nothing, the right one is taken."""
    for running in (False, True):
        if running:
            signed_in.start()
            signed_in.wait_for("standby")
        code, said = signed_in.command("update-password", answer="Wrong-wrong-1")
        assert code == 1, said
        assert "Nothing was changed" in said
        code, said = signed_in.command("update-password", answer=server.administrator_password)
        assert code == 0, said
    signed_in.wait_for("standby")


def test_logout_forgets(signed_in: Client) -> None:
    """After `logout` nothing is stored, and the running client is signed out."""
    signed_in.start()
    signed_in.wait_for("standby")
    assert signed_in.command("logout")[0] == 0
    signed_in.wait_for("logged_out")
    signed_in.stop()
    signed_in.start()
    signed_in.wait_for("logged_out")


def test_doctor_names_the_step_that_fails(signed_in: Client, server: Server) -> None:
    """All well with the real server; with a port where nobody listens it stops there."""
    code, said = signed_in.command("doctor")
    assert code == 0, said
    text = signed_in.paths.config_file.read_text()
    signed_in.paths.config_file.write_text(text.replace(server.gateway, "ws://127.0.0.1:9/gateway"))
    code, said = signed_in.command("doctor")
    assert code == 1, said


def test_a_bad_settings_file_is_named(signed_in: Client) -> None:
    """File, key and what is allowed; exit code 1; no traceback."""
    with signed_in.paths.config_file.open("a") as file:
        file.write('languag = "ja"\n')
    code, said = signed_in.command("status")
    assert code == 1
    assert "client.toml" in said
    assert "languag" in said
    assert "Traceback" not in said


def test_a_vanished_keyring_is_a_state_and_comes_back(tmp_path: Path, server: Server) -> None:
    """Without a Secret Service the client says so and keeps trying; no file takes its place."""
    environ = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    environ.pop("DISPLAY", None)
    client = Client(tmp_path / "pc", environ)
    code, said = login(client, server, server.administrator_password)
    assert code == 1
    assert "password store" in said
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert server.administrator_password.encode() not in path.read_bytes()


def test_plain_websocket_is_refused_beyond_loopback(client: Client) -> None:
    """`ws://` to another machine is refused before anything is sent, and says why."""
    code, said = client.command(
        "login", "--server", "ws://192.0.2.1/gateway", "--user", "x", answer="Whatever-1"
    )
    assert code == 1
    assert "wss://" in said


def test_the_password_is_no_argument() -> None:
    """There is no option to give it by."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", "login", "--password", "x"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
