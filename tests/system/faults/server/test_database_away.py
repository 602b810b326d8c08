"""The database, or its disk, fails for a while, and clients wait.

Clients stay connected, pages say what is wrong and when to retry, and afterwards the server works
without a restart.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import psutil

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, Installation, Server
from tests.support.polling import eventually
from tests.support.postgres import Postgres

WAITING = "SELECT count(*) FROM console_device WHERE waiting_since IS NOT NULL"
PCS = 12
SOME_COOKIE = "sessionid=" + "x" * 32


@asynccontextmanager
async def crowd(installation: Installation) -> AsyncIterator[tuple[Server, list[Client]]]:
    """Yield a server where PCs of tanaka wait, and two PCs that the test has to end.

    At the end the other PCs must still wait, also for the console, and get a change.
    """
    installation.add_user("tanaka")
    with installation.serving() as server:
        clients = [Client(server.gateway) for _ in range(PCS)]
        for client in clients:
            await client.__aenter__()
        await asyncio.gather(*(client.log_in("tanaka", P1) for client in clients))
        leavers, others = clients[:2], clients[2:]
        yield server, leavers
        await asyncio.to_thread(
            eventually, lambda: installation.query(WAITING) == [(PCS - 2,)], within_s=60
        )
        await asyncio.to_thread(server.wait_until_ready)
        with server.browser("tanaka", P1) as browser:
            browser.change_password(P1, P2)
        for client in others:
            pushed = await client.expect(messages.PasswordChanged)
            assert client.open(pushed.sealed)["password"] == P2
        assert (await others[0].log_in("tanaka", P2)).password == "current"
        assert server.process.poll() is None
        assert "Traceback" not in server.logged()
        for client in others:
            await client.socket.close()


async def says_when_to_come_again(server: Server) -> None:
    """Assert that a login gets `bye` with a time to retry, not a refusal."""
    async with Client(server.gateway) as client:
        try:
            answer: Any = await client.try_log_in("tanaka", P1)
        except AssertionError as unexpected:
            answer = unexpected.args[0]
    assert isinstance(answer, messages.Bye), answer
    assert answer.reason == "shutting_down"
    assert answer.retry_after_s


def check_unavailable(answer: Any, said: str = "cannot use its database") -> None:
    """Assert that a page is a 503 with Retry-After, and shows no internals."""
    assert answer.status_code == 503, answer.status_code
    assert int(answer.headers["Retry-After"]) > 0
    answer.encoding = "utf-8"
    assert said in answer.text
    for inside in ("Traceback", "OperationalError", "sqlite", "psycopg", "127.0.0.1:"):
        assert inside not in answer.text


@contextmanager
def paused(postgres: Postgres) -> Iterator[None]:
    """Pause PostgreSQL: connections stay open without answers."""
    postgres.pause()
    try:
        yield
    finally:
        postgres.resume()


async def test_postgresql_stands_still_and_is_stopped(
    installation_on_postgres: Installation, postgres: Postgres
) -> None:
    """Pages are 503 while PostgreSQL hangs, after a time-out, and at once while it is stopped."""
    async with crowd(installation_on_postgres) as (server, leavers):
        with Browser(server.console) as browser:
            with paused(postgres):
                await leavers[0].socket.close()
                answer = await asyncio.to_thread(browser.get, "/login/", Cookie=SOME_COOKIE)
                check_unavailable(answer)
            await asyncio.to_thread(server.wait_until_ready)
            postgres.stop()
            try:
                await leavers[1].socket.close()
                await says_when_to_come_again(server)
                for language, said in (("en", "cannot use its"), ("ja", "使用できません")):
                    headers = {"Accept-Language": language, "Cookie": SOME_COOKIE}
                    check_unavailable(browser.get("/login/", **headers), said)
                assert browser.get("/readyz").status_code == 503
                assert browser.get("/healthz").status_code == 200
            finally:
                postgres.start()


SOON = (
    "from server.commands import serve; from server.__main__ import main; "
    "serve.STOP_AT_LATEST_SECONDS = 1.0; main()"
)


async def test_a_database_that_stands_still_does_not_keep_a_stop(
    installation_on_postgres: Installation, postgres: Postgres
) -> None:
    """At a stop while the database hangs, clients get `bye`, and the process ends in time.

    Here a stop may take 1 s instead of half a minute.
    """
    installation = installation_on_postgres
    installation.add_user("tanaka")
    with installation.serving(program=[sys.executable, "-c", SOON]) as server:
        async with Client(server.gateway) as client:
            await client.log_in("tanaka", P1)
            with paused(postgres):
                server.process.terminate()
                assert await client.expect(messages.Bye)
                assert await asyncio.to_thread(server.process.wait, 20) == 1
        assert "does not stop in time" in server.logged()


async def test_disk_is_full_and_sqlite_is_locked(installation: Installation) -> None:
    """SQLite can be read but not written: clients wait on, and changes fail.

    Writers wait for a lock up to 20 s; pages that only read work; no end is lost.
    """
    async with crowd(installation) as (server, leavers):
        process = psutil.Process(server.process.pid)
        before = process.rlimit(psutil.RLIMIT_FSIZE)
        with server.browser("tanaka", P1) as browser:
            browser.open("/password/")
            # No file of the server can grow, as on a full disk.
            process.rlimit(psutil.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            form: Any = {"current_password": P1, "new_password1": P2, "new_password2": P2}
            check_unavailable(await asyncio.to_thread(lambda: browser.submit(**form)))
            await says_when_to_come_again(server)
            await leavers[0].socket.close()
            process.rlimit(psutil.RLIMIT_FSIZE, before)
        assert installation.query("SELECT count(*) FROM console_passwordchange") == [(0,)]

        with Browser(server.console) as browser, Browser(server.console) as reader:
            with closing(sqlite3.connect(installation.file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await leavers[1].socket.close()
                login = asyncio.create_task(
                    asyncio.to_thread(browser.log_in, ADMIN, ADMIN_PASSWORD)
                )
                assert (await asyncio.to_thread(reader.get, "/login/")).status_code == 200
                await asyncio.sleep(1)  # the time of the lock
                assert not login.done()
                other.execute("ROLLBACK")
            assert await login
