"""The database, or the disk below it, is away for a while, and clients wait.

They stay connected, pages say what is the matter and when to come again, and once it is back all
is as it should be without a restart. The long form, with 1,000 clients and a minute, is
`AWAY_CLIENTS=1000 AWAY_S=60 pytest tests/system/faults/server/test_database_away.py`.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, Installation, Server
from tests.support.polling import eventually
from tests.support.postgres import Postgres

CLIENTS = int(os.environ.get("AWAY_CLIENTS", "30"))
PCS_PER_USER = 20
AWAY_S = float(os.environ.get("AWAY_S", "1"))
WAITING = "SELECT count(*) FROM console_device WHERE waiting_since IS NOT NULL"


@asynccontextmanager
async def crowd(installation: Installation, server: Server) -> AsyncIterator[list[Client]]:
    """Yield waiting PCs: some of tanaka's, and those of others."""
    names = [f"user{number // PCS_PER_USER}" for number in range(CLIENTS)]
    names[:PCS_PER_USER] = ["tanaka"] * len(names[:PCS_PER_USER])
    for name in sorted(set(names)):
        installation.add_user(name)
    clients = [Client(server.gateway) for _ in names]
    doors = asyncio.Semaphore(20)

    async def come(client: Client, name: str) -> None:
        async with doors:
            await client.__aenter__()
            assert (await client.log_in(name, P1)).password == "current"

    try:
        await asyncio.gather(*map(come, clients, names))
        yield clients
    finally:
        await asyncio.gather(*(each.socket.close() for each in clients if hasattr(each, "socket")))


async def is_there(client: Client) -> bool:
    """Return whether the gateway answers on its connection."""
    try:
        async with asyncio.timeout(20):
            await (await client.socket.ping())
    except (ConnectionClosed, TimeoutError):
        return False
    return True


async def says_when_to_come_again(server: Server) -> None:
    """Assert that a login is sent away with a time, and its password is not refused."""
    async with Client(server.gateway) as client:
        try:
            answer = await client.try_log_in("tanaka", P1)
        except AssertionError as unexpected:
            answer = unexpected.args[0]
    assert isinstance(answer, messages.Bye), answer
    assert answer.reason == "shutting_down"
    assert answer.retry_after_s


def says_what_is_the_matter(server: Server, path: str = "/login/") -> None:
    """503 in the browser's language, with a time to come again and nothing of our insides."""
    texts = {"en": "cannot use its database", "ja": "データベースを使用できません"}
    for language, said in texts.items():
        with Browser(server.console) as browser:
            answer = browser.get(
                path, **{"Accept-Language": language, "Cookie": "sessionid=" + "x" * 32}
            )
            check_unavailable(answer, said)


def check_unavailable(answer: Any, said: str = "cannot use its database") -> None:
    assert answer.status_code == 503, answer.status_code
    assert int(answer.headers["Retry-After"]) > 0
    answer.encoding = "utf-8"
    assert said in answer.text
    for inside in ("Traceback", "OperationalError", "sqlite", "psycopg", "127.0.0.1:"):
        assert inside not in answer.text


async def all_is_well(installation: Installation, server: Server, clients: list[Client]) -> None:
    """Presence is true, people log in and out, and a change reaches everybody that waits."""
    number = len(clients)
    await asyncio.to_thread(
        lambda: eventually(lambda: installation.query(WAITING) == [(number,)], within_s=60)
    )
    with Browser(server.console) as browser:
        ready = await asyncio.to_thread(lambda: eventually(lambda: _is_ready(browser), within_s=60))
        assert ready
        assert await asyncio.to_thread(browser.log_in, "tanaka", P1)
        answer = await asyncio.to_thread(browser.change_password, P1, P2)
        assert "/password/changed/" in answer.url
    for client in clients[: PCS_PER_USER - 1]:
        pushed = await client.expect(messages.PasswordChanged)
        assert client.open(pushed.sealed)["password"] == P2
    assert (await clients[0].log_in("tanaka", P2)).password == "current"
    assert server.process.poll() is None


def _is_ready(browser: Browser) -> bool:
    return bool(browser.get("/readyz").status_code == 200)


@contextmanager
def stopped(postgres: Postgres) -> Iterator[None]:
    """Stop PostgreSQL, so that connections are refused."""
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def paused(postgres: Postgres) -> Iterator[None]:
    """Pause PostgreSQL: connections are open, and nothing answers."""
    postgres.pause()
    try:
        yield
    finally:
        postgres.resume()


