"""Every state and reason has its words, and days are counted in them."""

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


def test_every_state_and_reason_has_words() -> None:
    """No two states say the same, and a reason says what is wrong and what to do."""
    states = [wording.status(View(state), ENGLISH.gettext) for state in State]
    assert len(set(states)) == len(State)
    translated = {message.id for message in catalogues.read()}
    assert translated.issuperset(states)
    for reason in Reason:
        matter, remedy = wording.trouble(reason, ENGLISH.gettext)
        assert translated.issuperset({matter, remedy})
        title, text = wording.password_needed(reason, ENGLISH.gettext)
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
    """Today, one day, several; nothing where the password is current."""
    view = View(State.STANDBY_OLD_PASSWORD, days_left=days)
    assert wording.days_left(view, ENGLISH) == line
    title, text = wording.warning(days, date(2027, 1, 4), ENGLISH)
    assert title == "Your coconowork password has been changed"
    assert toast in text
    assert text.endswith("Click here to update the stored password.")
    assert wording.days_left(View(State.STANDBY), ENGLISH) is None


def test_an_old_password_that_has_ended() -> None:
    """It says so without a number of days."""
    view = View(State.STANDBY_OLD_PASSWORD, valid_until=datetime(2027, 1, 4, tzinfo=UTC))
    assert wording.days_left(view, ENGLISH) == "The old password has ended"


def test_a_newer_version() -> None:
    """It is named when one is known."""
    newer = Release(version="2.0", url="https://example.com/")
    views = [View(State.STANDBY), View(State.STANDBY, newer=newer)]
    said = [wording.newer(each, ENGLISH.gettext) for each in views]
    assert said == [None, "A newer version is available: 2.0"]


def test_how_long_a_code_is_valid() -> None:
    """One minute, several."""
    said = [wording.code_validity(minutes, ENGLISH) for minutes in (1, 9)]
    assert said == [
        "The code is valid for 1 more minute.",
        "The code is valid for 9 more minutes.",
    ]


def test_settings_that_cannot_be_saved() -> None:
    """The title names the matter, the text the remedy."""
    title, text = wording.unsaved(ENGLISH.gettext)
    assert ("settings" in title, "disk" in text) == (True, True)


def test_notices_of_passwords() -> None:
    """One notice asks to log in where nothing is stored; another says that a push was stored."""
    title, text = wording.password_needed(None, ENGLISH.gettext)
    assert (title, "Log in" in text) == ("Password needed", True)
    title, text = wording.received(ENGLISH.gettext)
    assert (title, "stored" in text) == ("The new password was received", True)


@pytest.mark.parametrize(
    ("failure", "matter", "remedy"),
    [
        (Failure(Reason.EXPIRED), "The code has expired.", "Get a new code."),
        (Failure(Reason.THROTTLED), "codes", "Try again in 1 minute."),
        (Failure(Reason.THROTTLED, 61.0), "codes", "Try again in 2 minutes."),
        (Failure(Reason.CONNECTION_LOST), "lost", "Wait a moment and try again."),
        (Failure(Reason.NO_CODES), "does not offer codes", "user name and password"),
    ],
)
def test_why_there_is_no_password_by_a_code(failure: Failure, matter: str, remedy: str) -> None:
    """What a pairing can fail by has sentences of its own, and a wait has its minutes."""
    said = wording.code_trouble(failure, ENGLISH)
    assert (matter in said[0], remedy in said[1]) == (True, True)


def test_another_user_than_the_one_of_the_policy() -> None:
    """Both users are named."""
    matter, remedy = wording.other_user("suzuki", "tanaka", ENGLISH.gettext)
    assert (matter.count("suzuki"), matter.count("tanaka"), remedy.count("tanaka")) == (1, 1, 1)


@pytest.mark.parametrize("console_url", [None, "https://console.example.com/"])
def test_how_a_code_is_used(console_url: str | None) -> None:
    """The steps name the console's address when it is known."""
    said = wording.code_steps(console_url, ENGLISH.gettext)
    assert "Add a new PC" in said
    assert said.endswith(console_url or "words.")


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("Passw0rd!", ""),
        (" ", "Enter the password."),
        ("x" * 1025, "This text is too long."),
        ("ab\u0007", "Character 3 is one that no password has. Show the password and correct it."),
    ],
)
def test_text_that_can_be_no_password(typed: str, problem: str) -> None:
    """The first character that no password has is named by its place, and not quoted."""
    assert wording.password_problem(typed, ENGLISH.gettext) == problem


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("Passw0rd!", ""), (" Passw0rd!", "The password begins or ends with a blank.")],
)
def test_text_that_may_be_no_password(typed: str, hint: str) -> None:
    """A blank at an end is allowed, and is seldom meant."""
    assert wording.password_hint(typed, ENGLISH.gettext) == hint


def test_a_client_that_does_not_answer() -> None:
    """The user learns how to end it."""
    matter, remedy = wording.no_answer(ENGLISH.gettext)
    assert ("does not answer" in matter, "task manager" in remedy) == (True, True)
