"""A client that is killed while it takes a pushed password loses nothing.

Server, pages, keyring and processes are real.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import pytest

from tests.support.installation import P1, Server
from tests.support.pc import Pc
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring


def test_killed_at_every_step(server: Server, new_pc: Callable[..., Pc]) -> None:
    """The client is started again and again, and each time killed one step later.

    A client that reaches standby gets another push, and is killed while it takes that. The last
    client stores a new password and is not killed.
    """
    server.installation.add_user("killed")
    pc = new_pc(server.address, user="killed", password=P1)
    # A killed process saves no coverage.
    pc.environ = {name: v for name, v in pc.environ.items() if not name.startswith("COVERAGE_")}
    password = P1
    with server.browser("killed", P1) as browser:

        def has_it() -> bool:
            status = pc.status() or {}
            return status.get("state") == "standby" and pc.stored().password == password

        for moment in itertools.count():
            pc.wrapper = [sys.executable, "-m", "tests.support.killable", str(moment)]
            pc.start()
            eventually(lambda: not pc.running or has_it(), pause_s=0.1, or_say=pc.told)
            if pc.running:
                new = f"Vkxw-{moment}-zq7"
                browser.change_password(password, new)
                password = new
                eventually(lambda: not pc.running or has_it(), pause_s=0.1, or_say=pc.told)
            if pc.running:
                break
            pc.kill()
        browser.wait_for_text("Applied")
    pc.has_only(password)
    killed_at = [line for line in pc.output if line.startswith("killed ")]
    print("\n".join(killed_at))
    assert len(killed_at) == moment >= 8
    for step in ("before the keyring's write", "after the keyring's write", "before Proof"):
        assert killed_at.count(f"killed {step}") >= 2
