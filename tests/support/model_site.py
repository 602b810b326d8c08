"""The server's side of the model: the real rules, database and gateway, and the oracle.

`Person` is the oracle: it knows what the manual promises, and not how the server does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.test import Client as Browser

from protocol import messages as msg
from server import clock
from server.console.hashers import ITERATIONS, format_verifier, hash_password
from server.console.models import Account, AuditEvent, User
from server.gateway.server import Gateway
from tests.support.timeless import TimelessLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

P1, P2, P3, P4, WRONG = "Passw0rd!", "Second-2nd", "Third+3rd", "F0urth+4th", "Wrong-000"
WORDS = (P1, P2, P3, P4)
SALT = b"a salt for tests"
STEP = timedelta(seconds=10)
AWAKE = timedelta(minutes=15)

_T = TypeVar("_T")


@dataclass
class Person:
    """A user: every password that was ever set, and what it is good for."""

    pk: int
    username: str
    current: str = P1
    retired: list[tuple[str, datetime]] = field(default_factory=list)
    """Old passwords with their ends, the newest first."""
    active: bool = True
    blocked: set[str] = field(default_factory=set)
    """Ids of devices that may not log in."""
    changes: int = 0
    forced: int = 0

    def standing(self, password: str, now: datetime) -> tuple[msg.PasswordKind, datetime | None]:
        """Return what `password` is good for on a client. Raise KeyError when it is not valid."""
        if password == self.current:
            return "current", None
        for old, until in self.retired:
            if old == password and now < until:
                return "old", until
        raise KeyError(password)

    def refusal(self, password: str, now: datetime, *, blocked: bool) -> str | None:
        """Return the reason that refuses a login with `password`, or None."""
        try:
            self.standing(password, now)
        except KeyError:
            return "expired" if password in [old for old, _ in self.retired] else "credentials"
        if not self.active:
            return "disabled"
        return "blocked" if blocked else None

    def changed(self, password: str, until: datetime) -> None:
        """Replace the current password, which stays valid for clients until then."""
        self.retired.insert(0, (self.current, until))
        self.current = password

    def in_use(self, password: str, now: datetime) -> bool:
        """Return whether it is valid, and so may not be chosen again."""
        try:
            self.standing(password, now)
        except KeyError:
            return False
        return True


class Site:
    """A running server with people, on a loop and a clock of its own."""

    def __init__(self, people: int = 2) -> None:
        self.loop = TimelessLoop()
        self.errors: list[BaseException] = []
        self.moved = timedelta()
        self._account = Account.objects.create(name=f"model {id(self)}")
        self.administrator = self._new_user("admin", User.Role.ADMINISTRATOR)
        self.people = [
            Person(user.pk, user.username)
            for user in (self._new_user(f"person{n}", User.Role.GENERAL) for n in range(people))
        ]
        self.accounts = {person.username: person for person in self.people}
        self.browser: Any = Browser(SERVER_NAME="localhost")
        self.browser.force_login(self.administrator)
        self._gateway: Gateway
        self.start()

    def start(self) -> None:
        self._gateway = Gateway(name="model", sweep_interval_s=3600)
        self.run(self._gateway.__aenter__())

    def stop(self) -> None:
        self.run(self._gateway.__aexit__(None, None, None))

    def close(self) -> None:
        """Remove everything, for the next example."""
        self.stop()
        self.settle()
        self.loop.close()
        clock.move(-self.moved)
        AuditEvent.objects.filter(account=self._account).delete()
        User.objects.filter(account=self._account).delete()
        self._account.delete()

    @property
    def port(self) -> int:
        return self._gateway.port

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work` on the loop."""
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Run until the server and all sockets are idle."""
        self.loop.settle()
        if self.errors:
            raise self.errors.pop()

    def jump(self, duration: timedelta) -> None:
        """Move every clock forward, and run the gateway's sweep.

        A jump longer than `AWAKE` is made at once: clients cannot answer pings in that time.
        """
        left = duration
        while left > timedelta():
            step = min(left, STEP) if duration <= AWAKE else left
            left -= step
            self.moved += step
            clock.move(step)
            self.loop.elapsed_s += step.total_seconds()
            self.settle()
        self.run(self._gateway.sweep())
        self.settle()

    def confirm(self, path: str) -> None:
        """Send a confirmation in the console, as the administrator."""
        answer = self.browser.post(path)
        assert answer.status_code == 302, (path, answer.status_code)
        self.settle()

    def user(self, person: Person) -> User:
        """Return the user's row."""
        return User.objects.get(pk=person.pk)

    def _new_user(self, name: str, role: User.Role) -> User:
        verifier = format_verifier(hash_password(P1, salt=SALT, iterations=ITERATIONS))
        return User.objects.create(
            account=self._account, username=f"{name}-{id(self)}", password=verifier, role=role
        )
