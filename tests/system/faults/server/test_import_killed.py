"""The server dies in the middle of an import: after the start the import goes on to its end."""

from __future__ import annotations

import csv
import io
import random
import re
import time
from base64 import b64decode
from collections import Counter
from pathlib import Path

from tests.support.installation import ADMIN, ADMIN_PASSWORD, Installation
from tests.support.polling import eventually

USERS = 6
DONE = "SELECT count(*) FROM console_importline WHERE done"


def test_server_is_killed_during_an_import(
    installation_on_postgres: Installation, tmp_path: Path
) -> None:
    """Each line makes one user, whose password the browser that started the import gets."""
    installation = installation_on_postgres
    names = [f"imported{number}" for number in range(USERS)]
    file = tmp_path / "users.csv"
    file.write_text("\n".join(["username", *names]), "utf-8")
    with installation.serving() as server:
        browser = server.browser(ADMIN, ADMIN_PASSWORD)
        with file.open("rb") as content:
            job = browser.send("/users/import/", file=content).url.removeprefix(server.console)
        assert re.fullmatch(r"/users/import/\d+/", job)
        eventually(lambda: installation.query(DONE)[0][0] >= 2)
        time.sleep(random.uniform(0, 0.5))
        server.process.kill()
    [(before,)] = installation.query(DONE)
    assert before < USERS
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
