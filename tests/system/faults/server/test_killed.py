"""The server, or PostgreSQL below it, dies in the middle of a password change or of a push.

After the start all of it holds or none, what was promised to a browser holds, the PC gets in, and
the push arrives. The server dies at chosen system calls of its writing, and at random moments. The
long form is `KILLS=200 pytest tests/system/faults/server/test_killed.py`.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from nacl.public import PrivateKey
from websockets.exceptions import ConnectionClosed

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client, new_key
from tests.support.installation import P1, P2, Installation, Server, verifier
from tests.support.polling import eventually
from tests.support.postgres import Postgres

KILLS = int(os.environ.get("KILLS", "0"))
CALLS = {False: "pwrite64,fsync,fdatasync,ftruncate,unlink", True: "sendto"}
"""By whether it is PostgreSQL: how the server writes to its database."""
ATTACH_S = 20


@contextmanager
def killed_at(server: Server, calls: str, number: int) -> Iterator[None]:
    """SIGKILL to the server at the beginning of its `number`th of these system calls from now."""
    tracer = subprocess.Popen(
        [
            "strace",
            "--follow-forks",
            f"--trace={calls}",
            f"--inject={calls}:signal=SIGKILL:when={number}",
            f"--attach={server.process.pid}",
            "--output=/dev/null",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    try:
        line = tracer.stderr.readline()
        assert "attached" in line, line
        yield
    finally:
        tracer.terminate()
        try:
            tracer.wait(timeout=2)
        except subprocess.TimeoutExpired:  # it may wait for a thread that died with the others
            tracer.kill()
            tracer.wait()
        tracer.stderr.close()


def has_died(server: Server) -> bool:
    """Whether it was killed; a process takes a moment to be gone."""
    try:
        return server.process.wait(timeout=1) != 0
    except subprocess.TimeoutExpired:
        return False


@dataclass
class Change:
    """One user's change from P1 to P2, sent from a browser, with a push to the one PC."""

    installation: Installation
    name: str
    pk: int = 0
    key: PrivateKey = field(default_factory=new_key)
    answered: bool = False
    """A browser has been told that it is done."""

    def __post_init__(self) -> None:
        self.pk = self.installation.add_user(self.name)

    def browser(self, server: Server) -> Browser:
        """Return a browser that shows the form."""
        browser = Browser(server.console)
        assert browser.log_in(self.name, P1)
        browser.open("/password/")
        return browser

    def send(self, browser: Browser) -> None:
        """Send the form and see what is answered, if anything is."""
        with suppress(requests.RequestException):
            answer: Any = browser.submit(
                follow=False, current_password=P1, new_password1=P2, new_password2=P2
            )
            self.answered = answer.status_code == 302
        browser.close()

    def rows(self) -> dict[str, int]:
        """Return what there is of it in the database."""
        counts = {
            "current": "console_user WHERE id = %s AND password = '" + verifier(P2) + "'",
            "retired": "console_retiredpassword WHERE user_id = %s",
            "change": "console_passwordchange WHERE user_id = %s",
            "audit": "console_auditevent WHERE subject_id = %s AND action = 'password.changed'",
            "delivery": "console_pendingchange p JOIN console_device d ON d.id = p.device_id"
            " WHERE d.user_id = %s",
        }
        statement = "SELECT count(*) FROM "
        return {
            name: self.installation.query(statement + what, self.pk)[0][0]
            for name, what in counts.items()
        }

    def is_done(self) -> bool:
        """Whether all of it holds, and not none. Half of it fails."""
        rows = self.rows()
        assert set(rows.values()) in ({0}, {1}), rows
        done = rows["current"] == 1
        assert done or not self.answered, "told that it was done, and lost"
        return done

    def outcome(self) -> tuple[str, int]:
        """Return the outcome of the push, and how often that was recorded."""
        [(outcome,)] = self.installation.query(
            "SELECT p.outcome FROM console_pendingchange p JOIN console_device d"
            " ON d.id = p.device_id WHERE d.user_id = %s",
            self.pk,
        )
        [(events,)] = self.installation.query(
            "SELECT count(*) FROM console_auditevent WHERE subject_id = %s"
            " AND action = 'push.applied'",
            self.pk,
        )
        return outcome, events

    async def comes_through(self, server: Server) -> None:
        """Assert that only the PC logs in with what it has, and has the new password in the end."""
        done = self.is_done()
        async with Client(server.gateway, key=self.key) as pc:
            if done and self.outcome()[0] == "applied":
                assert (await pc.log_in(self.name, P2)).password == "current"
            else:
                assert (await pc.log_in(self.name, P1)).password == ("old" if done else "current")
            if done and self.outcome()[0] != "applied":
                assert self.outcome() == ("pending", 0)
                pushed = await pc.expect(messages.PasswordChanged)
                assert pc.open(pushed.sealed)["password"] == P2
                assert (await pc.log_in(self.name, P2)).password == "current"
        if done:
            assert self.outcome() == ("applied", 1)
        for word, right in ((P1, not done), (P2, done)):
            with Browser(server.console) as browser:
                assert browser.log_in(self.name, word) == right, word


async def waiting(change: Change, server: Server) -> Client:
    """Return the PC, logged in by P1."""
    pc = await Client(server.gateway, key=change.key).__aenter__()
    await pc.log_in(change.name, P1)
    return pc


