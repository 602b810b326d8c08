"""docs/reliability.md has the client's texts."""

from __future__ import annotations

from agent.core.failure import Failure, Reason
from agent.core.wording import trouble
from agent.i18n import translation
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
_R = Reason
NOT_TRIED_AGAIN = {_R.CREDENTIALS, _R.EXPIRED, _R.OLD_PASSWORD, _R.BUSY, _R.NO_CODES}
"""Reasons after which the client does not retry without its user."""


def row(reason: Reason) -> str:
    """Return the row of a reason in the table."""
    english, japanese = (
        " ".join(trouble(reason, translation(language).gettext)) for language in ("en", "ja")
    )
    failure = Failure(reason)
    when = "soon" if failure.may_end_soon else "later"
    if reason in NOT_TRIED_AGAIN:
        when = "never automatically"
    elif failure.may_end_with_network:
        when += " ↺"
    if reason in {Reason.SUPERSEDED, Reason.PROXY_LOGIN}:
        when = "after 5 minutes, " + when
    return f"| `{reason.value}` | {english} | {japanese} | {when} |"


def test_every_reason_is_on_the_page() -> None:
    """docs/reliability.md has each reason: its word, both texts and the next attempt."""
    for reason in Reason:
        assert row(reason) in PAGE, row(reason)