@pytest.mark.timeout(120 + AWAY_S * 4)
async def test_postgresql_is_stopped(
    installation_on_postgres: Installation, postgres: Postgres
) -> None:
    """Connections are refused, so pages and clients get an answer at once."""
    installation = installation_on_postgres
    with installation.serving() as server:
        async with crowd(installation, server) as clients:
            leaver = clients.pop()
            with stopped(postgres):
                await asyncio.gather(
                    asyncio.to_thread(says_what_is_the_matter, server),
                    says_when_to_come_again(server),
                )
                with Browser(server.console) as browser:
                    assert browser.get("/readyz").status_code == 503
                    assert browser.get("/healthz").status_code == 200
                await leaver.socket.close()
                await asyncio.sleep(AWAY_S)  # how long it is away, not what is waited for
                assert all(await asyncio.gather(*map(is_there, clients)))
            await all_is_well(installation, server, clients)
        assert "Traceback" not in server.logged()


@pytest.mark.timeout(120 + AWAY_S * 4)
async def test_postgresql_stands_still(
    installation_on_postgres: Installation, postgres: Postgres
) -> None:
    """Connections are open and nothing answers: a page gives up, clients go on waiting."""
    installation = installation_on_postgres
    with installation.serving() as server:
        async with crowd(installation, server) as clients:
            leaver = clients.pop()
            with paused(postgres), Browser(server.console) as browser:
                await leaver.socket.close()
                answer = await asyncio.to_thread(
                    lambda: browser.get("/login/", Cookie="sessionid=" + "x" * 32)
                )
                check_unavailable(answer)
                await asyncio.sleep(AWAY_S)  # see above
                assert all(await asyncio.gather(*map(is_there, clients)))
            await all_is_well(installation, server, clients)
        assert "Traceback" not in server.logged()


SOON = (
    "from server.commands import serve; from server.__main__ import main; "
    "serve.STOP_AT_LATEST_SECONDS = 1.0; main()"
)


async def test_a_database_that_stands_still_does_not_keep_a_stop(
    installation_on_postgres: Installation, postgres: Postgres
) -> None:
    """Clients are told at once, and the process is gone at the latest when it should be.

    The same with a second instead of the half minute that a stop may take.
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


@contextmanager
def full(installation: Installation, server: Server) -> Iterator[None]:
    """No file of the server's grows any more: what a full disk does."""
    process = psutil.Process(server.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (_page(installation), resource.RLIM_INFINITY))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


def _page(installation: Installation) -> int:
    """Less than any write to the database needs."""
    assert installation.file.with_name(installation.file.name + "-wal").exists()
    return 1


@pytest.mark.timeout(120 + AWAY_S * 4)
async def test_disk_is_full(installation: Installation) -> None:
    """SQLite can be read and not be written: who waits goes on waiting, a change is not done."""
    with installation.serving() as server:
        async with crowd(installation, server) as clients:
            with Browser(server.console) as browser:
                assert browser.log_in("tanaka", P1)
                leaver = clients.pop()
                browser.open("/password/")
                with full(installation, server):
                    form: dict[str, Any] = {
                        "current_password": P1,
                        "new_password1": P2,
                        "new_password2": P2,
                    }
                    check_unavailable(await asyncio.to_thread(lambda: browser.submit(**form)))
                    await says_when_to_come_again(server)
                    await leaver.socket.close()
                    await asyncio.sleep(AWAY_S)  # see above
                    assert all(await asyncio.gather(*map(is_there, clients)))
            changes = "SELECT count(*) FROM console_passwordchange"
            assert installation.query(changes) == [(0,)]
            await all_is_well(installation, server, clients)
        assert "Traceback" not in server.logged()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another program writes, and takes its time."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                other.execute("ROLLBACK")


@pytest.mark.timeout(120 + AWAY_S * 4)
async def test_sqlite_is_locked(installation: Installation) -> None:
    """Writers wait up to 20 s; pages that only read are shown; nothing is lost."""
    with installation.serving() as server:
        async with crowd(installation, server) as clients:
            leaver = clients.pop()
            with Browser(server.console) as browser, Browser(server.console) as reader:
                with locked(installation.file):
                    await leaver.socket.close()
                    login = asyncio.create_task(
                        asyncio.to_thread(browser.log_in, ADMIN, ADMIN_PASSWORD)
                    )
                    assert (await asyncio.to_thread(reader.get, "/login/")).status_code == 200
                    await asyncio.sleep(AWAY_S)  # see above
                    assert all(await asyncio.gather(*map(is_there, clients)))
                if AWAY_S < 15:
                    assert await login
                else:
                    await asyncio.gather(login, return_exceptions=True)
            await all_is_well(installation, server, clients)
        assert "Traceback" not in server.logged()
