"""What the client remembers between runs besides the vault: nothing secret."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.messages import UtcTime


class SavedState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one identity.

    `old_valid_until` is the last known end of an old password in use, None when it is current.
    `clock_offset_s` is the server's clock minus the PC's, at the last login.
    """

    old_valid_until: UtcTime | None = None
    clock_offset_s: Annotated[float, Meta(ge=-1e11, le=1e11)] = 0.0
    console_url: Annotated[str, Meta(max_length=512)] | None = None
    warned_session: Annotated[str, Meta(max_length=256)] = ""
    """The sign-in that was warned about an old password."""
    warned_on: date | None = None
    """The local day of the last warning."""
    asked_session: Annotated[str, Meta(max_length=256)] | None = None
    """The sign-in that was told that a password is needed."""
