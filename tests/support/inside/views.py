"""Read the view that a program of `inside/` shows from its command line."""

from __future__ import annotations

import json
from datetime import datetime

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import View


def view_of(text: str) -> View:
    """Return the view that `text` describes in JSON."""
    fields = json.loads(text)
    readers = {"state": State, "reason": Reason, "valid_until": datetime.fromisoformat}
    for name in readers.keys() & fields.keys():
        fields[name] = readers[name](fields[name])
    return View(**fields)
