"""Record what client and gateway say to each other, and follow a recording with one of them.

A conversation is a list of steps. `do` is what happens at one end. Other steps are what one end
sent to the other: a message as it went over the wire, the opening of a connection, or its end. The
first step says whose password and device key it is; the last one is the client's state at the end.

`python -m tests.support.conversations FOLDER` records the `SCRIPTS`: the client's real core talks
to a real gateway. Later versions follow the recording with their core, and with their gateway. The
client's and the gateway's nonces are then those of the recording, so that proofs fit.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from protocol import messages as msg
from tests.support.places import ROOT
from tests.support.recorded_client import DEADLINE_S, P1, P2, Recorded, Step

if TYPE_CHECKING:
    from server.console.models import User
    from server.gateway.server import Gateway

FOLDER = ROOT / "tests" / "unit" / "server" / "conversations"
DEVICE_KEY = "cHJpdmF0ZSBrZXkgb2YgYSByZWNvcmRlZCBkZXZpY2U="
USER = "tanaka"
VARYING = {
    "change_id",
    "code",
    "sealed",
    "signature",
    "server_time",
    "valid_until",
    "retry_after_s",
}
"""Fields of the server's messages that differ each time; `scram` does not."""

BEGIN = "client: start | > connect"
ASKED = "> hello | < challenge | > proof"
LOGIN = f"{ASKED} | < welcome"
PUSHED = f"< password_changed | {LOGIN}"
SCRIPTS = {
    "login": f"{BEGIN} | {LOGIN}",
    "old_password": f"server: change | {BEGIN} | {LOGIN} | client: sign_in | > notice",
    "push": f"{BEGIN} | {LOGIN} | server: change_and_push | {PUSHED}",
    "push_later": f"{BEGIN} | {LOGIN} | server: change | < password_status | server: push_later"
    f" | {PUSHED}",
    "push_not_stored": f"{BEGIN} | {LOGIN} | client: break_vault | server: change_and_push"
    " | < password_changed | > update_failed",
    "typed_password": f"server: change | {BEGIN} | {LOGIN} | client: type | {LOGIN}",
    "wrong_password": f"client: store_wrong | {BEGIN} | {ASKED} | < rejected",
    "disabled_before": f"server: disable | {BEGIN} | {ASKED} | < rejected | < close",
    "disabled": f"{BEGIN} | {LOGIN} | server: disable | < bye | < close",
    "blocked": f"{BEGIN} | {LOGIN} | server: block | < bye | < close",
    "pairing": "client: pair | > connect | > pair | < pairing_code | server: accept_code"
    " | < paired",
    "old_version": f"server: demand_newer | {BEGIN} | > hello | < rejected | < close",
    "server_stops": f"{BEGIN} | {LOGIN} | server: stop | < bye | < close",
    "farewell": f"{BEGIN} | {LOGIN} | client: quit | > close",
}
"""What happens, and what is said about it: `<` by the server, `>` by the client."""


