"""A client that is killed while it takes a pushed password loses nothing.

Real server, pages, keyring and processes. `COCONOWORK_KILLS=200` sets how many random moments are
tried.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from agent.ports import ChannelError
from tests.support.browser import Browser
from tests.support.installation import P1, Server
from tests.support.pc import Pc
from tests.support.places import ROOT

pytestmark = pytest.mark.keyring
KILLS = int(os.environ.get("COCONOWORK_KILLS", "2"))


def test_killed_at_every_step(server: Server, new_pc: Callable[..., Pc]) -> None:
    """After a kill at each moment of a change, the next start finishes the update."""
    server.installation.add_user("killed-steps")
    pc = new_pc(server.address, user="killed-steps", password=P1)
    password, killed_at = P1, list[str]()
    with server.browser("killed-steps", P1) as browser:
        for moment in itertools.count():
            command = [sys.executable, "-m", "tests.support.killable", str(moment)]
            quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
            with (
                subprocess.Popen(
                    command, env=pc.environ, cwd=ROOT, stdout=pipe, stderr=quiet, text=True
                ) as process,
                ended_on_failure(process),
            ):
                pc.says("standby")
                restarted = threading.Thread(target=start_when_killed, args=(process, pc))
                new = f"Vkxw-{moment}-zq7"
                push(browser, password, new, then=restarted.start)
                password = new
                if process.poll() is None:
                    with suppress(ChannelError):  # this is the moment at which it is killed
                        pc.tell("quit")
                restarted.join(timeout=60)
                assert process.stdout is not None
                told = [line for line in process.stdout if line.startswith("killed at")]
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
            killed_at.append(told[0].strip())
            pc.has_only(password)
            pc.kill()
    print("\n".join(killed_at))
    steps = " ".join(killed_at)
    assert len(killed_at) >= 8, killed_at
    for step in ("before WriteVault", "after the keyring's write", "ComputeProof", "before Send"):
        assert step in steps


def push(browser: Browser, current: str, new: str, *, then: Callable[[], object]) -> None:
    """Change the password, call `then`, and wait until a PC has applied the change."""
    browser.change_password(current, new)
    then()
    browser.wait_for_text("Applied")


@contextmanager
def ended_on_failure(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process when the test fails, which would else wait for it for ever."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


def start_when_killed(process: subprocess.Popen[str], pc: Pc) -> None:
    """Start the client again once the process is killed, as the next sign-in would."""
    if process.wait(timeout=60) != 0:
        pc.start()


@pytest.mark.timeout(60 * max(10, KILLS))
def test_killed_at_random_moments(server: Server, new_pc: Callable[..., Pc]) -> None:
    """After a kill at a random moment of a change, the client has the new password."""
    server.installation.add_user("killed-random")
    pc = new_pc(server.address, user="killed-random", password=P1)
    password = P1
    with server.browser("killed-random", P1) as browser:
        for number in range(KILLS):
            pc.start()
            pc.says("standby")
            delay_s = random.uniform(0.0, 1.5)

            def kill_and_restart(delay_s: float = delay_s) -> None:
                time.sleep(delay_s)
                pc.kill()
                pc.start()

            killer = threading.Thread(target=kill_and_restart)
            new = f"Vkxw-{number}-zq7"
            push(browser, password, new, then=killer.start)
            killer.join()
            password = new
            print(f"killed after {delay_s:.3f} s")
            pc.has_only(password)
            pc.kill()
