"""The world of one Machine, in memory: a server, a vault, timers, a network and two clocks.

How it works: `tell` gives the machine an event and then calls `run`. `run` answers the effects one
after the other, as the real runtime would, until none is left. Kinds of work named in
`hold` wait until `release`. `kill` ends the process: only durable state is left. Proofs
and boxes are real. core_promises.py checks every event.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, TypeVar, get_args

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity, Pending
from agent.core.effects import Effect
from agent.core.events import Event, Instant, SignInKind, Timer
from agent.core.failure import Failure, Reason, failure_of
from agent.core.host_info import HostInfo
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.state import State
from agent.core.view import View
from protocol import messages as msg
from protocol.messages import WarningOutcome
from protocol.scram import ScramError
from protocol.sealing import new_device_key, seal
from tests.support import core_promises as promises
from tests.support.core_gateway import Account, Session

HOME = Identity(server="wss://gw.example.com/gateway", user="tanaka")
OTHER = Identity(server="wss://gw.example.com/gateway", user="suzuki")
CHANGE = "a" * 32
"""The id of a change that the test makes itself."""
P1, P2, P3, WRONG = "Passw0rd!", "Second-2nd", "Third+3rd", "Wrong-000"
GRACE = timedelta(days=30)
BEGIN = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)

Kind = Literal["vault", "proof", "connect", "toast", "server"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ANSWERED_BY: dict[type[Effect], Kind] = {
    **dict.fromkeys([do.ReadVault, do.WriteVault, do.DeleteFromVault, do.SaveState], "vault"),
    **dict.fromkeys([do.ShowWarning, do.AskForPassword], "toast"),
    do.ComputeProof: "proof",
    do.Connect: "connect",
}
E = TypeVar("E", bound=Effect)


class Killed(Exception):
    """Raised when the process is killed at the action `World.kill_at`."""


class World:
    """One machine, and everything around it."""

    def __init__(
        self,
        *,
        stored: str | None = P1,
        identity: Identity | None = HOME,
        local: tzinfo = UTC,
        pending: str | None = None,
    ) -> None:
        self.accounts = {name: Account(name, P1) for name in ("tanaka", "suzuki")}
        self.home = self.accounts["tanaka"]
        self.server_now, self.steady, self.pc_error = BEGIN, 1000.0, timedelta(0)
        self.online, self.impostor, self.throttle_s = True, False, 0
        self.newest: msg.Release | None = None
        self.toast = WarningOutcome.SHOWN
        """The outcome of each warning."""
        self.attacked = False
        """Whether an attacker in the middle has changed messages of the server."""
        self.vault: dict[Identity, Credentials] = {}
        self.vault_reason: Reason | None = None
        """The reason of each vault failure; None while the vault works."""
        self.memory: dict[Identity, SavedState] = {}
        self.settings, self.machine_id = identity, "machine-1"
        if identity is not None and stored is not None:
            self.vault[identity] = Credentials(
                password=stored,
                device_key=new_device_key(),
                pending=Pending(change_id=CHANGE, password=pending) if pending else None,
                machine=self.machine_id,
            )
        self.hold: set[Kind] = set()
        self.performed: list[Effect] = []
        self.notices: list[msg.Notice] = []
        self.failed: list[msg.UpdateFailed] = []
        self.tried: list[str] = []
        """The passwords whose proofs were sent, in order."""
        self.proven: set[tuple[str, str]] = set()
        """User and password of each login that the server has accepted."""
        self.refused: set[tuple[str, str]] = set()
        """User and password of each refusal that the client knows, and must not send again."""
        self.answering: dict[int, tuple[str, str]] = {}
        """User and password of the last proof, by connection."""
        self.replies: dict[int, Reason | None] = {}
        self.kill_at: int | None = None
        self.actions = 0
        self._requests, self._nonces, self._changes = (itertools.count(1) for _ in range(3))
        self._local = local
        self._proofs: dict[int, str] = {}
        self._fresh()

    # --- the process

    def _fresh(self) -> None:
        self.jobs: defaultdict[Kind, deque[Any]] = defaultdict(deque)
        """Effects that wait for an answer, and messages from the server."""
        self.sessions: dict[int, Session] = {}
        self.timers: dict[Timer, float] = {}
        self.warning: int | None = None
        host = HostInfo(
            device_name="PC-4711",
            os="Windows 11",
            version="0.1.0",
            random=lambda: 0.5,
            nonce=lambda: f"c-{next(self._nonces):020}",
            machine=self.machine_id,
            local=self._local,
        )
        memory = self.memory.get(self.settings, SavedState()) if self.settings else SavedState()
        self.machine = Machine(host, self.settings, memory)

    def kill(self) -> None:
        """End the process at once, and prepare the next one. Durable state stays."""
        self.kill_at = None
        promises.on_kill(self)
        self._fresh()

    def start(self) -> None:
        self.tell(ev.Started())

    def restart(self, *, session: str = "") -> None:
        """Kill the program and start it again, at a sign-in when `session` names it."""
        self.kill()
        if session:
            self.come(session)
        self.start()

    @property
    def now(self) -> Instant:
        return Instant(self.server_now + self.pc_error, self.steady)

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def view(self) -> View:
        return self.machine.view(self.now)

    @property
    def inbox(self) -> deque[Any]:
        return self.jobs["server"]

    @property
    def session(self) -> Session:
        """Return the server's side of the open connection."""
        return next(each for each in reversed(self.sessions.values()) if not each.closed)

    @property
    def this_device(self) -> msg.Device:
        """Return the PC as the open connection's login described it."""
        assert self.session.device is not None
        return self.session.device

    def seen(self, kind: type[E]) -> list[E]:
        """Return the effects of one kind that the machine has asked for."""
        return [each for each in self.performed if isinstance(each, kind)]

    @property
    def asked(self) -> list[Reason | None]:
        """Return the reason of each question for a password to the user."""
        return [each.reason for each in self.seen(do.AskForPassword)]

    def is_in(self, state: State, reason: Reason | None = None) -> bool:
        """Return whether the user sees this state, for this reason."""
        return (self.state, self.view.reason) == (state, reason)

    def assert_updated(self, password: str = P2) -> None:
        """Assert standby with `password` alone stored, without pushes or problems."""
        assert self.state is State.STANDBY
        entry = self.vault[HOME]
        assert (entry.password, entry.pending, entry.refused) == (password, None, None)
        assert self.home.pushes == {}
        assert (self.view.days_left, self.view.vault_problem) == (None, None)

    # --- events

    def handle(self, event: Event) -> list[Effect]:
        """Give `event` to the machine, and perform its effects, at once or later."""
        self._count()
        effects = self.machine.handle(event, self.now)
        promises.hold(self, event, effects)
        for effect in effects:
            self._count()
            self.performed.append(effect)
            self._perform(effect)
        promises.retries(self)
        return effects

    def tell(self, event: Event) -> list[Effect]:
        """Handle `event` and run. Return all effects that result."""
        begin = len(self.performed)
        self.handle(event)
        self.run()
        return self.performed[begin:]

    def run(self) -> None:
        """Answer effects until only held ones are left."""
        for _ in range(5_000):
            for kind in KINDS:
                if kind not in self.hold and self.step(kind):
                    break
            else:
                return
        raise AssertionError("the client and the server go round in circles")

    def step(self, kind: Kind) -> bool:
        """Answer the oldest effect of a kind. Return whether there was one."""
        if not self.jobs[kind]:
            return False
        event = self._answer(self.jobs[kind].popleft())
        if event is not None:
            self.handle(event)
        return True

    def release(self, *kinds: Kind) -> None:
        """Stop holding these kinds, and run."""
        self.hold.difference_update(kinds)
        self.run()

    # --- the user, the network, the time

    def ask(self, make: Callable[[int], Event]) -> int:
        """Make a request of the user. Return its number, the answer's key in `replies`."""
        number = next(self._requests)
        self.tell(make(number))
        return number

    def log_in(self, password: str, identity: Identity = HOME, key: str | None = None) -> int:
        """Log in with a typed password, or with a received one and its pairing's device key."""
        self.refused.discard((identity.user, password))
        return self.ask(lambda number: ev.LoginRequested(number, identity, password, key))

    def log_out(self) -> int:
        return self.ask(ev.LogoutRequested)

    def come(self, session: str = "s1", kind: SignInKind = SignInKind.SIGN_IN) -> list[Effect]:
        """Make the user come to the desktop."""
        return self.tell(ev.SignedIn(session, kind))

    def cut(self) -> None:
        """Drop every connection, as a failing network does."""
        for session in self.sessions.values():
            session.close(Failure(Reason.CONNECTION_LOST))
        self.run()

    def change(self, password: str, *, push: bool = True) -> str:
        """Change the password in the console. Return the id of the change."""
        self.refused.discard(("tanaka", password))
        account, change_id = self.home, f"{next(self._changes):032x}"
        account.retired.insert(0, (account.password, self.server_now + GRACE))
        account.password = password
        account.pushes.clear()
        for session in self.sessions.values():
            if push and session.account is account and session.device and not session.closed:
                self.keep_push(password, change_id, session.device)
        self._refresh()
        self.run()
        return change_id

    def keep_push(self, password: str, change_id: str, device: msg.Device) -> None:
        """Have the server keep a sealed password for the PC, until it is proved or has failed."""
        self.home.pushes[device.id] = (change_id, self.seal(password, change_id, device))

    @staticmethod
    def seal(password: str, change_id: str, device: msg.Device) -> str:
        plain = msg.SealedPassword(change_id=change_id, device_id=device.id, password=password)
        return seal(plain, public_key=device.public_key)

    def advance(self, duration: timedelta | float) -> None:
        """Let time pass. Timers fire when they are due, and old passwords end."""
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        end = self.steady + seconds
        for _ in range(10_000):  # the most: 2,500 a day without answers
            timer = min(self.timers, key=lambda each: self.timers[each], default=None)
            due = min(self.timers[timer] if timer else end, end)
            self.server_now += timedelta(seconds=max(0.0, due - self.steady))
            self.steady = max(self.steady, due)
            self._refresh()
            self.run()
            if timer is not None and self.timers.get(timer, end + 1) <= self.steady:
                del self.timers[timer]
                self.tell(ev.TimerFired(timer))
            elif self.steady >= end:
                return
        raise AssertionError("timers fire without end")

    def sleep(self, duration: timedelta) -> None:
        """Let the PC sleep. Timers that were due fire once afterwards."""
        self.server_now += duration
        self.steady += duration.total_seconds()
        self._refresh()
        for timer in [each for each, due in self.timers.items() if due <= self.steady]:
            if self.timers.pop(timer, None) is not None:
                self.tell(ev.TimerFired(timer))

    def _refresh(self) -> None:
        for session in list(self.sessions.values()):
            session.refresh()

    # --- performing

    def _count(self) -> None:
        self.actions += 1
        if self.kill_at is not None and self.actions > self.kill_at:
            raise Killed

    def _perform(self, effect: Effect) -> None:
        match effect:
            case do.SaveIdentity(identity):
                self.settings = identity
            case do.Disconnect(number, _):
                waiting = self.jobs["connect"]
                self.jobs["connect"] = deque(j for j in waiting if j.connection != number)
                if number in self.sessions:
                    self.sessions[number].closed = True
            case do.Send(number, message):
                if isinstance(message, msg.Proof):
                    promises.on_proof(self, number, self._proofs[number])
                if number in self.sessions:
                    self.sessions[number].hear(message)
            case do.StartTimer(timer, delay_s):
                assert delay_s > 0
                self.timers[timer] = self.steady + delay_s
            case do.StopTimer(timer):
                self.timers.pop(timer, None)
            case do.WithdrawWarning():
                self.warning = None
            case do.Reply(request, failure):
                assert request not in self.replies, "answered twice"
                self.replies[request] = failure
            case _ if kind := ANSWERED_BY.get(type(effect)):
                self.jobs[kind].append(effect)

    def _answer(self, job: Any) -> Event | None:
        """Perform an effect. Return its answer; a message is its own answer."""
        match job:
            case do.SaveState(identity, saved_state):
                self._count()
                self.memory[identity] = saved_state
                return None
            case do.ReadVault() | do.WriteVault() | do.DeleteFromVault():
                self._count()
                return self._store(job)
            case do.ComputeProof(number, handshake, challenge):
                try:
                    proof = handshake.proof(challenge)
                except ScramError as exc:
                    return ev.ProofRefused(number, failure_of(exc))
                assert handshake.keys is not None
                self._proofs[number] = handshake.keys.password
                return ev.ProofReady(number, proof)
            case do.Connect(number, _):
                if not self.online:
                    return ev.Disconnected(number, Failure(Reason.UNREACHABLE))
                self.sessions[number] = Session(self, number)
                return ev.Connected(number)
            case do.ShowWarning() | do.AskForPassword():
                days = job.days_left if isinstance(job, do.ShowWarning) else None
                if self.toast is WarningOutcome.SHOWN:
                    self.warning = days
                return ev.WarningAnswered(days, self.toast)
            case event:
                promises.on_delivery(self, event)
                return event  # type: ignore[no-any-return] # of the inbox

    def _store(self, job: do.VaultEffect) -> Event:
        if self.vault_reason:
            return ev.VaultFailed(job.number, self.vault_reason)
        if isinstance(job, do.ReadVault):
            return ev.VaultRead(job.number, self.vault.get(job.identity))
        if isinstance(job, do.WriteVault):
            worked = promises.works(self, job.identity, self.vault.get(job.identity))
            self.vault[job.identity] = job.credentials
            works = promises.works(self, job.identity, job.credentials)
            assert works or not worked, "the last working password was replaced"
        else:
            self.vault.pop(job.identity, None)
        return ev.VaultWritten(job.number)
