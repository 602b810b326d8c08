"""A PC of the model: the real machine in the world of core_driver.py, on a real connection.

`inbox` has the server's messages until they are delivered, `outgoing` the client's while sending is
held up. So a message can be late, and a cut can be before or after each of them. Every answer is
compared with what the oracle expects.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Identity
from agent.core.failure import Failure, Reason
from agent.core.state import State
from protocol import messages as msg
from protocol.sealing import device_id, public_key
from server import clock
from server.console.models import Device
from tests.support import core_promises as promises
from tests.support.core_driver import World
from tests.support.model_site import Person, Site

if TYPE_CHECKING:
    from tests.support.core_gateway import Account

SERVER = "wss://gw.example.com/gateway"
CLOCK_ERROR = timedelta(milliseconds=2)


class Wire:
    """One connection to the gateway, in the place of the memory driver's session."""

    def __init__(self, pc: Pc, number: int, socket: ClientConnection) -> None:
        self._pc = pc
        self._socket = socket
        self.number = number
        self.hello: msg.Hello | None = None
        self.account: Person | None = None
        """There once a login was accepted; its password is `password`."""
        self.password = ""
        self.told: tuple[msg.PasswordKind, datetime | None] = ("current", None)
        self.outgoing: deque[msg.ClientMessage] = deque()
        self._proof: str | None = None
        """The password of a proof that was not answered yet."""
        self._closed = False
        self._reader = pc.site.loop.create_task(self._read())

    @property
    def closed(self) -> bool:
        """Return whether the connection has ended for the client."""
        return self._closed

    @closed.setter
    def closed(self, closed: bool) -> None:
        assert closed
        if not self._closed:
            self._closed = True
            self._pc.site.run(self._socket.close())
            self._pc.site.settle()

    @property
    def is_blocked(self) -> bool:
        return self.hello is not None and self.hello.device.id in self._pc.person.blocked

    def cut(self, *, lose: bool) -> None:
        """Pull the cable. `lose` what has arrived and was not looked at."""
        if self._closed:
            return
        self._closed = True
        self._socket.transport.abort()
        self._pc.site.settle()
        if lose:
            mine = [
                each for each in self._pc.inbox if getattr(each, "connection", 0) == self.number
            ]
            for event in mine:
                self._pc.inbox.remove(event)
        gone = ev.Disconnected(self.number, Failure(Reason.CONNECTION_LOST))
        self._pc.inbox.append(gone)

    def vanish(self) -> None:
        """End the connection, as the death of the client's process does."""
        if not self._closed:
            self._closed = True
            self._socket.transport.abort()
            self._pc.site.settle()

    def hear(self, message: msg.ClientMessage) -> None:
        """Take a message of the client."""
        if isinstance(message, msg.Hello):
            self.hello = message
        self.outgoing.append(message)
        if not self._pc.sends_late:
            self.transmit()

    def transmit(self) -> None:
        """Send the client's messages to the server."""
        while self.outgoing and not self._closed:
            message = self.outgoing.popleft()
            if isinstance(message, msg.Proof):
                self._proof = self._pc.proof_password(self.number)
            self._pc.site.run(self._send(msg.encode(message).decode()))
            self._pc.site.settle()

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed:
            self.outgoing.clear()

    async def _read(self) -> None:
        try:
            async for data in self._socket:
                message = msg.decode_from_server(str(data).encode())
                self._check(message)
                if not self._closed:
                    self._pc.inbox.append(ev.Received(self.number, message))
        except ConnectionClosed:
            pass
        except BaseException as exc:  # noqa: BLE001 - the test raises it
            self._pc.site.errors.append(exc)
        if not self._closed:
            self._closed = True
            gone = Failure(Reason.CONNECTION_LOST, detail=f"closed with {self._socket.close_code}")
            self._pc.inbox.append(ev.Disconnected(self.number, gone))

    def _check(self, message: msg.ServerMessage) -> None:
        """Assert that the oracle expects this message."""
        person, now = self._pc.person, self._pc.server_now
        match message:
            case msg.Welcome():
                assert self._proof is not None
                refusal = person.refusal(self._proof, now, blocked=self.is_blocked)
                assert refusal is None, f"welcome, though {refusal}"
                self.account, self.password, self._proof = person, self._proof, None
                self.told = (message.password, message.valid_until)
                self._pc.proven.add((person.username, self.password))
                self._compare(now)
            case msg.Rejected(reason=reason) if self._proof is not None:
                password, self._proof = self._proof, None
                expected = person.refusal(password, now, blocked=self.is_blocked)
                assert reason in {expected, "throttled"}, f"{reason}, not {expected}"
            case msg.PasswordStatus():
                self.told = (message.password, message.valid_until)
                self._compare(now)
            case msg.PasswordChanged():
                self.told = ("old", message.valid_until)
                self._compare(now)

    def _compare(self, now: datetime) -> None:
        kind, until = self._pc.person.standing(self.password, now)
        assert self.told[0] == kind
        assert (until is None) == (self.told[1] is None)
        assert until is None or self.told[1] is None or abs(until - self.told[1]) < CLOCK_ERROR

    def tells_the_truth(self, now: datetime) -> None:
        """Assert that a waiting client knows what its password is good for."""
        if self.account is not None and not self._closed:
            self._compare(now)


