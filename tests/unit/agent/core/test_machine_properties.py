"""The machine keeps its promises for every order of events.

core_promises.py checks after each event what must always hold: no secret in anything that could be
logged, nothing stored without proof, the last working password never lost, a refused password not
sent again, no request answered twice. This module checks where the machine ends.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.core import events as ev
from agent.core.credentials import Identity
from agent.core.events import SignInKind, Timer
from agent.core.failure import Failure, Reason
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


class Client(RuleBasedStateMachine):
    """Random interleavings: nothing that is outstanding happens before a rule lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.hold = set(KINDS)
        self.asked = 0
        self.outs: set[int] = set()
        self.world.start()

    # --- the runtime, in an order of its own

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

    @rule(timer=st.sampled_from(Timer))
    def a_timer_fires_late(self, timer: Timer) -> None:
        self.world.tell(ev.TimerFired(timer))

    @rule()
    def killed(self) -> None:
        self.world.restart()
        self.asked = 0
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

    @rule()
    def reconnects(self) -> None:
        self.world.tell(ev.ReconnectRequested())

    # --- the console

    @rule(push=st.booleans())
    def changes_the_password(self, *, push: bool) -> None:
        home = self.world.home
        used = {home.password, *(old for old, _ in home.retired)}
        if fresh := [each for each in POOL if each not in used]:
            self.world.change(fresh[0], push=push)

    @rule(says=st.sampled_from([None, None, "disabled", "blocked"]))
    def is_disabled_or_enabled(self, says: str | None) -> None:
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

    @rule(reason=st.sampled_from([None, None, Reason.VAULT_LOCKED, Reason.VAULT_BROKEN]))
    def vault_works_or_not(self, reason: Reason | None) -> None:
        self.world.vault_reason = reason

    @rule(outcome=st.sampled_from(msg.WarningOutcome))
    def desktop_shows_or_not(self, outcome: msg.WarningOutcome) -> None:
        self.world.toast = outcome

    @rule()
    def user_leaves(self) -> None:
        self.world.tell(ev.UserLeft())

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

    # --- what holds

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
            server_now = self.world.machine.client.account.server_now(self.world.now)
            # Past its end it has no days, until the server or the next login says what holds.
            assert (view.days_left is None) == (server_now >= view.valid_until)
            assert view.days_left is None or view.days_left >= 0
        if self.world.state is State.STANDBY:
            assert view.days_left is None

    def teardown(self) -> None:
        """When nothing is wrong any more, all is answered and the client waits if it can."""
        world = self.world
        world.hold = set()
        world.vault_reason, world.impostor, world.throttle_s, world.online = None, False, 0, True
        world.home.says = None
        world.run()
        world.advance(7200)
        assert len(world.replies) == self.asked, "a request was not answered"
        expected = {State.STANDBY, State.STANDBY_OLD_PASSWORD}
        record = world.vault.get(world.settings) if world.settings else None
        if record is None:
            expected = {State.LOGGED_OUT}
        elif world.settings and not promises.works(world, world.settings, record):
            expected = {State.NEEDS_PASSWORD}
        if any(world.replies[each] is not None for each in self.outs):
            expected.add(State.LOGGED_OUT)  # the vault would not forget it, and the user knows
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


TestClient = pytest.mark.timeout(600)(Client.TestCase)
assert settings.default is not None
TestClient.settings = settings(
    max_examples=2 * settings.default.max_examples, stateful_step_count=50, deadline=None
)
