"""A client process, the one false gateway that it knows, and a way to look into its keyring."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import psutil

from agent.control import ask
from demo.installation import Client
from tests.support.false_gateway import USER, FalseGateway, Peer, Script

PASSWORD = "Current-1"

VAULT = """
import sys
from agent.vault import KeyringVault
from agent.core.credentials import Identity, encode_credentials
for line in sys.stdin:
    server, *copy_to = (Identity(server=each, user="user") for each in line.split())
    record = KeyringVault().read(server)
    for other in copy_to:
        KeyringVault().write(other, record)
    print(record and encode_credentials(record), flush=True)
"""


async def honest(peer: Peer) -> None:
    hello = None
    while True:
        await peer.log_in({PASSWORD: "current"}, hello)
        hello = await peer.receive()


@dataclass
class Pc:
    """A client process, the one gateway it knows, and a way to look into its keyring."""

    client: Client
    gateway: FalseGateway
    vault: subprocess.Popen[str]
    seen: int = 0
    """Lines of the client's output that a test has looked at."""

    def sign_in(self) -> None:
        """At an honest server, by the command."""
        self.gateway.play(honest)
        code, said = self.client.command(
            "login", "--server", self.gateway.address, "--user", USER, answer=PASSWORD
        )
        assert code == 0, said

    def be_signed_in_like(self, other: Pc) -> None:
        """Without a login, which takes its time."""
        config = other.client.paths.config_file.read_text("utf-8")
        assert other.gateway.address in config
        config = config.replace(other.gateway.address, self.gateway.address)
        self.client.paths.config_file.write_text(config, "utf-8")
        self._ask_vault(other.gateway.address, self.gateway.address)

    def stored(self) -> dict[str, Any]:
        """What the keyring has."""
        return self._ask_vault(self.gateway.address)

    def _ask_vault(self, *addresses: str) -> dict[str, Any]:
        assert self.vault.stdin is not None
        assert self.vault.stdout is not None
        self.vault.stdin.write(" ".join(addresses) + "\n")
        self.vault.stdin.flush()
        record: dict[str, Any] = json.loads(self.vault.stdout.readline())
        return record

    def meets(self, script: Script) -> None:
        """Have the client come to a gateway that does this, until one connection has ended."""
        self.gateway.play(script)
        self.reconnect()
        wait(self.gateway.first_has_ended)

    def reconnect(self) -> None:
        """As from the menu."""
        asyncio.run(ask(self.client.paths, {"command": "reconnect"}, timeout_s=10))

    def is_fine_with_an_honest_server(self) -> None:
        """It gets over everything that was done to it."""
        self.gateway.play(honest)
        self.reconnect()
        self.client.wait_for("standby")

    def says(self, state: str, reason: str | None) -> dict[str, Any]:
        """Its status once it is that."""

        def status() -> dict[str, Any] | None:
            found = self.client.status()
            is_it = found is not None and (found["state"], found["reason"]) == (state, reason)
            return found if is_it else None

        found: dict[str, Any] = wait(status, or_say=self.client.status)
        return found

    def memory_mib(self) -> float:
        """What its process has in memory."""
        status = self.client.status()
        assert status is not None
        return float(psutil.Process(status["pid"]).memory_info().rss / 2**20)

    def troubles(self) -> list[str]:
        """The lines in which it has said what is wrong."""
        return [line for line in self.client.output if "trouble: " in line]

    def quit(self) -> None:
        """As from the menu."""
        if self.client.running:
            asyncio.run(ask(self.client.paths, {"command": "quit"}, timeout_s=10))
            wait(lambda: not self.client.running)

    def check(self) -> None:
        """No script went wrong, the client lives, and it has said no traceback."""
        faults, self.gateway.faults = self.gateway.faults, []
        assert faults == []
        assert self.client.running
        new, self.seen = self.client.output[self.seen :], len(self.client.output)
        assert not [line for line in new if "Traceback" in line or " ERROR " in line]


def wait(
    check: Callable[[], Any], *, within_s: float = 20, or_say: Callable[[], object] = lambda: ""
) -> Any:
    """What `check` returns once it is true."""
    end = monotonic() + within_s
    while not (found := check()):
        assert monotonic() < end, or_say()
        sleep(0.02)
    return found