class Pc(World):
    """One PC of `person`, with the client started and nothing stored."""

    def __init__(self, site: Site, person: Person) -> None:
        self.site, self.person = site, person
        self.sends_late = False
        self.home_identity = Identity(server=SERVER, user=person.username)
        super().__init__(stored=None, identity=self.home_identity)
        self.accounts: dict[str, Account] = site.accounts  # type: ignore[assignment]  # has the same `standing`
        self.start()

    # The driver keeps clocks of its own; here there is the site's.
    @property
    def server_now(self) -> datetime:
        return clock.now()

    @server_now.setter
    def server_now(self, _: datetime) -> None: ...

    @property
    def steady(self) -> float:
        return 1000.0 + self.site.loop.elapsed_s

    @steady.setter
    def steady(self, _: float) -> None: ...

    @property
    def wires(self) -> list[Wire]:
        """Return all connections so far."""
        return list(self.sessions.values())  # type: ignore[arg-type]  # see `_connect`

    @property
    def wire(self) -> Wire | None:
        """Return the open connection with an accepted login, if there is one."""
        return next((w for w in self.wires if not w.closed and w.account is not None), None)

    @property
    def works(self) -> bool:
        """Return whether a client that starts with the stored password can log in."""
        return promises.works(self, self.home_identity, self.vault.get(self.home_identity))

    @property
    def device(self) -> Device | None:
        """Return the device's row, None before the first login."""
        record = self.vault.get(self.home_identity)
        if record is None:
            return None
        key = device_id(public_key(record.device_key))
        return Device.objects.filter(user_id=self.person.pk, device_id=key).first()

    def proof_password(self, number: int) -> str:
        """Return the password of the newest proof on this connection."""
        return self._proofs[number]

    def type(self, password: str) -> None:
        """Type a password at the client."""
        self.log_in(password, self.home_identity)

    def kill(self) -> None:
        for wire in self.wires:
            wire.vanish()
        super().kill()

    def unplug(self, *, lose: bool) -> None:
        """Break every connection."""
        for wire in self.wires:
            wire.cut(lose=lose)
        self.run()

    def send_held(self) -> None:
        """Deliver what was held up on its way to the server."""
        self.sends_late = False
        for wire in self.wires:
            wire.transmit()
        self.run()

    def next_due_s(self) -> float | None:
        """Return the seconds until the first timer fires, None without one."""
        return min(self.timers.values()) - self.steady if self.timers else None

    def fire(self) -> None:
        """Fire the timers that are due, each once."""
        for timer in [each for each, due in self.timers.items() if due <= self.steady + 1e-6]:
            if self.timers.pop(timer, None) is not None:
                self.tell(ev.TimerFired(timer))

    def is_waiting(self) -> bool:
        return self.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}

    def _connect(self, job: do.Connect) -> None:
        socket = self.site.run(self._open()) if self.online else None
        if socket is None:
            self.handle(ev.Disconnected(job.connection, Failure(Reason.UNREACHABLE)))
            return
        self.sessions[job.connection] = Wire(self, job.connection, socket)  # type: ignore[assignment]  # has what the driver uses
        self.site.settle()
        self.handle(ev.Connected(job.connection))

    async def _open(self) -> ClientConnection | None:
        address = f"ws://127.0.0.1:{self.site.port}{msg.PATH}"
        protocol: Any = [msg.SUBPROTOCOL]
        try:
            return await connect(
                address, subprotocols=protocol, compression=None, proxy=None, ping_interval=None
            )
        except (OSError, InvalidHandshake, TimeoutError):
            return None
