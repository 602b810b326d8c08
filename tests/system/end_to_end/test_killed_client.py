"""A client that is killed while it takes a pushed password: nothing is lost, ever.

Real server, real pages, real keyring, real processes. `COCONOWORK_KILLS=200` makes the random
part as long as one likes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from demo.installation import Client
from demo.tour.cases import wait_for_text
from tests.support.places import ROOT
from tests.system.end_to_end.conftest import Server, person

KILLS = int(os.environ.get("COCONOWORK_KILLS", "6"))


def sign_in(client: Client, server: Server, username: str, password: str) -> None:
    code, said = client.command(
        "login", "--server", server.gateway, "--user", username, answer=password
    )
    assert code == 0, said


class Changer:
    """A user who changes the own password over and over, with the push on."""

    def __init__(self, server: Server, username: str, password: str) -> None:
        self._server = server
        self._username = username
        self.password = password
        self._count = itertools.count()

    def change(self) -> str:
        """Change it; the text of the page that tells what became of it, some seconds later."""
        new = f"Number-{next(self._count)}-{random.randrange(10**8)}"
        with person(self._server.console) as user:
            assert user.log_in("/login/", self._username, self.password)
            user.follow("パスワード変更")
            user.fill("現在のパスワード", self.password)
            user.fill("新しいパスワード", new)
            user.fill("新しいパスワード(確認)", new)
            user.press("変更")
            assert "パスワードが変更されました。" in user.text(), user.text()
            self.password = new
            self.on_change()
            return wait_for_text(user, "反映済み", within_s=60)

    def on_change(self) -> None:
        """Called when the change is made, before the wait for its outcome."""


def assert_whole(client: Client, address: str, username: str, password: str) -> None:
    """The client's keyring has the new password and nothing else, and it works."""
    status = client.wait_for("standby")
    assert status["days_left"] is None
    stored = subprocess.run(
        [sys.executable, "-c", READ_VAULT, address, username],
        env=client.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert stored == f"{password} None None"


READ_VAULT = """
import sys
from agent.vault import KeyringVault
from agent.core.credentials import Identity
record = KeyringVault().read(Identity(server=sys.argv[1], user=sys.argv[2]))
print(record.password, record.pending, record.refused, end="")
"""


@pytest.mark.keyring
@pytest.mark.timeout(600)
def test_killed_at_every_step(server: Server, client: Client) -> None:
    """At each moment of the transaction in turn; the next start finishes the update."""
    password = server.new_user("killed-steps")
    changer = Changer(server, "killed-steps", password)
    sign_in(client, server, "killed-steps", password)
    killed_at: list[str] = []
    for moment in itertools.count():
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.killable", str(moment)],
            env=client.environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            client.wait_for("standby")
            restarted = threading.Thread(target=restart_when_gone, args=(process, client))
            changer.on_change = restarted.start  # type: ignore[method-assign] # a hook
            outcome = changer.change()
            if process.poll() is None and client.status() is not None:
                # No such moment any more: it has taken the password undisturbed.
                asyncio.run(quit_client(client))
            process.wait(timeout=30)
            restarted.join(timeout=60)
            assert process.stdout is not None
            told = [line for line in process.stdout if line.startswith("killed at")]
        assert "反映済み" in outcome, (moment, told)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        killed_at.append(told[0].strip())
        assert_whole(client, server.gateway, "killed-steps", changer.password)
        client.stop()
    print("\n".join(killed_at))
    steps = " ".join(killed_at)
    assert len(killed_at) >= 8, killed_at
    for step in ("before WriteVault", "after the keyring's write", "ComputeProof", "before Send"):
        assert step in steps


def restart_when_gone(process: subprocess.Popen[str], client: Client) -> None:
    """Be the next sign-in after the power cut."""
    try:
        process.wait(timeout=8)
    except subprocess.TimeoutExpired:
        return
    if process.returncode != 0:
        client.start()


async def quit_client(client: Client) -> None:
    from agent.control import ask

    await ask(client.paths, {"command": "quit"}, timeout_s=10)


@pytest.mark.keyring
@pytest.mark.timeout(60 * max(10, KILLS))
def test_killed_at_random_moments(server: Server, client: Client) -> None:
    """KILLS times, somewhere in the second and a half after the change is made."""
    password = server.new_user("killed-random")
    changer = Changer(server, "killed-random", password)
    sign_in(client, server, "killed-random", password)
    for _ in range(KILLS):
        client.start()
        client.wait_for("standby")
        delay = random.uniform(0.0, 1.5)

        def kill_and_restart(delay: float = delay) -> None:
            time.sleep(delay)
            client.kill()
            client.start()

        killer = threading.Thread(target=kill_and_restart)
        changer.on_change = killer.start  # type: ignore[method-assign] # a hook
        outcome = changer.change()
        killer.join()
        assert "反映済み" in outcome, delay
        assert_whole(client, server.gateway, "killed-random", changer.password)
        client.stop()
