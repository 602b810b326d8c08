"""The console: pages of a large account, and what hashing does to the gateway.

One account of 100,000 users and 50,000 PCs, of which 40,000 wait and every tenth is on an old
password. Each page is asked for by HTTP ten times, the median counts; the queries are those of
one page, the session's and the administrator's own row among them. A forced change hashes twice,
to compare the new password with the old ones and to make the new verifier, 0.3 s each where the
machine is idle; it is measured alone. Then 20 forced changes, four at a time, keep the server's
one core busy with hashing while 1,000 real clients wait on the gateway in the same process, and
it is measured how late a timer of 2 ms on the gateway's loop was at most.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import mechanicalsoup

from bench import machine, people, stage
from bench.load import Load, Spec
from bench.report import Figure, Size

PEER = "PostgreSQL"
PAGES = {
    "home": "/",
    "users, first page": "/users/",
    "users, last page": "/users/?page=9999999",
    "users, search for one": "/users/?q=user000123",
    "users, search that finds many": "/users/?q=99",
    "users, search by Japanese name": "/users/?q=利用者 77",
    "users who wait": "/users/?state=waiting",
    "users on an old password": "/users/?state=old",
    "one user": "/users/{user}/",
    "PCs on an old password": "/old-passwords/",
    "audit trail, first page": "/audit/",
    "audit trail, search by name": "/audit/?q=user000123",
}
SESSIONS = 4
STALL = "longest stall of the gateway's loop in forced changes"


def run(size: Size) -> list[Figure]:
    ours = _measure("SQLite", size)
    theirs = ours if size.short else _measure("PostgreSQL", size)
    pages = [
        Figure(what=what, value=value, unit=unit, peer=theirs[what, unit])
        for (what, unit), value in ours.items()
        if what != STALL
    ]
    stalls = [
        Figure(
            what=f"{STALL}, {engine}",
            value=found[STALL, "ms"],
            unit="ms",
            ambition=50,
            must=100,
            headline=True,
        )
        for engine, found in (("SQLite", ours), ("PostgreSQL", theirs))
    ]
    return pages + stalls


def _measure(engine: stage.Engine, size: Size) -> dict[tuple[str, str], float]:
    """By what, and unit."""
    found: dict[tuple[str, str], float] = {}
    with ExitStack() as stack:
        stack.enter_context(machine.kept_on(machine.LOAD_CORE))
        database = stack.enter_context(stage.database(engine, size))
        server = stack.enter_context(stage.server(database, watched=True, LANGUAGE="en"))
        console = f"http://127.0.0.1:{server.port('console')}"
        waiting = Spec(port=server.port(), first=1, count=size.pick(1_000, 20))
        load = stack.enter_context(Load(waiting))
        load.call("log_in")
        time.sleep(1)  # presence may be written in batches
        first = _make_wait(database)
        counter = stack.enter_context(
            stage.running(
                "bench.node",
                "change",
                settings=database.settings,
                core=machine.LOAD_CORE,
            )
        )
        counter.line("ready")
        browser = _log_in(console)
        for name, template in PAGES.items():
            path = template.format(user=first + 100)
            found[name, "ms"] = _page_ms(browser, console + path, times=size.pick(10, 2))
            counted = counter.ask("page", path=path)
            assert counted["status"] == 200, (path, counted)
            found[name, "queries"] = counted["queries"]
        alone = [
            _force_ms(browser, f"{console}/users/{first + 200 + n}/")
            for n in range(size.pick(5, 1))
        ]
        found["a forced change", "ms"] = statistics.median(alone)
        each = size.pick(20, 4) // SESSIONS
        browsers = [_log_in(console) for _ in range(SESSIONS)]
        server.ask("watch")
        with ThreadPoolExecutor(SESSIONS) as pool:
            starts = [first + 300 + n * each for n in range(SESSIONS)]
            list(pool.map(partial(_force_some, console, each), browsers, starts))
        stall = server.ask("report")["stall_ms"]
        found[STALL, "ms"] = stall
        assert load.call("state")[0] == waiting.count
    return found


_MAKE_WAIT = """
    UPDATE console_device SET waiting_since = real.waiting_since, gateway = real.gateway
    FROM (SELECT waiting_since, gateway FROM console_device WHERE waiting_since IS NOT NULL
    LIMIT 1) AS real WHERE id % 5 > 0 AND console_device.waiting_since IS NULL"""
_FIRST_USER = "SELECT min(id) FROM console_user WHERE username LIKE 'user%'"


def _make_wait(database: stage.Database) -> int:
    """Let it look as if four of five PCs waited where the real ones do; the first user's key."""
    if database.engine == "PostgreSQL":
        name = database.settings["DATABASE"].rpartition("/")[2]
        stage.postgres().execute(_MAKE_WAIT, database=name)
        # As autovacuum does within a minute: nobody waited when the database was filled.
        stage.postgres().execute("VACUUM ANALYZE console_device", database=name)
        return int(str(stage.postgres().execute(_FIRST_USER, database=name)[0][0]))
    path = Path(database.settings["DATA_DIR"], "coconowork.sqlite3")
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute(_MAKE_WAIT)
        return int(connection.execute(_FIRST_USER).fetchone()[0])


def _log_in(console: str) -> Any:
    browser = mechanicalsoup.StatefulBrowser(raise_on_404=True)
    browser.open(f"{console}/login/")
    browser.select_form('form[method="post"]:has(input[name="password"])')
    browser["username"], browser["password"] = people.ADMINISTRATOR, people.PASSWORD
    assert browser.submit_selected().ok
    assert "/login/" not in browser.url, browser.page.get_text()
    return browser


def _page_ms(browser: Any, address: str, *, times: int) -> float:
    """The median of some times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        answer = browser.session.get(address)
        taken.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (address, answer.status_code)
    return statistics.median(taken)


def _force_some(console: str, count: int, browser: Any, first: int) -> None:
    """One change after the other: a browser has one page at a time."""
    for number in range(first, first + count):
        _force_ms(browser, f"{console}/users/{number}/")


def _force_ms(browser: Any, address: str) -> float:
    """Change the password of the user of this page, as its administrator."""
    browser.open(address)
    browser.select_form('form[method="post"]:has(input[name="new_password1"])')
    browser["new_password1"] = browser["new_password2"] = f"Forced-{time.monotonic_ns()}"
    began = time.perf_counter()
    assert browser.submit_selected().ok
    taken = (time.perf_counter() - began) * 1000
    assert "/changed/" in browser.url, browser.page.get_text()
    return taken
