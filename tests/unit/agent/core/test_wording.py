"""The texts of states, reasons and days left."""

from __future__ import annotations

from datetime import UTC, date, datetime
from gettext import NullTranslations

import pytest

from agent.core import wording
from agent.core.failure import Failure, Reason
from agent.core.state import State
from agent.core.view import View
from protocol.messages import Release
from tests.support import catalogues

ENGLISH = NullTranslations()
_ = ENGLISH.gettext
OLD = State.STANDBY_OLD_PASSWORD


def test_every_state_and_reason_has_words() -> None:
    """No two states have the same text; a reason's says what is wrong and what to do."""
    states = [wording.status(View(state), _) for state in State]
    assert len(set(states)) == len(State)
    translated = {message.id for message in catalogues.read(catalogues.CLIENT)}
    assert translated.issuperset(states)
    for reason in Reason:
        matter, remedy = wording.trouble(reason, _)
        assert translated.issuperset({matter, remedy})
        title, text = wording.password_needed(reason, _)
        assert (title, text) == ("Password needed", f"{matter}\n{remedy}")


@pytest.mark.parametrize(
    ("days", "line", "toast"),
    [
        (0, "The old password ends today", "ends today."),
        (1, "The old password ends in 1 day", "ends in 1 day, on 4 January."),
        (30, "The old password ends in 30 days", "ends in 30 days, on 4 January."),
    ],
)
def test_days_are_counted(days: int, line: str, toast: str) -> None:
    """The text for days left differs for today, one day, and several."""
    assert wording.days_left(View(OLD, days_left=days), ENGLISH) == [line]
    title, text = wording.warning(days, date(2027, 1, 4), ENGLISH)
    assert title == "Your coconowork password has been changed"
    assert toast in text
    assert text.endswith("Click here to update the stored password.")


STEPS = (
    "Open the management console or the smartphone page and choose “Add a new PC”. Type this "
    "code there, and go on only if it shows the same four words."
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (wording.days_left(View(State.STANDBY), ENGLISH), []),
        (
            wording.days_left(View(OLD, valid_until=datetime(2027, 1, 4, tzinfo=UTC)), ENGLISH),
            ["The old password has ended"],
        ),
        (wording.newer(View(OLD), _), []),
        (
            wording.newer(View(OLD, newer=Release(version="2.0", url="https://a.example/")), _),
            ["A newer version is available: 2.0"],
        ),
        (wording.code_validity(1, ENGLISH), "The code is valid for 1 more minute."),
        (wording.code_validity(9, ENGLISH), "The code is valid for 9 more minutes."),
        (wording.code_steps(None, _), STEPS),
        (wording.code_steps("https://a.example/", _), f"{STEPS}\nhttps://a.example/"),
        (wording.password_problem("Passw0rd!", _), ""),
        (wording.password_problem(" ", _), "Enter the password."),
        (wording.password_problem("x" * 1025, _), "This text is too long."),
        (
            wording.password_problem("ab\u0007", _),
            "Character 3 is one that no password has. Show the password and correct it.",
        ),
        (wording.password_hint("Passw0rd!", _), ""),
        (wording.password_hint(" Passw0rd!", _), "The password begins or ends with a blank."),
    ],
)
def test_single_texts(said: str | list[str], expected: str | list[str]) -> None:
    """A text with an optional fact has the fact, or leaves it out."""
    assert said == expected


@pytest.mark.parametrize(
    ("said", "matter", "remedy"),
    [
        (wording.UNSAVED, "settings", "disk"),
        (wording.password_needed(None, _), "Password needed", "Log in"),
        (wording.RECEIVED, "new password was received", "stored"),
        (wording.NO_ANSWER, "does not answer", "task manager"),
        (wording.other_user("suzuki", "tanaka", _), "suzuki", "tanaka"),
        (wording.other_user("suzuki", "tanaka", _), "tanaka", "tanaka"),
        *(
            (wording.code_trouble(failure, ENGLISH), matter, remedy)
            for failure, matter, remedy in (
                (Failure(Reason.EXPIRED), "The code has expired.", "Get a new code."),
                (Failure(Reason.THROTTLED), "codes", "Try again in 1 minute."),
                (Failure(Reason.THROTTLED, 61.0), "codes", "Try again in 2 minutes."),
                (Failure(Reason.CONNECTION_LOST), "lost", "Wait a moment and try again."),
                (Failure(Reason.NO_CODES), "does not offer codes", "user name and password"),
            )
        ),
    ],
)
def test_what_is_wrong_and_what_to_do(said: tuple[str, str], matter: str, remedy: str) -> None:
    """The first text says what is wrong, the second what the user can do."""
    assert (matter in said[0], remedy in said[1]) == (True, True)
