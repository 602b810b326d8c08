"""Run the tour's cases: hold users, PCs and clock, and print what was seen."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic, sleep

from demo.installation import Client, Sample, sample_password
from demo.tour.person import Person
from server import clock


class Guide:
    """Run the cases. `see` checks one sentence of the manual, and counts failures."""

    def __init__(
        self,
        addresses: tuple[str, str],
        pcs: Sequence[Client],
        user: Sample,
        administrator: Sample,
    ) -> None:
        self._console, self.gateway = addresses
        self.client, self.new_pc = pcs
        """The PC of all cases, and a new PC without a password."""
        self.username = user.username
        self.administrator = administrator.username
        self.password = user.password
        """The user's current password."""
        self.admin_password = administrator.password
        self.passwords = [user.password, administrator.password]
        """All passwords that were used, right or wrong, for the search for leaks."""
        self._sessions = 0
        self._checks = 0
        self._failures: list[str] = []

    # --- checks and output

    def run(self, title: str, case: Callable[[Guide], None]) -> None:
        """Run one case; an error in it counts as a failure."""
        print(f"\n■ {title}")
        try:
            case(self)
        except Exception as exc:  # noqa: BLE001 - the other cases must still run
            self._fail(f"{case.__name__}: {exc}")
            traceback.print_exc()

    def do(self, text: str) -> None:
        """Print the tour's next action."""
        print(f"  ・{text}")

    def see(self, manual: str, seen: object, *, expected: bool = True) -> None:
        """Compare what was seen with a sentence of the manual."""
        self._checks += 1
        print(f"    {'✓' if expected else '✗'} {manual}\n        → {seen}")
        if not expected:
            self._fail(f"{manual} → {seen}")

    def see_page(self, manual: str, person: Person, *words: str, within_s: float = 0.0) -> None:
        """Check that the page has all `words`, loading it again for up to `within_s` seconds."""
        end = monotonic() + within_s
        while (missing := [each for each in words if each not in person.text()]) and (
            monotonic() < end
        ):
            sleep(0.3)
            person.reload()
        self.see(manual, person.text()[:160], expected=not missing)

    def see_state(self, manual: str, state: str, **expected: object) -> None:
        """Wait until the client is in `state`, and compare the `expected` fields of its status."""
        status = self.client.wait_for(state)
        seen = {name: status[name] for name in expected}
        shown = [state, *(f"{name}={value}" for name, value in seen.items())]
        self.see(manual, ", ".join(shown), expected=seen == expected)

    def see_command(self, manual: str, *command: str, answer: str, done: bool = True) -> None:
        """Run a command of the client, and check that it succeeds or, unless `done`, fails."""
        code, said = self.client.command(*command, answer=answer)
        self.see(manual, " ".join(said.split()), expected=(code == 0) == done)

    def see_update(self) -> None:
        """Type the current password at the client, and wait for standby."""
        again = "新しいパスワードで再び待ち受ける"
        self.see_command(again, "update-password", answer=self.password)
        self.client.wait_for("standby")

    def see_no_warning(self, manual: str, shown: list[str]) -> None:
        """Check that the client showed no notification."""
        self.see(manual, shown, expected=not shown)

    def conclude(self) -> int:
        """Print the numbers of checks and failures; return the exit code."""
        print(f"\n{self._checks} checks, {len(self._failures)} not as the manual says")
        for failure in self._failures:
            print(f"  ✗ {failure}")
        return 1 if self._failures or not self._checks else 0

    def _fail(self, text: str) -> None:
        self._failures.append(text)
        print(f"    ✗ {text}")

    # --- people

    def person(self) -> Person:
        """Return a person at a browser without cookies."""
        return Person(self._console)

    def user_at(self, *links: str) -> Person:
        """Return the user, logged in to the console, after following these links."""
        return self._logged_in(self.username, self.password, links)

    def administrator_at(self, *links: str) -> Person:
        """Return the administrator, logged in to the console, after following these links."""
        return self._logged_in(self.administrator, self.admin_password, links)

    def _logged_in(self, username: str, password: str, links: Sequence[str]) -> Person:
        person = self.person()
        if not person.log_in("/login/", username, password):
            raise AssertionError(f"cannot log in: {person.text()}")
        person.follow(*links)
        return person

    def new_password(self) -> str:
        """Return a new password, and remember it for the search for leaks."""
        password = sample_password()
        self.passwords.append(password)
        return password

    # --- the PC

    def sign_in(self) -> list[str]:
        """Sign in to Windows again, in a new session; return the client's notifications."""
        self._sessions += 1
        return self.restart()

    def restart(self) -> list[str]:
        """Restart the client in the same session, as an update does; return its notifications."""
        self.client.stop()
        start = len(self.client.output)
        self.client.start(session=f"tour-{self._sessions}")
        self.client.wait_until_calm()
        return self.client.notifications(start)

    # --- time

    def days_left_become(self, days: int) -> None:
        """Move the server's clock so that the client's old password has `days` days left.

        With -1, the clock moves to the day after the password's end.
        """
        from demo.rehearsal import moment  # needs a server that has been set up

        status = self.client.status()
        if status is None or status["valid_until"] is None:
            raise AssertionError("the client is not on an old password")
        when = moment(datetime.fromisoformat(status["valid_until"]), days)
        clock.move(when - clock.now())
        print(f"  ・サーバの時計を {when.astimezone():%Y-%m-%d %H:%M} へ進める")
