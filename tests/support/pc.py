"""One PC: a client process with a home folder and an entry in the keyring."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.core.credentials import Credentials, Identity
from agent.desktop import open_channel, open_vault
from agent.host import machine_id
from agent.i18n import translation
from agent.ports import NotRunning
from agent.report import status_text, view_of
from demo.installation import Client
from protocol.sealing import new_device_key
from tests.support.fake_gateway import PASSWORD, USER
from tests.support.polling import eventually

TROUBLE = (
    r"^(\S+) (?:WARNING|DEBUG) agent\.runtime "
    r"\w+ -> \w+: trouble: (\S+)(?: \((.*)\))?; next try in [\d.]+ s$"
)


class Pc(Client):
    """A client of `server`. The test's process must have the keyring's environment."""

    def __init__(
        self,
        home: Path,
        environ: Mapping[str, str],
        server: str,
        *,
        user: str = USER,
        **variables: str,
    ) -> None:
        """Set the home folder and environment, to which `variables` are added."""
        clean = {k: v for k, v in environ.items() if k not in {"DISPLAY", "COCONOWORK_HOME"}}
        super().__init__(home, clean | {"COCONOWORK_LOG_LEVEL": "debug"} | variables)
        self.identity = Identity(server=server, user=user)

    def be_logged_in(self, password: str = PASSWORD) -> None:
        """Write the keyring's entry and the settings of an earlier login."""
        open_vault().write(
            self.identity,
            Credentials(password=password, device_key=new_device_key(), machine=machine_id()),
        )
        self.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.paths.config_file.write_text(
            f'server = "{self.identity.server}"\nuser = "{self.identity.user}"\n', encoding="utf-8"
        )

    def login(self, password: str = PASSWORD) -> tuple[int, str]:
        """Run the command `login`. Return its exit code and its output."""
        server, user = self.identity.server, self.identity.user
        return self.command("login", "--server", server, "--user", user, answer=password)

    def log_in(self, password: str = PASSWORD) -> None:
        """Run the command `login`, which must succeed."""
        code, said = self.login(password)
        assert code == 0, said

    def stored(self) -> Credentials:
        """Return the keyring's entry."""
        found = open_vault().read(self.identity)
        assert found is not None
        return found

    def has_only(self, password: str) -> None:
        """Assert standby with this password as the current one, and no other stored."""
        assert self.says("standby")["days_left"] is None
        found = self.stored()
        assert (found.password, found.pending, found.refused) == (password, None, None)

    def tell(self, command: str) -> None:
        """Send a command to the running client, as its menu does."""
        asyncio.run(open_channel(self.paths).ask({"command": command}, timeout_s=10))

    def says(
        self, state: str, reason: str | None = None, *, within_s: float = 30
    ) -> dict[str, Any]:
        """Wait until the status has this state and reason. Return the status."""

        def status() -> dict[str, Any] | None:
            found = self.status()
            is_it = found is not None and (found["state"], found["reason"]) == (state, reason)
            return found if is_it else None

        def now() -> str:
            return f"{self.status()}\n{self.told()}"

        return eventually(status, within_s=within_s, pause_s=0.1, or_say=now)

    def told(self) -> str:
        """Return the client's output."""
        return "\n".join(self.output)

    def log(self) -> str:
        """Return the client's log."""
        file = self.paths.log_file
        return file.read_text("utf-8") if file.exists() else ""

    def troubles(self) -> list[tuple[str, str, float]]:
        """Return reason, detail and time of each trouble in the log."""
        found = re.findall(TROUBLE, self.log(), re.MULTILINE)
        return [
            (reason, detail, datetime.fromisoformat(at).timestamp()) for at, reason, detail in found
        ]

    def check(self) -> None:
        """Assert that the client runs and has written neither a traceback nor the password."""
        assert self.running, self.told()
        said = self.told() + self.log()
        for unwanted in ("Traceback", " ERROR ", PASSWORD):
            assert unwanted not in said, said

    def wait_for_end(self) -> None:
        """Wait until the process has ended."""
        eventually(lambda: not self.running, or_say=self.told)
        self.stop()

    def quit(self) -> None:
        """Quit the client, if it runs, as its menu does."""
        eventually(lambda: not self.running or self.status(), or_say=self.told)
        with suppress(NotRunning):
            self.tell("quit")
        self.wait_for_end()


def quit_all(pcs: Iterable[Pc]) -> None:
    """Quit all clients at once, also inside a running event loop, such as Playwright's."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(Pc.quit, pcs))


def as_seen(status: dict[str, Any], language: str) -> list[str]:
    """Return the lines of the status window, without the line of user and server."""
    view = view_of(status)
    lines = status_text(view, translation(language)).splitlines()
    return [line for line in lines if view.server not in line]
