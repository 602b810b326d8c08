"""A PC with a client process on it, signed in without a login: its entry is put in the keyring."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from agent.control import ask
from agent.core.credentials import Credentials, Identity
from agent.i18n import translation
from agent.report import status_text, view_of
from agent.vault import KeyringVault
from demo.installation import Client
from protocol.sealing import new_device_key
from tests.support.gateway import PASSWORD

USER = "tanaka"
TROUBLE = (
    r"^(\S+) (?:WARNING|DEBUG) agent\.runtime "
    r"\w+ -> waiting: trouble: (\S+)(?: \((.*)\))?; next try in [\d.]+ s$"
)


class Pc:
    """One client at `server`. The test's own process must have the keyring's environment."""

    def __init__(self, home: Path, environ: dict[str, str], server: str, **variables: str) -> None:
        clean = {k: v for k, v in environ.items() if k not in {"DISPLAY", "COCONOWORK_HOME"}}
        clean |= {"COCONOWORK_LOG_LEVEL": "debug", **variables}
        self.client = Client(home, clean)
        self.identity = Identity(server=server, user=USER)

    def be_signed_in(self, password: str = PASSWORD) -> None:
        """As after a login some time ago."""
        KeyringVault().write(
            self.identity, Credentials(password=password, device_key=new_device_key())
        )
        self.client.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.client.paths.config_file.write_text(
            f'server = "{self.identity.server}"\nuser = "{USER}"\n', encoding="utf-8"
        )

    def stored(self) -> Credentials | None:
        """What the keyring has."""
        return KeyringVault().read(self.identity)

    def tell(self, command: str) -> None:
        """As from the menu."""
        asyncio.run(ask(self.client.paths, {"command": command}, timeout_s=10))

    def wait_for_end(self) -> None:
        """Return when the process has gone."""
        until(lambda: not self.client.running, or_say=self.told)
        self.client.stop()

    def says(
        self, state: str, reason: str | None = None, *, within_s: float = 30
    ) -> dict[str, Any]:
        """Its status once it is that."""

        def status() -> dict[str, Any] | None:
            found = self.client.status()
            is_it = found is not None and (found["state"], found["reason"]) == (state, reason)
            return found if is_it else None

        found: dict[str, Any] = until(status, within_s=within_s, or_say=self.told)
        return found

    def told(self) -> str:
        """All of its output."""
        return "\n".join(self.client.output)

    def log(self) -> str:
        """All of its log file."""
        try:
            return self.client.paths.log_file.read_text("utf-8")
        except FileNotFoundError:
            return ""

    def troubles(self) -> list[tuple[str, str, float]]:
        """Reason and detail of each trouble that was logged, and when."""
        found = re.findall(TROUBLE, self.log(), re.MULTILINE)
        return [
            (reason, detail, datetime.fromisoformat(at).timestamp()) for at, reason, detail in found
        ]

    def check(self) -> None:
        """It lives, and has said neither a traceback nor the password."""
        assert self.client.running, self.told()
        said = self.told() + self.log()
        assert "Traceback" not in said, said
        assert " ERROR " not in said, said
        assert PASSWORD not in said


def quit_all(pcs: Iterable[Pc]) -> None:
    """As from the menu, all at once; return when they have gone."""
    running = [pc for pc in pcs if pc.client.running]
    for pc in running:
        until(pc.client.status, or_say=pc.told)
        pc.tell("quit")
    for pc in running:
        pc.wait_for_end()


def as_seen(status: dict[str, Any], language: str) -> list[str]:
    """The lines of the status window and of `status`, but for who is signed in where."""
    view = view_of(status)
    lines = status_text(view, translation(language)).splitlines()
    return [line for line in lines if view.server not in line]


def until(
    check: Callable[[], Any], *, within_s: float = 20, or_say: Callable[[], object] = lambda: ""
) -> Any:
    """What `check` returns once it is true."""
    end = monotonic() + within_s
    while not (found := check()):
        assert monotonic() < end, or_say()
        sleep(0.05)
    return found
