"""Record conversations of client and gateway, and replay them with one of the two.

A conversation is a list of steps. `do` is an action at one end. Other steps are sent by one end
to the other: a message as on the wire, the opening of a connection, or its end. The
first step has the user, password and device key; the last one is the client's state at the end.

`python -m tests.support.conversations FOLDER` records into it, with the client's core and a real
gateway, the latest conversations that the folder lacks. To add one, write its steps into a
file in the folder, with the types of messages only, and no `at` in the first step. Nonces are
numbers, so that the proofs of a recording stay valid.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.core.management import call_command
from websockets.exceptions import ConnectionClosed

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.failure import Failure, Reason
from agent.core.host_info import HostInfo
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from protocol import messages as msg
from protocol.sealing import open_sealed, public_key
from tests.support.gateway_client import DEADLINE_S, Client
from tests.support.places import ROOT
from tests.support.server_fixtures import P1, P2, in_thread, with_settings

# isort: split
# The import above sets Django up.
from server.cluster import bus
from server.console import pairings, passwords, people
from server.console.hashers import format_verifier, hash_password
from server.console.models import Account, AuditEvent, User
from server.gateway.server import Gateway

Step = dict[str, Any]
FOLDER = ROOT / "tests" / "unit" / "server" / "conversations"
DEVICE = {"device_name": "PC-4711", "os": "Windows 11", "version": "0.1.0"}
VARYING = {
    "change_id", "code", "sealed", "signature", "server_time", "valid_until", "retry_after_s",
}  # fmt: skip
"""Fields of the server's messages that differ each time; `scram` does not."""


class RealClient:
    """The client's real core, with vault, desktop and connection in memory."""

    def __init__(self, first: Step) -> None:
        nonces = (f"client-nonce-{number:018}" for number in itertools.count())
        self._host = HostInfo(
            **DEVICE,
            random=lambda: 0.5,
            nonce=lambda: next(nonces),
            machine="a machine",
            local=UTC,
        )
        self._identity = Identity(server="wss://gw.example.com/gateway", user=first["user"])
        self._key = first["device_key"]
        self._vault: Credentials | None = self._holding(first["password"])
        self._is_broken = False
        self._now = ev.Instant(datetime.fromisoformat(first["at"]), 0.0)
        self._machine = Machine(self._host, self._identity, SavedState())
        self._number = 0
        self.sent: deque[Step] = deque()
        self._received: list[str] = []
        """User and password received by a code."""

    def _holding(self, password: str) -> Credentials:
        return Credentials(password=password, device_key=self._key, machine="a machine")

    @property
    def end(self) -> Step:
        """Return the last step: the state that the user sees, and the stored password."""
        assert not [each for each in self.sent if "message" in each], self.sent
        if self._received:
            return {"received": self._received}
        stored = self._vault
        return {
            "state": self._machine.state.value,
            "stored": stored and [stored.password, stored.pending and stored.pending.password],
        }

    async def act(self, name: str) -> None:
        match name:
            case "start":
                self._tell(ev.Started())
            case "pair":
                self.sent.append({"from": "client", "connect": True})
                self._send(msg.Pair(device=self._host.device(public_key(self._key))))
            case "sign_in":
                self._tell(ev.SignedIn("s1", ev.SignInKind.SIGN_IN))
            case "type":
                self._tell(ev.LoginRequested(1, self._identity, P2))
            case "quit":
                self._tell(ev.QuitRequested())
            case "break_vault":
                self._is_broken = True
            case _:
                assert name == "store_wrong", name
                self._vault = self._holding("Wrong-000")

    async def hear(self, step: Step) -> None:
        if "close" in step:
            self._tell(ev.Disconnected(self._number, Failure(Reason.CONNECTION_LOST)))
            return
        with suppress(msg.UnknownMessage):
            message = msg.decode_from_server(json.dumps(step["message"]).encode())
            if isinstance(message, msg.Paired):
                opened = open_sealed(message, device_key=self._key)
                self._received = [message.user, opened.password]
            elif not isinstance(message, msg.PairingCode):
                self._tell(ev.Received(self._number, message))

    async def say(self) -> Step:
        return self.sent.popleft()

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
                    case do.Disconnect(_, str(farewell)):  # the server closed first otherwise
                        self.sent.append({"from": "client", "close": 1000, "reason": farewell})
                    case do.ComputeProof(number, handshake, challenge):
                        events.append(ev.ProofReady(number, handshake.proof(challenge)))
                    case do.ShowWarning(days_left):
                        events.append(ev.WarningAnswered(days_left, msg.WarningOutcome.SHOWN))


