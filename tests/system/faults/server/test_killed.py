"""The server or PostgreSQL is killed in the middle of a password change, push or import.

After the restart the change is whole or not done, and done if a page said so; the PC logs in,
and the push arrives. Each run kills at other moments: system calls that write, or times.
"""

from __future__ import annotations

import asyncio
import csv
import io
import random
import re
import subprocess
import time
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests
from nacl.public import PrivateKey
from websockets.exceptions import ConnectionClosed

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client, new_key
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, Installation, Server, verifier
from tests.support.polling import eventually
from tests.support.postgres import Postgres

DELIVERY = "console_pendingchange p JOIN console_device d ON d.id = p.device_id WHERE d.user_id = "


@contextmanager
def killed_at(server: Server, number: int) -> Iterator[None]:
    """Kill the server at its `number`th system call from now that writes to the database."""
    on_postgres = server.installation.database
    calls = "sendto" if on_postgres else "pwrite64,fsync,fdatasync,ftruncate,unlink"
    options = [f"--trace={calls}", f"--inject={calls}:signal=SIGKILL:when={number}"]
    tracer = subprocess.Popen(
        ["strace", "--follow-forks", *options, f"--attach={server.process.pid}"]
        + ["--output=/dev/null"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    try:
        line = tracer.stderr.readline()
        assert "attached" in line, line
        yield
        assert server.process.wait(timeout=10) != 0, "it was not killed"
    finally:
        tracer.kill()
        tracer.wait()
        tracer.stderr.close()


@dataclass
class Change:
    """A user's change from P1 to P2, sent from a browser, with a push to the user's PC."""

    installation: Installation
    name: str = "tanaka"
    pk: int = 0
    key: PrivateKey = field(default_factory=new_key)
    answered: bool = False
    """Whether a page said that the change is done."""

    def __post_init__(self) -> None:
        self.pk = self.installation.add_user(self.name)

    def count(self, what: str) -> int:
        """Return the number of rows of the user; `what` is a table and condition."""
        [(number,)] = self.installation.query(f"SELECT count(*) FROM {what} %s", self.pk)
        return int(number)

    @asynccontextmanager
    async def waiting(self, server: Server) -> AsyncIterator[tuple[Client, Browser]]:
        """Yield the PC, logged in with P1, and a browser with the form; both may be cut off."""
        pc = await Client(server.gateway, key=self.key).__aenter__()
        await pc.log_in(self.name, P1)
        with server.browser(self.name, P1) as browser:
            browser.open("/password/")
            yield pc, browser
        with suppress(ConnectionClosed):
            await pc.socket.close()

    def send(self, browser: Browser) -> None:
        """Send the form. Note whether an answer came."""
        fields = {"current_password": P1, "new_password1": P2, "new_password2": P2}
        with suppress(requests.RequestException):
            self.answered = browser.submit(follow=False, **fields).status_code == 302

    def is_done(self) -> bool:
        """Return whether the change is done. A half-done change fails the test."""
        rows = {
            "user": self.count(f"console_user WHERE password = '{verifier(P2)}' AND id ="),
            "retired": self.count("console_retiredpassword WHERE user_id ="),
            "change": self.count("console_passwordchange WHERE user_id ="),
            "audit": self.count(
                "console_auditevent WHERE action = 'password.changed' AND subject_id ="
            ),
            "delivery": self.count(DELIVERY),
        }
        assert set(rows.values()) in ({0}, {1}), rows
        assert rows["user"] or not self.answered, "told that it was done, and lost"
        return bool(rows["user"])

    def outcome(self) -> tuple[str, int]:
        """Return the push's outcome, and the number of events that record its success."""
        [(outcome,)] = self.installation.query(f"SELECT p.outcome FROM {DELIVERY} %s", self.pk)
        applied = "console_auditevent WHERE action = 'push.applied' AND subject_id ="
        return outcome, self.count(applied)

    async def comes_through(self, server: Server) -> None:
        """Assert that the PC logs in, gets its push, and that only the right password works."""
        done = self.is_done()
        async with Client(server.gateway, key=self.key) as pc:
            if done and self.outcome()[0] == "applied":
                assert (await pc.log_in(self.name, P2)).password == "current"
            else:
                assert (await pc.log_in(self.name, P1)).password == ("old" if done else "current")
            if done and self.outcome()[0] != "applied":
                assert self.outcome() == ("pending", 0)
                await pc.takes(self.name, P2)
        if done:
            assert self.outcome() == ("applied", 1)
        for word, right in ((P1, not done), (P2, done)):
            with Browser(server.console) as browser:
                assert browser.log_in(self.name, word) == right, word


async def test_server_is_killed(any_installation: Installation) -> None:
    """Kill the server at a write of a change, then at one of the pushed password's login."""
    change = Change(any_installation)
    with any_installation.serving() as server:
        async with change.waiting(server) as (_, browser):
            with killed_at(server, random.randint(2, 6)):
                await asyncio.to_thread(change.send, browser)

    proof, welcomed = Change(any_installation, "suzuki"), False
    with any_installation.serving() as server:
        await change.comes_through(server)
        async with proof.waiting(server) as (pc, browser):
            await asyncio.to_thread(proof.send, browser)
            await pc.expect(messages.PasswordChanged)
            with killed_at(server, random.randint(1, 3)), suppress(ConnectionClosed):
                welcomed = (await pc.log_in(proof.name, P2)).password == "current"
    assert proof.outcome() in {("pending", 0), ("applied", 1)}
    assert proof.outcome()[0] == "applied" or not welcomed, "welcomed, and forgotten"
    with any_installation.serving() as server:
        await proof.comes_through(server)


async def test_postgresql_is_killed(
    installation_on_postgres: Installation, postgres: Postgres
) -> None:
    """Kill PostgreSQL at a random moment of a change; after its restart the server works on."""
    measured, change = (Change(installation_on_postgres, name) for name in ("measured", "killed"))
    with installation_on_postgres.serving() as server:
        async with measured.waiting(server) as (_, browser):
            begin = time.monotonic()
            await asyncio.to_thread(measured.send, browser)
            takes_s = time.monotonic() - begin
        assert measured.answered
        async with change.waiting(server) as (_, browser):
            sending = asyncio.create_task(asyncio.to_thread(change.send, browser))
            await asyncio.sleep(random.uniform(0, takes_s * 1.2))
            postgres.kill()
            postgres.start()
            await sending
        server.wait_until_ready()
        await change.comes_through(server)
        assert server.process.poll() is None


def test_server_is_killed_during_an_import(
    installation_on_postgres: Installation, tmp_path: Path
) -> None:
    """After the kill each line makes one user, and the import's browser gets all passwords."""
    installation, done = installation_on_postgres, "console_importline WHERE done"
    names = [f"imported{number}" for number in range(6)]
    file = tmp_path / "users.csv"
    file.write_text("\n".join(["username", *names]), "utf-8")
    with installation.serving() as server:
        browser = server.browser(ADMIN, ADMIN_PASSWORD)
        with file.open("rb") as content:
            job = browser.send("/users/import/", file=content).url.removeprefix(server.console)
        assert re.fullmatch(r"/users/import/\d+/", job)
        eventually(lambda: installation.query(f"SELECT count(*) FROM {done}") >= [(2,)])
        time.sleep(random.uniform(0, 0.5))
        server.process.kill()
    [(before,)] = installation.query(f"SELECT count(*) FROM {done}")
    assert before < len(names)
    with installation.serving() as server, browser:
        browser.console = server.console
        browser.open(job)
        browser.wait_for_text("Open the temporary")
        text = browser.submit().text
        found = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', text)
        assert found
        rows = list(csv.reader(io.StringIO(b64decode(found[1]).decode("utf-8-sig"))))[1:]
        assert [name for name, _ in rows] == names
        made = installation.query("SELECT username FROM console_user")
        assert Counter(name for (name,) in made) == Counter([ADMIN, *names])
        events = installation.query(
            "SELECT subject_name FROM console_auditevent WHERE action = 'user.created'"
            " AND actor_name <> ''"
        )
        assert Counter(name for (name,) in events) == Counter(names)
        for name, password in rows[before - 1 : before + 1]:
            with server.browser(name, password) as user:
                assert user.open("/").url.endswith("/password/")
