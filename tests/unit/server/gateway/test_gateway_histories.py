"""Random histories of people, administrators and PCs at a real gateway keep every promise.

`Person` is the oracle: it knows what the manual promises, and not how the server does it. The
client's side of such histories is in test_machine_properties.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from nacl.public import PrivateKey

from protocol import messages
from server import clock
from server.console import passwords, people
from server.console.hashers import ITERATIONS, format_verifier, hash_password
from server.console.models import Account, AuditEvent, Device, PushDelivery, User
from server.gateway.server import Gateway
from tests.support.gateway_client import Client, new_key
from tests.support.polling import eventually
from tests.support.server_fixtures import P1, P2, P3, SALT, with_settings

WORDS, WRONG = (P1, P2, P3, "F0urth+4th"), "Wrong-000"
Reason = Literal["credentials", "expired", "disabled", "blocked"]
Standing = tuple[messages.PasswordKind, datetime | None]
PENDING = PushDelivery.Outcome.PENDING
DAY = timedelta(days=1)
_T = TypeVar("_T")

nth = st.integers(0, 3)
words = st.sampled_from(WORDS)
durations = st.sampled_from(
    [timedelta(seconds=1), timedelta(hours=2), DAY, 29 * DAY, 30 * DAY - timedelta(hours=1)]
)


@dataclass
class Person:
    """A user: every password ever set, and whether it is current, old or ended."""

    user: User
    current: str = P1
    retired: list[tuple[str, datetime]] = field(default_factory=list)
    """Old passwords with their ends, the newest first."""
    is_active: bool = True

    def row(self) -> User:
        return User.objects.get(pk=self.user.pk)

    def standing(self, password: str) -> Standing | None:
        """Return whether `password` is current or old, and its end; None when it is not valid."""
        if password == self.current:
            return "current", None
        valid = (until for old, until in self.retired if old == password and clock.now() < until)
        return next((("old", until) for until in valid), None)

    def refusal(self, password: str, *, blocked: bool) -> Reason | None:
        """Return the reason that refuses a login with `password`."""
        if self.standing(password) is None:
            return "expired" if password in dict(self.retired) else "credentials"
        if not self.is_active:
            return "disabled"
        return "blocked" if blocked else None


@dataclass
class Pc:
    """A person's PC, which takes a push when it is connected."""

    person: Person
    key: PrivateKey = field(default_factory=new_key)
    client: Client | None = None
    """The PC's connection, None while the PC is away."""
    password: str = ""
    told: Standing = ("current", None)
    push: tuple[str, datetime] | None = None
    """The pushed password that the PC has not proven, with the push's end."""
    was_pushed: bool = False
    """Whether the push was sent since the last login."""
    is_blocked: bool = False

    @property
    def device_id(self) -> str:
        return Client(0, key=self.key).device.id

    def row(self) -> Device | None:
        return Device.objects.filter(user=self.person.user, device_id=self.device_id).first()