class RealGateway:
    """A gateway on a port, with the recording's user, and a socket without the client's code."""

    def __init__(self, gateway: Gateway, user: User) -> None:
        self._gateway, self._user = gateway, user
        self._client = Client(gateway.port)
        self._end: asyncio.Task[None] | None = None
        self._said: Step = {}
        """The last value of each field that the gateway sent."""

    async def act(self, name: str) -> None:
        if name == "stop":
            self._end = asyncio.create_task(self._gateway.__aexit__())
        elif name != "demand_newer":  # done at the gateway's start
            await in_thread(lambda: self._act(name))

    def _act(self, name: str) -> None:
        user = User.objects.get(pk=self._user.pk)
        devices = list(user.devices.all())
        match name:
            case "change" | "change_and_push":
                to = devices if name == "change_and_push" else []
                passwords.change_own(user, new_password=P2, push_to=to)
            case "push_later":
                passwords.push_later(user, password=P2, devices=devices)
            case "accept_code":
                pc = pairings.find(user, self._said["code"])
                pairings.accept(user, pc, password=P1)
            case "disable":
                people.apply(people.DISABLE, user, by=None, whole_account=True)
            case _:
                assert name == "block", name
                user.devices.update(blocked_at=datetime.now(UTC))
                bus.publish(user.pk)

    async def hear(self, step: Step) -> None:
        """Send the gateway a client's step, with this run's change id."""
        if "connect" in step:
            await self._client.__aenter__()
        elif "close" in step:
            await self._client.socket.close(step["close"], step["reason"])
        else:
            today = {name: self._said[name] for name in step["message"] if name == "change_id"}
            await self._client.socket.send(json.dumps(step["message"] | today))

    async def say(self) -> Step:
        socket = self._client.socket
        try:
            async with asyncio.timeout(DEADLINE_S):
                message = json.loads(await socket.recv())
        except ConnectionClosed:
            return {"from": "server", "close": socket.close_code, "reason": socket.close_reason}
        self._said |= message
        return {"from": "server", "message": message}

    async def close(self) -> None:
        if hasattr(self._client, "socket"):
            await self._client.socket.close()
        await (self._end or self._gateway.__aexit__())


@asynccontextmanager
async def real_gateway(first: Step) -> AsyncIterator[RealGateway]:
    """Run a gateway for a conversation with this first step."""

    def make() -> User:
        account, _ = Account.objects.get_or_create(name="of conversations")
        salt, rounds = first["salt"].encode(), first["iterations"]
        verifier = format_verifier(hash_password(first["password"], salt=salt, iterations=rounds))
        return User.objects.create(account=account, username=first["user"], password=verifier)

    def remove() -> None:
        AuditEvent.objects.filter(subject=user).delete()
        user.delete()

    user = await in_thread(make)
    settings = with_settings(min_client_version=first.get("min_client_version", ""))
    nonces = (f"server-nonce-{number:018}" for number in itertools.count())
    fixed = SimpleNamespace(token_urlsafe=lambda _: next(nonces))
    try:
        with mock.patch("server.gateway.conversation.secrets", fixed):
            gateway = await Gateway(settings, sweep_interval_s=3600).__aenter__()
            made = RealGateway(gateway, user)
            try:
                yield made
            finally:
                await made.close()
    finally:
        await in_thread(remove)


def check(said: Step, recorded: Step) -> None:
    """Assert that an end sends the recorded step; a server may have added fields."""
    before = recorded.get("message")
    if recorded["from"] == "client" or not isinstance(before, dict):
        assert said == recorded
        return
    for name, value in before.items():
        assert said["message"][name] == value or name in VARYING, (name, said)


async def play(
    steps: list[Step],
    *,
    client: RealClient | None = None,
    server: RealGateway | None = None,
    change: Callable[[Step], list[Step]] = lambda step: [step],
) -> list[Step]:
    """Let one or both ends follow the steps. Return the steps of this run.

    The recording replaces a missing end; `change` may alter its steps.
    """
    played = []
    for step in steps:
        is_client = "client" in {step.get("at"), step.get("from")}
        here, there = (client, server) if is_client else (server, client)
        if "do" in step:
            if here is not None:
                await here.act(step["do"])
            played.append(step)
            continue
        if client is not None and not is_client:
            assert not client.sent
        said = change(step) if here is None else [await here.say()]
        if here is not None:
            check(said[0], step)
        for each in said:
            if there is not None:
                await there.hear(each)
        played += said
    return played


def types(steps: list[Step]) -> list[str]:
    return [step["message"]["type"] for step in steps if "message" in step]


async def record(before: list[Step]) -> list[Step]:
    """Return the same conversation, held by this checkout's client core and gateway."""
    first, *steps = before
    first |= {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S+00:00}"}
    steps = [step for step in steps if "at" in step or "from" in step]
    client = RealClient(first)
    async with real_gateway(first) as server:
        loose = [step | {"message": mock.ANY} if "message" in step else step for step in steps]
        played = await play(loose, client=client, server=server)
    assert types(played) == types(steps)
    return [first, *played, client.end]


def read(file: Path) -> list[Step]:
    """Return the steps of a recording."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def write(file: Path, steps: list[Step]) -> None:
    """Write a recording to a file, and make the file's folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(step)}\n" for step in steps), "utf-8")


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    new = Path(sys.argv[1]).resolve()
    others = [each for each in FOLDER.iterdir() if each != new] or [new]
    latest = max(others, key=lambda each: tuple(map(int, each.name.split("."))))
    for file in {each.name: each for each in (*latest.iterdir(), *new.glob("*"))}.values():
        steps = read(file)
        if file.parent != new or "at" not in steps[0]:
            write(new / file.name, asyncio.run(record(steps)))
