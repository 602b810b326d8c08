"""A model of the whole: random actions of people, administrators and PCs keep every promise.

The server's rules, its database, its gateway and the client's state machine are the real ones. The
connections between them are real, too: they break, and their messages are late. Time is simulated.
`MODEL_EXAMPLES=2000 MODEL_STEPS=80 pytest tests/system/model` tries more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.core.state import State
from server import clock
from server.console import passwords
from server.console.audit import Action
from server.console.models import AuditEvent, PasswordChange, PushDelivery, User
from tests.support.core_driver import Killed, Kind
from tests.support.model_pc import Pc
from tests.support.model_site import AWAKE, WORDS, WRONG, Person, Site

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "12"))
STEPS = int(os.environ.get("MODEL_STEPS", "30"))
MAX_PCS = 4
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SWEEP = timedelta(seconds=16)

nth = st.integers(0, 7)
words = st.sampled_from(WORDS)
kinds: st.SearchStrategy[Kind] = st.sampled_from(["vault", "proof", "connect", "server", "toast"])
durations = st.sampled_from(
    [
        timedelta(seconds=1),
        SWEEP,
        timedelta(seconds=70),
        7 * MINUTE,
        DAY,
        10 * DAY,
        30 * DAY - timedelta(hours=1),
        timedelta(hours=2),
        31 * DAY,
    ]
)


class Model(RuleBasedStateMachine):
    """The actions and the promises. `nth` picks a person or a PC, modulo their number."""

    def __init__(self) -> None:
        super().__init__()
        self.site = Site()
        self.pcs: list[Pc] = []
        self.forms: list[tuple[Person, User]] = []
        self.worked: dict[Pc, bool] = {}
        self.lost_rightly = False
        self.seen: dict[int, tuple[object, ...]] = {}
        """By person: what the console's passwords were last tried on."""

    def teardown(self) -> None:
        try:
            self._all_is_well_in_the_end()
        finally:
            for pc in self.pcs:
                pc.kill_at = None
                pc.kill()
            self.site.close()

    def person(self, n: int) -> Person:
        return self.site.people[n % len(self.site.people)]

    def pc(self, n: int) -> Pc:
        return self.pcs[n % len(self.pcs)]

    def do(self, pc: Pc, action: Callable[[], Any]) -> None:
        """Run `action` on this PC, and restart the PC if that kills it."""
        try:
            action()
        except Killed:
            pc.kill()
            pc.start()

    def all_run(self) -> None:
        """Run every PC until only held things are left."""
        for _ in range(3):
            for pc in self.pcs:
                self.do(pc, pc.run)
            self.site.settle()

    # --- PCs and their network

    @initialize(n=nth)
    def first_pc(self, n: int) -> None:
        self.add_pc(n)

    @precondition(lambda self: len(self.pcs) < MAX_PCS)
    @rule(n=nth)
    def add_pc(self, n: int) -> None:
        pc = Pc(self.site, self.person(n))
        self.pcs.append(pc)
        pc.type(pc.person.current)

    @rule(n=nth, kind=kinds)
    def hold(self, n: int, kind: Kind) -> None:
        """Hold up messages, the vault or the processor of this PC."""
        self.pc(n).hold.add(kind)

    @rule(n=nth)
    def send_late(self, n: int) -> None:
        self.pc(n).sends_late = True

    @rule(n=nth, kind=kinds)
    def one_step(self, n: int, kind: Kind) -> None:
        """Perform one thing that was held up."""
        pc = self.pc(n)
        self.do(pc, lambda: pc.step(kind))

    @rule(n=nth)
    def release(self, n: int) -> None:
        pc = self.pc(n)
        self.do(pc, pc.send_held)
        self.do(pc, lambda: pc.release(*pc.hold))

    @rule(n=nth, lose=st.booleans())
    def cut(self, n: int, lose: bool) -> None:
        pc = self.pc(n)
        self.do(pc, lambda: pc.unplug(lose=lose))

    @rule(n=nth, online=st.booleans())
    def network(self, n: int, online: bool) -> None:
        pc = self.pc(n)
        pc.online = online
        if not online:
            self.do(pc, lambda: pc.unplug(lose=True))

    @rule(n=nth, after=st.integers(0, 25))
    def crash(self, n: int, after: int) -> None:
        """Cut the power of the PC after so many more events and effects."""
        pc = self.pc(n)
        pc.kill_at = pc.actions + after

    @rule(n=nth)
    def power_cut(self, n: int) -> None:
        pc = self.pc(n)
        pc.kill()
        self.do(pc, pc.start)

    @rule(n=nth, password=st.sampled_from([*WORDS, WRONG]))
    def type_password(self, n: int, password: str) -> None:
        """Type a password at the PC, a right or a wrong one."""
        pc = self.pc(n)
        self.do(pc, lambda: pc.type(password))

    @rule()
    def restart_server(self) -> None:
        self.site.stop()
        self.site.settle()
        self.site.start()
        self.all_run()

    # --- the console

    @rule(n=nth)
    def open_form(self, n: int) -> None:
        """Open the form in a browser that sends it later."""
        person = self.person(n)
        self.forms.append((person, self.site.user(person)))

    @precondition(lambda self: self.forms)
    @rule(n=nth, password=words)
    def send_form(self, n: int, password: str) -> None:
        """Send the form, perhaps after the password has been changed elsewhere."""
        person, user = self.forms.pop(n % len(self.forms))
        self._change(person, user, password, self.pcs)

    @rule(n=nth, password=words, chosen=st.sets(nth, max_size=MAX_PCS))
    def change_own(self, n: int, password: str, chosen: set[int]) -> None:
        pcs = [pc for number, pc in enumerate(self.pcs) if number in chosen]
        self._change(self.person(n), self.site.user(self.person(n)), password, pcs)

    def _change(self, person: Person, user: User, password: str, pcs: list[Pc]) -> None:
        devices = {pc: pc.device for pc in pcs}
        try:
            change = passwords.change_own(
                user,
                new_password=password,
                push_to=[device for device in devices.values() if device is not None],
                address=None,
            )
        except passwords.ConcurrentChange:
            assert user.password != self.site.user(person).password
        except PermissionDenied:
            assert not person.active
        except passwords.ReusedPassword:
            assert person.in_use(password, clock.now())
        else:
            assert person.active
            assert not person.in_use(password, clock.now())
            expected = {
                device.pk
                for pc, device in devices.items()
                if device is not None
                and pc.person is person
                and device.device_id not in person.blocked
                and pc.wire is not None
                and pc.wire.hello is not None
                and pc.wire.hello.device.id == device.device_id
            }
            assert {delivery.device_id for delivery in change.deliveries.all()} == expected
            person.changed(password, change.old_valid_until)
            person.changes += 1
        self.site.settle()
        self.all_run()

    @rule(n=nth, password=words, temporary=st.booleans())
    def force(self, n: int, password: str, temporary: bool) -> None:
        """Change a password as the administrator, which is pushed to no PC."""
        person = self.person(n)
        try:
            change = passwords.force(
                self.site.user(person),
                by=self.site.administrator,
                new_password=password,
                must_change=temporary,
                address=None,
            )
        except passwords.ReusedPassword:
            assert person.in_use(password, clock.now())
        else:
            person.changed(password, change.old_valid_until)
            person.forced += 1
        self.site.settle()
        self.all_run()

    @rule(n=nth)
    def end_old(self, n: int) -> None:
        person, now = self.person(n), clock.now()
        ended = passwords.end_old_passwords(
            self.site.user(person), by=self.site.administrator, address=None
        )
        assert ended == sum(until > now for _, until in person.retired)
        person.retired = [(old, min(until, now)) for old, until in person.retired]
        self.lost_rightly = True
        self.site.settle()
        self.all_run()

    @rule(n=nth)
    def disable_or_enable(self, n: int) -> None:
        person = self.person(n)
        person.active = not person.active
        self.site.confirm(f"/users/{person.pk}/{'enable' if person.active else 'disable'}/")
        self.all_run()

    @rule(n=nth)
    def block_or_allow(self, n: int) -> None:
        pc = self.pc(n)
        device = pc.device
        if device is None:
            return
        blocked = pc.person.blocked
        action = "allow" if device.device_id in blocked else "disconnect"
        blocked.symmetric_difference_update({device.device_id})
        self.site.confirm(f"/users/{pc.person.pk}/pcs/{device.pk}/{action}/")
        self.all_run()

    # --- time

    @rule(duration=durations)
    def time_passes(self, duration: timedelta) -> None:
        self._pass(duration)

    def _pass(self, duration: timedelta) -> None:
        self.lost_rightly = True
        if duration > AWAKE:
            self.site.jump(duration)
            self._fire()
            return
        end = clock.now() + duration
        for _ in range(500):
            left = (end - clock.now()).total_seconds()
            due = [pc.next_due_s() for pc in self.pcs]
            step = max(0.0, min([left, *(each for each in due if each is not None)]))
            self.site.jump(timedelta(seconds=step + 0.001))
            self._fire()
            if clock.now() >= end:
                return
        raise AssertionError("timers fire without end")

    def _fire(self) -> None:
        self.all_run()
        for pc in self.pcs:
            self.do(pc, pc.fire)
        self.all_run()

    # --- what holds at every moment

    @invariant()
    def only_the_current_password_opens_console_and_app(self) -> None:
        for person in self.site.people:
            row = self.site.user(person)
            seen = (row.password, row.is_active, person.current, person.active)
            if self.seen.get(person.pk) == seen:
                continue
            self.seen[person.pk] = seen
            for word in (*WORDS, WRONG):
                user = ModelBackend().authenticate(None, username=person.username, password=word)
                assert (user is not None) == (person.active and word == person.current)

    @invariant()
    def a_stored_password_that_works_goes_on_working(self) -> None:
        """Only time, or ending old passwords, may take a working password away."""
        for pc in self.pcs:
            if self.worked.get(pc) and not self.lost_rightly:
                assert pc.works, "a working password was lost"
            self.worked[pc] = pc.works
        self.lost_rightly = False

    @invariant()
    def a_connected_client_knows_its_password_status(self) -> None:
        now = clock.now()
        for pc in self.pcs:
            if not pc.sends_late:
                for wire in pc.wires:
                    wire.tells_the_truth(now)

    @invariant()
    def the_console_knows_who_waits(self) -> None:
        for pc in self.pcs:
            device, wire = pc.device, pc.wire
            if device is None:
                assert wire is None
            elif wire is not None and wire.hello is not None:
                assert device.device_id == wire.hello.device.id
            if device is not None:
                assert (device.waiting_since is not None) == (wire is not None)

    @invariant()
    def nothing_is_pending_past_its_end(self) -> None:
        for row in PushDelivery.objects.select_related("change"):
            is_pending = row.outcome == PushDelivery.Outcome.PENDING
            assert bool(row.sealed) == is_pending
            assert not is_pending or row.change.old_valid_until > clock.now()

    @invariant()
    def every_change_has_one_event(self) -> None:
        for person in self.site.people:
            events = AuditEvent.objects.filter(subject=person.pk)
            changes = PasswordChange.objects.filter(user=person.pk)
            applied = PushDelivery.objects.filter(
                change__user=person.pk, outcome=PushDelivery.Outcome.APPLIED
            )
            counted = {
                Action.PASSWORD_CHANGED: person.changes,
                Action.PASSWORD_FORCED: person.forced,
                Action.PUSH_APPLIED: applied.count(),
            }
            for action, number in counted.items():
                assert events.filter(action=action).count() == number, action
            assert changes.count() == person.changes + person.forced

    def _all_is_well_in_the_end(self) -> None:
        """Remove every obstacle, and assert that each PC reaches the best state that it can."""
        for person in self.site.people:
            if not person.active:
                self.disable_or_enable(self.site.people.index(person))
        for number, pc in enumerate(self.pcs):
            pc.kill_at = None
            pc.online = True
            device = pc.device
            if device is not None and device.device_id in pc.person.blocked:
                self.block_or_allow(number)
        self.restart_server()  # and its memory of refused passwords
        for pc in self.pcs:
            self.do(pc, pc.send_held)
            pc.hold.clear()
            self.do(pc, pc.run)
        for _ in range(12):
            self._pass(10 * MINUTE)
        for pc in self.pcs:
            if not pc.works:
                assert pc.state in {State.NEEDS_PASSWORD, State.LOGGED_OUT}
                continue
            assert pc.is_waiting(), (pc.state, pc.view)
            device = pc.device
            assert device is not None
            pending = device.deliveries.filter(outcome=PushDelivery.Outcome.PENDING)
            assert not pending.exists(), "a push has not arrived"


def test_model(database: None) -> None:
    """The promises hold after every step, in any order of actions."""
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


test_model = pytest.mark.timeout(120 if EXAMPLES <= 50 else 0)(test_model)
