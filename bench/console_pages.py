"""The console: pages of a large account, and what password hashing does to the gateway.

One account of 100,000 users and 50,000 PCs, 38,000 of them waiting and every tenth on an old
password. Each page is requested ten times over HTTP. A forced change hashes twice: to compare the
new password with the old ones, and to make the new verifier. Then 20 forced changes, four at a
time, keep the server's only core busy, while 1,000 clients wait at the gateway in the same
process: every 2 ms one of them pings, and the longest time to its pong is the gateway's longest
stall. The second column is the same on PostgreSQL, which runs on the other core.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

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
    "users, search by Japanese name": "/users/?q=利用者 77",
    "users who wait": "/users/?state=waiting",
    "users on an old password": "/users/?state=old",
    "one user": "/users/{user}/",
    "one user, change": "/users/{user}/edit/",
    "one user, delete": "/users/{user}/delete/",
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
ON_OLD_PASSWORD = 100
"""The number of a user whose PC is on an old password."""
BROWSERS = 4
FORCED = "a forced change"
STALL = "the gateway's longest stall during forced changes"


def run(size: Size) -> list[Figure]:
    ours, theirs = (_measure(engine, size) for engine in ("SQLite", "PostgreSQL"))
    return [
        Figure(
            what=what,
            unit="ms",
            values=values,
            baseline=theirs[what],
            must=100 if what == STALL else None,
        )
        for what, values in ours.items()
    ]


def _measure(engine: stage.Engine, size: Size) -> dict[str, list[float]]:
    """Return the milliseconds, by what was measured."""
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        stack.enter_context(machine.kept_on(machine.LOAD_CORE))
        database = stack.enter_context(stage.database(engine, size))
        server = stack.enter_context(stage.server(database))
        console, gateway = (f"http://127.0.0.1:{server.port('console')}", server.port("gateway"))
        count = size.pick(1_000, 20)
        clients = stack.enter_context(stage.clients(gateway, count=count))
        clients.ask("log_in")
        time.sleep(1)  # the gateway writes presence in batches
        first = seed.FIRST_ID
        browsers = [stack.enter_context(Browser(console)) for _ in range(BROWSERS)]
        for browser in browsers:
            assert browser.log_in(people.ADMINISTRATOR, people.PASSWORD)
        for name, path in PAGES.items():
            address = path.format(user=first + ON_OLD_PASSWORD, pc=ON_OLD_PASSWORD)
            found[name] = [_page_ms(browsers[0], address) for _ in range(size.pick(10, 2))]
        user = stack.enter_context(Browser(console))
        assert user.log_in(people.username(ON_OLD_PASSWORD), people.PASSWORD)
        for name, path in OWN_PAGES.items():
            found[name] = [_page_ms(user, path) for _ in range(size.pick(10, 2))]
        users = iter(range(first + 200, first + 500))
        times = size.pick(5, 1)
        found[FORCED] = [_force_ms(browsers[0], next(users)) for _ in range(times)]
        clients.ask("ping_every", seconds=0.002 if not size.short else 0.05)
        clients.ask("longest_pong")
        each = [[next(users) for _ in range(size.pick(5, 1))] for _ in browsers]
        with ThreadPoolExecutor(BROWSERS) as pool:
            list(
                pool.map(lambda browser, ids: [_force_ms(browser, n) for n in ids], browsers, each)
            )
        found[STALL] = [clients.ask("longest_pong")]
        waiting, endings = clients.ask("state")
        if waiting != count:
            raise RuntimeError(f"{waiting} of {count} wait; ended: {endings}")
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
