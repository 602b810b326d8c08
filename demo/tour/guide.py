"""Leads through the cases: keeps the people, the PC and the days, and says what was seen."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

from demo.__main__ import sample_password
from demo.installation import Addresses, Client, Sample
from demo.tour.person import Person
from server import clock


class Guide:
    """`see` checks one sentence of the manual; a failure is printed and counted, not raised."""

    def __init__(
        self, addresses: Addresses, client: Client, user: Sample, administrator: Sample
    ) -> None:
        self.addresses = addresses
        self.client = client
        self.username = user.username
        self.administrator = administrator.username
        self.password = user.password
        """The user's current one."""
        self.admin_password = administrator.password
        self.passwords = [user.password, administrator.password]
        """All that were used, right or wrong."""
        self._sessions = 0
        self._checks = 0
        self._failures: list[str] = []
        self._people: list[Person] = []

    # --- what cases are told with

    def run(self, case: Callable[[Guide], None]) -> None:
        """One case; a defect in it is a failure, and the next one goes on."""
        print(f"\n■ {case.__doc__}")
        try:
            case(self)
        except Exception as exc:  # noqa: BLE001 - whatever it was, the tour tells it
            self._fail(f"{case.__name__}: {exc}")
            traceback.print_exc()

    def do(self, text: str) -> None:
        """Tell what is being done."""
        print(f"  ・{text}")

    def see(self, manual: str, seen: object, *, expected: bool) -> None:
        """Hold what was seen against a sentence of the manual."""
        self._checks += 1
        print(f"    {'✓' if expected else '✗'} {manual}\n        → {seen}")
        if not expected:
            self._fail(f"{manual} → {seen}")

    def conclude(self) -> int:
        """Print the sum; the exit code."""
        print(f"\n{self._checks} checks, {len(self._failures)} not as the manual says")
        for failure in self._failures:
            print(f"  ✗ {failure}")
        return 1 if self._failures or not self._checks else 0

    def _fail(self, text: str) -> None:
        self._failures.append(text)
        print(f"    ✗ {text}")

    # --- people

    def person(self) -> Person:
        """Somebody with a browser that has no cookies yet."""
        person = Person(self.addresses.console)
        self._people.append(person)
        return person

    def user_logs_in(self) -> Person:
        """The user, logged in to the console."""
        person = self.person()
        if not person.log_in("/login/", self.username, self.password):
            raise AssertionError(f"cannot log in: {person.text()}")
        return person

    def administrator_logs_in(self) -> Person:
        """The administrator, logged in to the console."""
        person = self.person()
        if not person.log_in("/login/", self.administrator, self.admin_password):
            raise AssertionError(f"cannot log in: {person.text()}")
        return person

    def new_password(self) -> str:
        """One that was not used yet, remembered for the search for leaks."""
        password = sample_password()
        self.passwords.append(password)
        return password

    def close(self) -> None:
        """Close all browsers and the client."""
        for person in self._people:
            person.close()
        self.client.stop()

    # --- the PC

    def sign_in(self) -> list[str]:
        """Sign in to Windows again: another logon session; what the client showed in it."""
        self.client.stop()
        self._sessions += 1
        start = len(self.client.output)
        self.client.start(session=f"tour-{self._sessions}")
        self._wait_until_calm()
        return self.client.output[start:]

    def restart(self) -> list[str]:
        """Start the client again in the same session, as an update of it does."""
        self.client.stop()
        start = len(self.client.output)
        self.client.start(session=f"tour-{self._sessions}")
        self._wait_until_calm()
        return self.client.output[start:]

    def _wait_until_calm(self) -> None:
        """Until it has logged in or been refused, and has had a moment to warn."""
        calm = {"standby", "standby_old_password", "needs_password"}
        end = monotonic() + 30
        while monotonic() < end:
            status = self.client.status()
            if status is not None and status["state"] in calm:
                sleep(0.5)
                return
            sleep(0.1)
        raise AssertionError(f"the client does not come to rest: {self.client.status()}")

    def warnings(self, output: list[str]) -> list[str]:
        """Of the lines that the client showed, those that are notifications."""
        return [line for line in output if line.startswith("[")]

    # --- time

    def days_left_become(self, days: int) -> None:
        """Move the server's clock so that the client's old password has `days` days left."""
        status = self.client.status()
        if status is None or status["valid_until"] is None:
            raise AssertionError("the client is not on an old password")
        end = datetime.fromisoformat(status["valid_until"])
        if days:
            self._move_to(end - timedelta(days=days))
            return
        midnight = datetime.combine(end.astimezone(), datetime.min.time()).astimezone(UTC)
        self._move_to(end - min(timedelta(minutes=1), (end - midnight) / 2))

    def old_password_ends(self) -> None:
        """Move the server's clock past the end of the client's old password."""
        status = self.client.status()
        if status is None or status["valid_until"] is None:
            raise AssertionError("the client is not on an old password")
        self._move_to(datetime.fromisoformat(status["valid_until"]) + timedelta(seconds=1))

    def _move_to(self, when: datetime) -> None:
        clock.move(when - clock.now())
        print(f"  ・サーバの時計を {when.astimezone():%Y-%m-%d %H:%M} へ進める")
