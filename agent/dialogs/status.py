"""The small status window, which follows the client's state while it is open."""

from __future__ import annotations

from tkinter import ttk

from agent.core.view import Command
from agent.dialogs.messages import FromClient, Open, Picked, Snapshot, Update
from agent.dialogs.window import Window


class View:
    """Show the client's snapshot, and draw it again when it changes."""

    def __init__(self, window: Window, opening: Open) -> None:
        self._window = window
        self._shown: Snapshot | None = None
        window.root.title("coconowork client")
        window.on_message = self._take
        if opening.snapshot is not None:
            self._draw(opening.snapshot)

    def _take(self, message: FromClient) -> None:
        if isinstance(message, Update) and message.snapshot != self._shown:
            self._draw(message.snapshot)

    def _draw(self, snapshot: Snapshot) -> None:
        self._shown = snapshot
        self._window.redraw(lambda: self._build(snapshot))

    def _build(self, snapshot: Snapshot) -> ttk.Button:
        window, _ = self._window, self._window.translate
        window.heading(snapshot.picture, snapshot.headline)
        for line in snapshot.lines:
            window.paragraph(line)
        for label, value in snapshot.rows:
            window.row(label, value)
        update = _("Log in…") if snapshot.logged_out else _("Update the stored password…")
        _update, reconnect, close = window.buttons(
            (update, lambda: self._pick(Command.UPDATE_PASSWORD)),
            (_("Reconnect"), lambda: self._pick(Command.RECONNECT)),
            (_("Close"), window.close),
            default=2,
        )
        if not snapshot.can_reconnect:
            reconnect.state(["disabled"])
        return close

    def _pick(self, command: Command) -> None:
        self._window.send(Picked(command.value))