class RealGateway:
    """A gateway on its port, with a user of the recording, and a socket without any client code."""

    def __init__(self, gateway: Gateway, user: User) -> None:
        self._gateway, self._user = gateway, user
        self._socket: ClientConnection
        self._end: asyncio.Task[None] | None = None
        self._changes: dict[str, str] = {}
        """The change of today, by the one of the recording."""

    async def act(self, name: str) -> None:
        """Let something happen at this end."""
        from tests.support.server_fixtures import in_thread

        if name == "stop":
            self._end = asyncio.create_task(self._gateway.__aexit__())
        elif name != "demand_newer":  # for which the gateway was started
            await in_thread(lambda: self._act(name))

    def _act(self, name: str) -> None:
        from server.cluster import bus
        from server.console import pairings, passwords, people
        from server.console.models import Device, User

        user = User.objects.get(pk=self._user.pk)
        devices = Device.objects.filter(user=user)
        match name:
            case "change" | "change_and_push":
                to = list(devices) if name == "change_and_push" else []
                passwords.change_own(user, new_password=P2, push_to=to, address=None)
            case "push_later":
                passwords.push_later(user, password=P2, devices=list(devices), address=None)
            case "accept_code":
                pc = pairings.find(user, self._code, address=None)
                pairings.accept(user, pc, password=P1, address=None)
            case "disable":
                people.apply(people.DISABLE, user, by=None, address=None, whole_account=True)
            case "block":
                devices.update(blocked_at=datetime.now(UTC))
                bus.publish(user.pk)
            case _:
                raise AssertionError(name)

    async def hear(self, step: Step) -> None:
        """Receive what a client sends."""
        if "connect" in step:
            address = f"ws://127.0.0.1:{self._gateway.port}{msg.PATH}"
            protocols: Any = [msg.SUBPROTOCOL]
            self._socket = await connect(
                address, subprotocols=protocols, compression=None, proxy=None
            )
        elif "close" in step:
            await self._socket.close(step["close"], step["reason"])
        else:
            text = json.dumps(step["message"], separators=(",", ":"))
            for recorded, actual in self._changes.items():
                text = text.replace(recorded, actual)
            await self._socket.send(text)

    async def say(self, recorded: Step | None = None) -> Step:
        """Return the next thing that the gateway sends."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                message = json.loads(await self._socket.recv())
        except ConnectionClosed:
            closed = self._socket
            return {"from": "server", "close": closed.close_code, "reason": closed.close_reason}
        self._code = message.get("code", "")
        if recorded and "change_id" in message and "change_id" in recorded.get("message", {}):
            self._changes[recorded["message"]["change_id"]] = message["change_id"]
        return {"from": "server", "message": message}

    async def close(self) -> None:
        """Close the socket, and stop the gateway."""
        if hasattr(self, "_socket"):
            await self._socket.close()
        await (self._end or self._gateway.__aexit__())


@asynccontextmanager
async def real_gateway(steps: list[Step]) -> AsyncIterator[RealGateway]:
    """Run a gateway for a conversation, with the nonces that it has."""
    from server.console.hashers import format_verifier, hash_password
    from server.console.models import Account, AuditEvent, User
    from server.gateway.server import Gateway
    from tests.support.server_fixtures import in_thread, with_settings

    first = steps[0]

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
    nonces = itertools.chain(server_nonces(steps), (f"server-nonce-{n:018}" for n in range(9)))
    fixed = SimpleNamespace(token_urlsafe=lambda _: next(nonces))
    try:
        with mock.patch("server.gateway.conversation.secrets", fixed):
            gateway = Gateway(settings, sweep_interval_s=3600)
            await gateway.__aenter__()
            made = RealGateway(gateway, user)
            try:
                yield made
            finally:
                await made.close()
    finally:
        await in_thread(remove)


def client_nonces(steps: list[Step]) -> Iterator[str]:
    """Return what the client's hellos had; `salt`, the machine's first one, is no nonce."""
    hellos = [step["message"]["scram"] for step in steps if _type(step) == "hello"]
    return iter(["a salt", *(hello.partition(",r=")[2] for hello in hellos)])


def server_nonces(steps: list[Step]) -> Iterator[str]:
    """Yield what the server's challenges had added to the client's nonces."""
    hello = ""
    for step in steps:
        if _type(step) == "hello":
            hello = step["message"]["scram"].partition(",r=")[2]
        elif _type(step) == "challenge":
            nonce = step["message"]["scram"].partition(",")[0].removeprefix("r=")
            yield nonce.removeprefix(hello)


def _type(step: Step) -> str:
    kind = next((name for name in ("connect", "close") if name in step), "")
    return kind or str(step.get("message", {}).get("type", ""))


async def record(script: str) -> list[Step]:
    """Let the real client's core and a real gateway follow a script. Return the conversation."""
    first: Step = {
        "user": USER,
        "password": P1,
        "device_key": DEVICE_KEY,
        "salt": "salt of a recording",
        "iterations": msg.MIN_ITERATIONS,
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S+00:00}",
    }
    if "demand_newer" in script:
        first["min_client_version"] = "99"
    device = {"name": "PC-4711", "os": "Windows 11", "version": "0.1.0"}
    nonces = (f"client-nonce-{number:018}" for number in itertools.count())
    client, steps = Recorded(first, nonces=nonces, device=device), [first]
    async with real_gateway(steps) as gateway:
        for part in script.split(" | "):
            who, what = part.split()
            match who:
                case "client:":
                    client.act(what)
                    step = {"at": "client", "do": what}
                case "server:":
                    await gateway.act(what)
                    step = {"at": "server", "do": what}
                case ">":
                    step = client.sent.popleft()
                    await gateway.hear(step)
                case _:
                    step = await gateway.say()
                    client.hear(step)
            assert "do" in step or _type(step) == what, (part, step)
            steps.append(step)
        assert not [each for each in client.sent if "message" in each], client.sent
    return [*steps, client.end]


def follow_as_client(
    steps: list[Step], change: Callable[[Step], list[Step]] = lambda step: [step]
) -> None:
    """Let today's core be the client: it sends what was recorded, and ends as it did.

    `change` makes one or more steps of each that the server has sent.
    """
    hello = next(step["message"] for step in steps if _type(step) in {"hello", "pair"})
    client = Recorded(steps[0], nonces=client_nonces(steps), device=hello["device"])
    for step in steps[1:-1]:
        if step.get("at") == "client":
            client.act(step["do"])
        elif step.get("from") == "client":
            assert client.sent, f"nothing is sent, but was: {step}"
            sent = client.sent.popleft()
            assert sent == step
        elif step.get("from") == "server":
            assert not client.sent, f"was not sent: {client.sent}"
            for each in change(step):
                client.hear(each)
    assert client.end == steps[-1]


async def follow_as_gateway(
    steps: list[Step], change: Callable[[Step], Step] = lambda step: step
) -> None:
    """Let today's gateway be the server: it says what was recorded, and may add fields."""
    async with real_gateway(steps) as gateway:
        for step in steps[1:-1]:
            if step.get("at") == "server":
                await gateway.act(step["do"])
            elif step.get("from") == "client":
                await gateway.hear(change(step))
            elif step.get("from") == "server":
                said = await gateway.say(step)
                assert _type(said) == _type(step), (said, step)
                for name, value in step.get("message", step).items():
                    if name not in VARYING:
                        assert said.get("message", said)[name] == value, (name, said)
                    else:
                        assert name in said["message"], (name, said)


def read(file: Path) -> list[Step]:
    """Return the steps of a recording."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def write(file: Path, steps: list[Step]) -> None:
    """Write a recording to a file, whose folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(step)}\n" for step in steps), "utf-8")


async def record_all(folder: Path) -> None:
    """Record into a folder the scripts that are not there yet."""
    for name, script in SCRIPTS.items():
        if not (file := folder / f"{name}.jsonl").exists():
            write(file, await record(script))


if __name__ == "__main__":
    from django.core.management import call_command

    import tests.support.server_fixtures  # noqa: F401 - it sets Django up

    call_command("migrate", verbosity=0)
    asyncio.run(record_all(Path(sys.argv[1])))
