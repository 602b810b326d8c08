"""What the client saves between runs beside the vault. Nothing in it is secret."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.messages import UtcTime


class SavedState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The saved state of one identity."""

    old_valid_until: UtcTime | None = None
    """The last known end of the old password in use; None when the password is current."""
    days_said: Annotated[int, Meta(ge=0)] | None = None
    """The days left when the server last sent the end of the old password, by its clock."""
    clock_offset_s: Annotated[float, Meta(ge=-1e11, le=1e11)] = 0.0
    """The server's clock minus the PC's in seconds, at the last login."""
    console_url: Annotated[str, Meta(max_length=512)] | None = None
    warned_session: Annotated[str, Meta(max_length=256)] = ""
    """The sign-in at which a warning about an old password was seen."""
    warned_on: date | None = None
    """The local day of the last warning that was seen."""
    escalated_session: Annotated[str, Meta(max_length=256)] = ""
    """The sign-in at which the status window was opened in place of a warning."""
    asked_session: Annotated[str, Meta(max_length=256)] | None = None
    """The sign-in at which the user was asked for a password."""
    logged_out: bool = False
    """Whether the user has logged out, and so is not asked for a password."""
