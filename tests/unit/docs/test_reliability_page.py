"""The page on reliability says what the program says, and names tests that exist."""

from __future__ import annotations

import re

from agent.core.failure import Failure, Patience, Reason
from agent.core.wording import trouble
from agent.i18n import translation
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
NOT_TRIED_AGAIN = {Reason.CREDENTIALS, Reason.EXPIRED, Reason.OLD_PASSWORD, Reason.BUSY}
"""Answers to a password, for which the program waits for its user, or the user for it."""


def row(reason: Reason) -> str:
    """What the table has to say of a reason."""
    english, japanese = (
        " ".join(trouble(reason, translation(language).gettext)) for language in ("en", "ja")
    )
    failure = Failure(reason)
    when = "soon" if failure.patience is Patience.SOON else "later"
    if reason in NOT_TRIED_AGAIN:
        when = "never by itself"
    elif failure.may_end_with_network:
        when += " ↺"
    if reason is Reason.SUPERSEDED:
        when = "after 5 minutes, " + when
    return f"| `{reason.value}` | {english} | {japanese} | {when} |"


def test_every_reason_is_on_the_page() -> None:
    """Word, both texts and the next try, as the program has them."""
    for reason in Reason:
        assert row(reason) in PAGE, row(reason)


def test_the_tests_on_the_page_exist() -> None:
    """A case whose test has gone is a case no longer."""
    named = set(re.findall(r"`(tests/\S+?\.py)`", PAGE))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