async def ended(pc: Client) -> None:
    """Close the connection; the other side may be gone."""
    with suppress(ConnectionClosed):
        await pc.socket.close()


async def change_killed_at(installation: Installation, number: int) -> tuple[bool, bool]:
    """Kill the server at the `number`th write from the moment that the form is sent.

    Whether it died of that, and whether the change was done.
    """
    change = Change(installation, f"change{number}")
    with installation.serving() as server:
        pc = await waiting(change, server)
        browser = await asyncio.to_thread(change.browser, server)
        with killed_at(server, CALLS[bool(installation.database)], number):
            await asyncio.to_thread(change.send, browser)
        died = has_died(server)
        await ended(pc)
    with installation.serving() as server:
        await change.comes_through(server)
    return died, change.is_done()


async def proof_killed_at(installation: Installation, number: int) -> tuple[bool, bool]:
    """Kill the server while the PC proves that it has the new password."""
    change = Change(installation, f"proof{number}")
    with installation.serving() as server:
        pc = await waiting(change, server)
        browser = await asyncio.to_thread(change.browser, server)
        await asyncio.to_thread(change.send, browser)
        await pc.expect(messages.PasswordChanged)
        with killed_at(server, CALLS[bool(installation.database)], number):
            try:
                welcomed = (await pc.log_in(change.name, P2)).password == "current"
            except ConnectionClosed:
                welcomed = False
        died = has_died(server)
        await ended(pc)
    outcome, events = change.outcome()
    assert (outcome, events) in {("pending", 0), ("applied", 1)}
    assert outcome == "applied" or not welcomed, "welcomed, and forgotten"
    with installation.serving() as server:
        await change.comes_through(server)
    return died, outcome == "applied"


async def duration_s(installation: Installation, server: Server) -> float:
    """How long a change takes here and now, from the form's being sent to the answer."""
    change = Change(installation, "measured")
    browser = await asyncio.to_thread(change.browser, server)
    begin = time.monotonic()
    await asyncio.to_thread(change.send, browser)
    assert change.answered
    return time.monotonic() - begin


async def test_server_is_killed_while_it_writes_a_change(any_installation: Installation) -> None:
    """Kill the server at one of its first writes of the change to the database."""
    died, _ = await change_killed_at(any_installation, random.randint(2, 6))
    assert died


async def test_server_is_killed_while_it_writes_a_proof(any_installation: Installation) -> None:
    """The PC is logging in by what was pushed."""
    died, _ = await proof_killed_at(any_installation, random.randint(1, 3))
    assert died


async def test_postgresql_is_killed(
    installation_on_postgres: Installation, postgres: Postgres
) -> None:
    """All of PostgreSQL, at a random moment of a change: the server goes on once it is back."""
    installation, outcomes = installation_on_postgres, []
    with installation.serving() as server:
        takes_s = await duration_s(installation, server)
        for number in range(max(1, KILLS // 4)):
            change = Change(installation, f"killed{number}")
            pc = await waiting(change, server)
            browser = await asyncio.to_thread(change.browser, server)
            sender = threading.Thread(target=change.send, args=(browser,))
            sender.start()
            delay_s = random.uniform(0, takes_s * 1.2)
            await asyncio.sleep(delay_s)
            postgres.kill()
            postgres.start()
            await asyncio.to_thread(sender.join)
            outcomes.append((round(delay_s, 2), change.answered, change.is_done()))
            await ended(pc)
            await asyncio.to_thread(_until_ready, server)
            await change.comes_through(server)
        assert server.process.poll() is None
    print(*outcomes, sep="\n")


def _until_ready(server: Server) -> None:
    """Wait until gateway and console have noticed that the database is back."""

    def ready() -> bool:
        with Browser(server.console) as browser:
            return bool(browser.get("/readyz").status_code == 200)

    eventually(ready, within_s=60)


async def every_moment(any_installation: Installation) -> None:
    """Each write in turn until the change gets through, then random moments."""
    installation, done = any_installation, []
    for attempt in (change_killed_at, proof_killed_at):
        begin, number = time.monotonic(), 0
        alive = 0
        while alive < 2:
            number += 1
            died, all_of_it = await attempt(installation, number)
            alive = 0 if died else alive + 1
            done.append(all_of_it)
        print(f"{attempt.__name__}: {number} moments, {time.monotonic() - begin:.0f} s")
    with installation.serving() as server:
        takes_s = await duration_s(installation, server)
    for number in range(KILLS):
        change = Change(installation, f"random{number}")
        with installation.serving() as server:
            pc = await waiting(change, server)
            browser = await asyncio.to_thread(change.browser, server)
            sender = threading.Thread(target=change.send, args=(browser,))
            sender.start()
            await asyncio.sleep(random.uniform(0, takes_s * 1.2))
            server.process.kill()
            await asyncio.to_thread(sender.join)
            await ended(pc)
        with installation.serving() as server:
            await change.comes_through(server)
        done.append(change.is_done())
    print(f"{len(done)} kills, {sum(done)} changes done, {len(done) - sum(done)} not")


if KILLS:
    test_every_moment = pytest.mark.timeout(0)(every_moment)
