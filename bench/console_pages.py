"""Measure the console: pages of a large account, and forced changes of a password.

There is one account of 100,000 users and 50,000 PCs. 38,000 PCs wait, and every tenth has an old
password. Each page is requested ten times over HTTP. A forced change hashes the new password, which
takes most of its time. The second column has the times with PostgreSQL, which runs on the other
core.
"""

from __future__ import annotations

import time

from bench import machine, people, seed, stage
from bench.report import Figure, Size
from tests.support.browser import Browser

BASELINE = "PostgreSQL"
PAGES = {
    "home": "/",
    "users, first page": "/users/",
    "users, last page": "/users/?page=9999999",
    "users, search for one": "/users/?q=user000123",
    "users, search that finds many": "/users/?q=99",
    "users who wait": "/users/?state=waiting",
    "users on an old password": "/users/?state=old",
    "one user": "/users/{user}/",
    "one user, a lost PC": "/users/{user}/pcs/{pc}/lost/",
    "PCs on an old password": "/old-passwords/",
    "audit trail, first page": "/audit/",
    "audit trail, search by name": "/audit/?q=user000123",
    "PCs not seen": "/pcs/unseen/",
    "file of the users on an old password": "/users.csv?state=old",
    "file of all users": "/users.csv",
    "file of the audit trail": "/audit.csv",
}
OWN_PAGES = {
    "push later": "/password/push/",
    "smartphone page": "/app/",
}
ON_OLD = 100
"""The number of a user whose PC is on an old password."""


def run(size: Size) -> list[Figure]:
    ours, theirs = (_measure(engine, size) for engine in ("SQLite", "PostgreSQL"))
    return [Figure(f"{what}, ms", values, theirs[what]) for what, values in ours.items()]


def _measure(engine: stage.Engine, size: Size) -> dict[str, list[float]]:
    """Return the milliseconds of each round, by page or change."""
    found: dict[str, list[float]] = {}
    rounds, on_old = range(size.pick(10, 2)), {"user": seed.FIRST_ID + ON_OLD, "pc": ON_OLD}
    with (
        machine.kept_on(machine.LOAD_CORE),
        stage.database(engine, size) as installation,
        stage.server(installation) as server,
    ):
        for username, pages in (
            (people.ADMINISTRATOR, PAGES),
            (people.username(ON_OLD), OWN_PAGES),
        ):
            with server.browser(username, people.PASSWORD) as browser:
                for name, path in pages.items():
                    address = path.format(**on_old)
                    found[name] = [_page_ms(browser, address) for _ in rounds]
        with server.browser(people.ADMINISTRATOR, people.PASSWORD) as browser:
            forced = range(seed.FIRST_ID + 200, seed.FIRST_ID + 200 + len(rounds))
            found["a forced change"] = [_force_ms(browser, user) for user in forced]
    return found


def _page_ms(browser: Browser, path: str) -> float:
    began = time.perf_counter()
    answer = browser.get(path)
    taken = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, (path, answer.status_code)
    return taken


def _force_ms(administrator: Browser, user: int) -> float:
    """Change this user's password as the administrator; return the milliseconds."""
    new = f"Forced-{time.monotonic_ns()}"
    administrator.open(f"/users/{user}/")
    began = time.perf_counter()
    answer = administrator.submit(new_password1=new, new_password2=new)
    taken = (time.perf_counter() - began) * 1000
    assert "/changed/" in answer.url, answer.text
    return taken
