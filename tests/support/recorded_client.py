"""The client of a recorded conversation: the real core, with vault, desktop and line in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.failure import Failure, Reason
from agent.core.host_info import HostInfo
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from protocol import messages as msg
from protocol.messages import WarningOutcome
from protocol.sealing import open_sealed, public_key

Step = dict[str, Any]
SERVER = "wss://gw.example.com/gateway"
P1, P2, WRONG = "Passw0rd!", "Second-2nd", "Wrong-000"
DEADLINE_S = 15


class Recorded:
    """A client made of the real core, with a vault and a desktop in memory."""

    def __init__(self, first: Step, *, nonces: Iterator[str], device: dict[str, str]) -> None:
        self._host = HostInfo(
            device_name=device["name"],
            os=device["os"],
            version=device["version"],
            random=lambda: 0.5,
            nonce=lambda: next(nonces),
            machine="a machine",
            local=UTC,
        )
        self.sent: deque[Step] = deque()
        self._identity = Identity(server=SERVER, user=first["user"])
        self._vault: Credentials | None = Credentials(
            password=first["password"], device_key=first["device_key"], machine="a machine"
        )
        self._now = ev.Instant(datetime.fromisoformat(first["at"]), 0.0)
        self._number, self._is_broken = 0, False
        self._machine = Machine(self._host, self._identity, SavedState())
        self._received: list[str] = []
        """User and password that came for a code."""

    @property
    def end(self) -> Step:
        """Return what the user sees, and which password is stored."""
        stored = self._vault
        if self._received:
            return {"received": self._received}
        return {
            "state": self._machine.state.value,
            "stored": stored and [stored.password, stored.pending and stored.pending.password],
        }

    def act(self, name: str) -> None:
        """Let something happen at this end."""
        match name:
            case "start":
                self._tell(ev.Started())
            case "pair":
                assert self._vault is not None
                device = self._host.device(public_key(self._vault.device_key))
                self.sent.append({"from": "client", "connect": True})
                self._send(msg.Pair(device=device))
            case "sign_in":
                self._tell(ev.SignedIn("s1", ev.SignInKind.SIGN_IN))
            case "type":
                self._tell(ev.LoginRequested(1, self._identity, P2))
            case "quit":
                self._tell(ev.QuitRequested())
            case "break_vault":
                self._is_broken = True
            case "store_wrong":
                assert self._vault is not None
                key = self._vault.device_key
                self._vault = Credentials(password=WRONG, device_key=key, machine="a machine")
            case _:
                raise AssertionError(name)

    def hear(self, step: Step) -> None:
        """Receive a message, or the end of the connection."""
        if "close" in step:
            self._tell(ev.Disconnected(self._number, Failure(Reason.CONNECTION_LOST)))
            return
        with suppress(msg.UnknownMessage):
            message = msg.decode_from_server(json.dumps(step["message"]).encode())
            match message:
                case msg.PairingCode():
                    pass
                case msg.Paired(user=user):
                    assert self._vault is not None
                    opened = open_sealed(message, device_key=self._vault.device_key)
                    self._received = [user, opened.password]
                case _:
                    self._tell(ev.Received(self._number, message))

    def _send(self, message: msg.ClientMessage) -> None:
        content = json.loads(msg.encode(message))
        self.sent.append({"from": "client", "message": content})

    def _tell(self, event: ev.Event) -> None:
        events = deque([event])
        while events:
            for effect in self._machine.handle(events.popleft(), self._now):
                match effect:
                    case do.ReadVault(number):
                        events.append(ev.VaultRead(number, self._vault))
                    case do.WriteVault(number) if self._is_broken:
                        events.append(ev.VaultFailed(number, Reason.VAULT_BROKEN))
                    case do.WriteVault(number, _, credentials):
                        self._vault = credentials
                        events.append(ev.VaultWritten(number))
                    case do.Connect(number):
                        self._number = number
                        self.sent.append({"from": "client", "connect": True})
                        events.append(ev.Connected(number))
                    case do.Send(_, message):
                        self._send(message)
                    case do.Disconnect(_, str(farewell)):  # others follow a close of the server
                        self.sent.append({"from": "client", "close": 1000, "reason": farewell})
                    case do.ComputeProof(number, handshake, challenge):
                        events.append(ev.ProofReady(number, handshake.proof(challenge)))
                    case do.ShowWarning(days_left):
                        events.append(ev.WarningAnswered(days_left, WarningOutcome.SHOWN))
