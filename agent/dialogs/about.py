"""The window with the program's name and version."""

from __future__ import annotations

from agent.dialogs.messages import Open
from agent.dialogs.window import Window


class View:
    """Show the program's name and the rows that the client has sent."""

    def __init__(self, window: Window, opening: Open) -> None:
        _ = window.translate
        window.root.title(_("About coconowork client"))
        window.heading("app", "coconowork client")
        window.paragraph(_("Keeps this PC reachable through coconowork."))
        for label, value in opening.rows:
            window.row(label, value)
        (button,) = window.buttons((_("Close"), window.close))
        window.first = button
