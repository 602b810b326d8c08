"""The machine keeps its promises for every order of events, also with a man in the middle.

core_promises.py checks after each event what must always hold: no secret in anything that could be
logged, nothing stored without proof, the last working password never lost, a refused password not
sent again, no request answered twice. This module checks the final state. `make fuzz` runs
the same histories by the hundred thousand.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from agent.core import events as ev
from agent.core.credentials import Identity
from agent.core.events import SignInKind, Timer
from agent.core.failure import Failure, Reason
from agent.core.saved_state import SavedState
from agent.core.state import State
from protocol import messages as msg
from tests.support import core_promises as promises
from tests.support.core_driver import BEGIN, HOME, KINDS, OTHER, P1, P2, P3, WRONG, Kind, World

POOL = [P1, P2, P3, "Fourth4~4th", "Fifth5^5th", "Sixth6:6th"]
UNTIL = BEGIN + timedelta(days=10)
LOOSE = [
    msg.Challenge(scram="r=x,s=QUJDREVGR0hJSktMTU5P,i=600000"),
    msg.Welcome(scram="v=QUJD", password="current", server_time=BEGIN),
    msg.PasswordStatus(password="current", server_time=BEGIN),
    msg.PasswordChanged(change_id="e" * 32, sealed="A" * 64, valid_until=UNTIL),
    msg.Bye(reason="superseded"),
    msg.Bye(reason="shutting_down", retry_after_s=5),
    msg.Rejected(reason="throttled", retry_after_s=60),
    msg.Rejected(reason="version"),
]
EVENTS = [
    *map(ev.TimerFired, Timer),
    *(ev.ReconnectRequested(), ev.UserLeft(), ev.Suspending()),
    *(ev.SessionEnding("shutdown"), ev.SessionEnding(None)),
]
FIELDS = ["type", "scram", "password", "valid_until", "server_time", "reason", "retry_after_s",
          "sealed", "change_id", "console_url", "more"]  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.sampled_from(["current", "old", "", "credentials", "expired", "shutting_down", "\u202e", 0]),
    st.sampled_from(["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z"]),
    st.sampled_from(["2026-11-23T03:00:00.000000001Z", "9999-12-31T23:59:59-23:59"]),
    st.integers(-1, 100_000),
    st.text(max_size=20),
    st.just([[{}]]),
)


class Client(RuleBasedStateMachine):
    """Random orders of events: each pending answer arrives only when a rule delivers it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.hold = set(KINDS)
        self.asked = self.asked_before = 0
        self.outs: set[int] = set()
        self.heard: list[bytes] = []
        self.first = self.world.vault[HOME]
        self.world.start()

    # --- the runtime, which answers in any order

    @rule(kind=st.sampled_from(KINDS), times=st.integers(1, 3))
    def let_happen(self, kind: Kind, times: int) -> None:
        for _ in range(times):
            self.world.step(kind)

    @rule()
    def let_everything_happen(self) -> None:
        self.world.hold = set()
        self.world.run()
        self.world.hold = set(KINDS)

    @rule(seconds=st.sampled_from([1.0, 19.0, 21.0, 61.0, 400.0, 3600.0, 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(days=st.sampled_from([1, 29, 31]))
    def the_pc_sleeps(self, days: int) -> None:
        self.world.sleep(timedelta(days=days))

    @rule(event=st.sampled_from(EVENTS))
    def something_happens(self, event: ev.Event) -> None:
        self.world.tell(event)

    @rule()
    def killed(self) -> None:
        self.world.restart()
        self.asked, self.asked_before = 0, self.asked_before + self.asked
        self.outs.clear()
        self.world.replies.clear()

    # --- the user

    @rule(
        password=st.sampled_from([*POOL, WRONG]),
        identity=st.sampled_from([HOME, HOME, HOME, OTHER]),
    )
    def signs_in(self, password: str, identity: Identity) -> None:
        self.asked += 1
        self.world.log_in(password, identity)

    @rule()
    def signs_in_with_the_right_password(self) -> None:
        self.asked += 1
        self.world.log_in(self.world.home.password)

    @rule()
    def logs_out(self) -> None:
        self.asked += 1
        self.outs.add(self.world.log_out())

    @rule(session=st.sampled_from(["s1", "s2"]), kind=st.sampled_from(SignInKind))
    def comes_to_the_desktop(self, session: str, kind: SignInKind) -> None:
        self.world.come(session, kind)

    # --- the console

    @rule(push=st.booleans())
    def changes_the_password(self, *, push: bool) -> None:
        home = self.world.home
        used = {home.password, *(old for old, _ in home.retired)}
        if fresh := [each for each in POOL if each not in used]:
            self.world.change(fresh[0], push=push)

    @rule(says=st.sampled_from([None, None, "disabled", "blocked"]))
    def is_disabled_or_enabled(self, says: Literal["disabled", "blocked"] | None) -> None:
        self.world.home.says = says

    # --- the network, the server, the vault

    @rule()
    def loses_the_connection(self) -> None:
        self.world.cut()

    @rule(online=st.booleans())
    def network(self, *, online: bool) -> None:
        self.world.online = online
        self.world.tell(ev.NetworkChanged())

    @rule(impostor=st.booleans(), throttle_s=st.sampled_from([0, 0, 30]))
    def server_behaves(self, *, impostor: bool, throttle_s: int) -> None:
        self.world.impostor, self.world.throttle_s = impostor, throttle_s

    @rule(message=st.sampled_from(LOOSE))
    @precondition(lambda self: any(not s.closed for s in self.world.sessions.values()))
    def server_says_something_odd(self, message: msg.ServerMessage) -> None:
        self.world.session.say(message)

    @rule(
        reason=st.sampled_from([None, None, Reason.VAULT_LOCKED, Reason.VAULT_BROKEN]),
        outcome=st.sampled_from(msg.WarningOutcome),
    )
    def vault_and_desktop_work_or_not(
        self, reason: Reason | None, outcome: msg.WarningOutcome
    ) -> None:
        self.world.vault_reason, self.world.toast = reason, outcome

    @rule(back=st.integers(1, 3), what=st.integers(0, 3))
    @precondition(lambda self: len(self.world.sessions) > 1)
    def an_old_connection_speaks(self, back: int, what: int) -> None:
        numbers = sorted(self.world.sessions)
        number = numbers[max(0, len(numbers) - 1 - back)]
        late: list[ev.Event] = [
            ev.Connected(number),
            ev.Disconnected(number, Failure(Reason.CONNECTION_LOST)),
            ev.Received(number, msg.Rejected(reason="credentials")),
            ev.ProofReady(number, "c=biws,r=x,p=QUJD"),
        ]
        before = self.world.state
        assert self.world.tell(late[what]) == []
        assert self.world.state is before

    # --- a man in the middle, in half of the histories

    @initialize(attacked=st.booleans())
    def begins(self, *, attacked: bool) -> None:
        self.world.attacked = attacked

    @precondition(lambda self: self.world.attacked and self.next_message())
    @rule(how=st.sampled_from(["drop", "double", "swap"]))
    def messages_are_moved(self, how: str) -> None:
        inbox = self.world.inbox
        if how == "drop":
            inbox.popleft()
        elif how == "double":
            inbox.appendleft(inbox[0])
        elif isinstance(inbox[1 % len(inbox)], ev.Received):
            inbox.insert(1, inbox.popleft())

    @precondition(lambda self: self.world.attacked and self.next_message())
    @rule(at=st.integers(0, 400), length=st.integers(0, 4), data=st.binary(max_size=4))
    def bytes_are_changed(self, at: int, length: int, data: bytes) -> None:
        raw = self.take()
        at %= len(raw)
        self.receive(raw[:at] + data + raw[at + length :])

    @precondition(lambda self: self.world.attacked and self.next_message())
    @rule(name=st.sampled_from(FIELDS), value=VALUES)
    def a_field_is_changed(self, name: str, value: Any) -> None:
        self.receive(json.dumps({**json.loads(self.take()), name: value}).encode())

    @precondition(lambda self: self.world.attacked and self.heard)
    @rule(n=st.integers(0, 30))
    def a_message_is_replayed(self, n: int) -> None:
        self.receive(self.heard[n % len(self.heard)])

    @precondition(lambda self: self.world.attacked)
    @rule(
        message=st.sampled_from(LOOSE),
        fields=st.dictionaries(st.sampled_from(FIELDS[1:]), VALUES, max_size=4),
    )
    def a_message_is_made_up(self, message: msg.ServerMessage, fields: dict[str, Any]) -> None:
        self.receive(json.dumps({**json.loads(msg.encode(message)), **fields}).encode())

    def next_message(self) -> msg.ServerMessage | None:
        """Return the message that arrives next, None when there is none."""
        inbox = self.world.inbox
        return inbox[0].message if inbox and isinstance(inbox[0], ev.Received) else None

    def take(self) -> bytes:
        """Remove the next message from the inbox. Return its bytes on the wire."""
        message = self.next_message()
        assert message is not None
        self.world.inbox.popleft()
        self.heard.append(msg.encode(message))
        return self.heard[-1]

    def receive(self, raw: bytes) -> None:
        """Decode a message as `agent/connection.py` does, and give it to the client."""
        number = self.world.machine.connection.number
        if number not in self.world.sessions or self.world.sessions[number].closed:
            return
        try:
            self.world.handle(ev.Received(number, msg.decode_from_server(raw)))
        except msg.UnknownMessage:
            pass
        except msg.MessageError as exc:
            self.world.sessions[number].closed = True
            failure = Failure(Reason.PROTOCOL, detail=str(exc))
            self.world.handle(ev.Disconnected(number, failure))

    # --- what holds

    @invariant()
    def nothing_is_believed_without_proof(self) -> None:
        if self.world.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}:
            number = self.world.machine.connection.number
            assert self.world.sessions[number].has_proved_itself
        if not self.world.proven and not self.asked and not self.asked_before:
            assert replace(self.world.vault[HOME], refused=None) == self.first
            assert self.world.memory.get(HOME, SavedState()).console_url is None

    @invariant()
    def requests_are_answered_once(self) -> None:
        assert len(self.world.replies) <= self.asked

    @invariant()
    def waiting_means_that_a_try_will_come(self) -> None:
        if self.world.state is State.RETRYING:
            assert Timer.RETRY in self.world.timers

    @invariant()
    def days_are_shown_while_the_password_is_old(self) -> None:
        view = self.world.view
        if self.world.state is State.STANDBY_OLD_PASSWORD:
            assert view.valid_until is not None
            server_now = self.world.machine.account._clock.at(self.world.now)
            # An old password past its end has no days left, until the server says more.
            assert (view.days_left is None) == (server_now >= view.valid_until)
            assert view.days_left is None or view.days_left >= 0
        if self.world.state is State.STANDBY:
            assert view.days_left is None

    def teardown(self) -> None:
        """End all trouble: every request is answered, and the client reaches standby if it can."""
        world = self.world
        world.hold = set()
        world.vault_reason, world.impostor, world.throttle_s, world.online = None, False, 0, True
        world.home.says = None
        world.run()
        world.advance(7200)
        assert len(world.replies) == self.asked, "a request was not answered"
        if world.attacked:  # a message may be lost or forged
            return
        expected = {State.STANDBY, State.STANDBY_OLD_PASSWORD}
        record = world.vault.get(world.settings) if world.settings else None
        if record is None:
            expected = {State.LOGGED_OUT}
        elif world.settings and not promises.works(world, world.settings, record):
            expected = {State.NEEDS_PASSWORD}
        if any(world.replies[each] is not None for each in self.outs):
            expected.add(State.LOGGED_OUT)  # the vault failed to delete
        assert world.state in expected
        if world.state is State.STANDBY:
            assert world.session.told == ("current", None)
            assert record is not None
            assert record.password == world.session.password
            assert record.pending is None
            assert record.refused is None
        if world.state is State.STANDBY_OLD_PASSWORD and world.settings == HOME:
            assert not world.home.pushes, "an update was lost"
            assert world.view.valid_until == world.session.told[1]


TestClient = Client.TestCase
