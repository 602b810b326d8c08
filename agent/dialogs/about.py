"""Which program this is."""

from __future__ import annotations

from agent.dialogs.messages import Open
from agent.dialogs.window import Window


class View:
    """The program's name and what the client says about it."""

    def __init__(self, window: Window, opening: Open) -> None:
        _ = window.translate
        window.root.title(_("About coconowork client"))
        window.heading("app", "coconowork client")
        window.paragraph(_("Keeps this PC reachable through coconowork."))
        for label, value in opening.rows:
            window.row(label, value)
        (button,) = window.buttons((_("Close"), window.close))
        window.first = button