class Server(RuleBasedStateMachine):
    """A gateway, the actions on it, and the promises that are checked after each."""

    def __init__(self) -> None:
        super().__init__()
        self.runner, self.moved = asyncio.Runner(), timedelta()
        self.account = Account.objects.create(name=f"histories {id(self)}")
        self.people = [Person(self.new_user(f"person{n}")) for n in range(2)]
        self.pcs = [Pc(self.people[n % 2]) for n in range(4)]
        self.administrator = self.new_user("admin", role=User.Role.ADMINISTRATOR)
        self.start()

    def start(self) -> None:
        self.gateway = Gateway(with_settings(gateway_name="histories"), sweep_interval_s=3600)
        self.run(self.gateway.__aenter__())

    def teardown(self) -> None:
        for n in range(len(self.pcs)):
            self.leave(n)
        self.run(self.gateway.__aexit__(None, None, None))
        self.runner.close()
        clock.move(-self.moved)
        AuditEvent.objects.filter(account=self.account).delete()
        User.objects.filter(account=self.account).delete()
        self.account.delete()

    def new_user(self, name: str, **fields: Any) -> User:
        verifier = format_verifier(hash_password(P1, salt=SALT, iterations=ITERATIONS))
        name = f"{name}-{id(self)}"
        return User.objects.create(account=self.account, username=name, password=verifier, **fields)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(work)

    # --- PCs

    @initialize()
    def all_wait(self) -> None:
        for n in range(len(self.pcs)):
            self.log_in(n, P1)

    @rule(n=nth, password=st.sampled_from([*WORDS, WRONG]))
    def log_in(self, n: int, password: str) -> None:
        """Log a PC in on a new connection, by a right password or a wrong one."""
        self.run(self._log_in(self.pcs[n], password))

    async def _log_in(self, pc: Pc, password: str) -> None:
        client = await Client(self.gateway.port, key=pc.key).__aenter__()
        answer = await client.try_log_in(pc.person.user.username, password)
        refusal = pc.person.refusal(password, blocked=pc.is_blocked)
        if isinstance(answer, messages.Rejected):
            assert answer.reason in {refusal, "throttled"}
            await client.socket.close()
            return
        assert refusal is None
        if pc.client:
            assert await pc.client.expect(messages.Bye) == messages.Bye(reason="superseded")
            await pc.client.closed()
        pc.client, pc.was_pushed = client, False
        self._on_welcome(pc, password, answer)
        await self._take_push(pc)

    def _on_welcome(self, pc: Pc, password: str, welcome: messages.Welcome) -> None:
        pc.password, pc.told = password, (welcome.password, welcome.valid_until)
        assert pc.told == pc.person.standing(password)
        if pc.told[0] == "current":
            pc.push = None

    async def _take_push(self, pc: Pc) -> None:
        """Expect the pending push of a PC on an old password; odd PCs log in with it at once."""
        if pc.push is None or pc.was_pushed or pc.client is None:
            return
        pushed = await pc.client.expect(messages.PasswordChanged)
        opened, pc.was_pushed = pc.client.open(pushed.sealed)["password"], True
        assert (opened, pushed.valid_until) == (pc.push[0], pc.told[1])
        if self.pcs.index(pc) % 2:
            welcome = await pc.client.log_in(pc.person.user.username, opened)
            self._on_welcome(pc, opened, welcome)

    @rule(n=nth)
    def leave(self, n: int) -> None:
        """Cut the connection of a PC."""
        if client := self.pcs[n].client:
            self.run(client.socket.close())
            self.pcs[n].client = None

    @rule()
    def restart(self) -> None:
        """Restart the gateway, which forgets the refused logins."""
        self.run(self.gateway.__aexit__(None, None, None))
        for pc in self.pcs:
            if pc.client:
                assert self.run(pc.client.expect(messages.Bye)).reason == "shutting_down"
                self.run(pc.client.closed())
                pc.client = None
        self.start()

    async def _tell(self) -> None:
        """Expect on each connection a message about its user's change, and no other message."""
        for pc in self.pcs:
            if pc.push and pc.push[1] <= clock.now():
                pc.push = None
            if pc.client is None:
                continue
            standing = pc.person.standing(pc.password)
            end: messages.Bye | messages.Rejected | None = None
            if not pc.person.is_active:
                end = messages.Bye(reason="disabled")
            elif pc.is_blocked:
                end = messages.Bye(reason="blocked")
            elif standing is None:
                end = messages.Rejected(reason="expired")
            elif pc.push and not pc.was_pushed:
                pc.told = standing
                await self._take_push(pc)
            elif pc.told != standing:
                status = await pc.client.expect(messages.PasswordStatus)
                assert (status.password, status.valid_until) == standing
                pc.told = standing
            if end is not None:
                assert await pc.client.receive() == end
                await pc.client.closed()
                pc.client = None

    # --- the console

    @rule(n=nth, password=words, chosen=st.sets(nth))
    def change_own(self, n: int, password: str, chosen: set[int]) -> None:
        """Change a password, and push it to the chosen PCs that wait."""
        person, pcs = self.pcs[n].person, [self.pcs[m] for m in sorted(chosen)]
        rows = [row for row in map(Pc.row, pcs) if row is not None]
        try:
            change = passwords.change_own(person.row(), new_password=password, push_to=rows)
        except PermissionDenied:
            assert not person.is_active
            return
        except passwords.ReusedPassword:
            assert person.standing(password)
            return
        assert person.is_active
        assert person.standing(password) is None
        person.retired.insert(0, (person.current, change.old_valid_until))
        person.current = password
        waiting = [pc for pc in pcs if pc.person is person and pc.client]
        self.void_pushes(person)
        for pc in waiting:
            pc.push = password, change.old_valid_until
        pushed_to = {delivery.device.device_id for delivery in change.deliveries.all()}
        assert pushed_to == {pc.device_id for pc in waiting}
        self.run(self._tell())

    @rule(n=nth)
    def end_old(self, n: int) -> None:
        person, now = self.pcs[n].person, clock.now()
        ended = passwords.end_old_passwords(person.row(), by=self.administrator)
        assert ended == sum(until > now for _, until in person.retired)
        person.retired = [(old, min(until, now)) for old, until in person.retired]
        self.void_pushes(person)
        self.run(self._tell())

    def void_pushes(self, person: Person) -> None:
        for pc in self.pcs:
            if pc.person is person:
                pc.push, pc.was_pushed = None, False

    @rule(n=nth)
    def disable_or_enable(self, n: int) -> None:
        person = self.pcs[n].person
        person.is_active = not person.is_active
        people.apply(
            people.ENABLE if person.is_active else people.DISABLE,
            person.row(),
            by=self.administrator,
        )
        self.run(self._tell())

    @rule(n=nth)
    def block_or_allow(self, n: int) -> None:
        pc = self.pcs[n]
        if (row := pc.row()) is not None:
            pc.is_blocked = not pc.is_blocked
            people.set_blocked(row, blocked=pc.is_blocked, by=self.administrator)
            self.run(self._tell())

    @rule(duration=durations)
    def time_passes(self, duration: timedelta) -> None:
        self.moved += duration
        clock.move(duration)
        self.run(self.gateway.sweep())
        self.run(self._tell())

    # --- what holds at every moment

    @invariant()
    def only_the_current_password_opens_the_console(self) -> None:
        for person in self.people:
            name = person.user.username
            for word in {person.current, *(old for old, _ in person.retired), WRONG}:
                user = ModelBackend().authenticate(None, username=name, password=word)
                assert (user is not None) == (person.is_active and word == person.current)

    @invariant()
    def the_console_knows_who_waits(self) -> None:
        def is_true() -> bool:
            self.run(asyncio.sleep(0.01))  # presence is written in batches
            rows = Device.objects.filter(user__account=self.account, waiting_since__isnull=False)
            waiting = set(rows.values_list("device_id", flat=True))
            return waiting == {pc.device_id for pc in self.pcs if pc.client}

        eventually(is_true, within_s=10, or_say=lambda: self.pcs)

    @invariant()
    def a_push_is_pending_until_it_is_proven_or_ends(self) -> None:
        rows = PushDelivery.objects.filter(change__user__account=self.account)
        assert all(bool(row.sealed) == (row.outcome == PENDING) for row in rows)
        pending = {row.device.device_id for row in rows if row.outcome == PENDING}
        assert pending == {pc.device_id for pc in self.pcs if pc.push}


def test_histories(database: None) -> None:
    """The promises hold after every action, in any order."""
    run_state_machine_as_test(
        Server,
        settings=settings(
            max_examples=5, stateful_step_count=25, suppress_health_check=list(HealthCheck)
        ),
    )
