"""The windows that tell something: the client's state as it changes, and about the program."""

from __future__ import annotations

from functools import partial
from tkinter import ttk

from agent.dialogs.messages import FromClient, Open, Picked, Snapshot, Update
from agent.dialogs.window import Window


class View:
    """Show a snapshot, and draw it again when it changes."""

    def __init__(self, window: Window, opening: Open) -> None:
        self._window = window
        self._shown: Snapshot | None = None
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
        window = self._window
        window.root.title(snapshot.title)
        window.heading(snapshot.picture, snapshot.headline)
        for note in snapshot.notes:
            window.paragraph(note, style="Warning.TLabel")
        for line in snapshot.lines:
            window.paragraph(line)
        for label, value in snapshot.rows:
            window.row(label, value)
        *others, close = window.buttons(
            *((each.text, partial(self._pick, each.command)) for each in snapshot.buttons),
            (window.translate("Close"), window.close),
            default=len(snapshot.buttons),
        )
        for button, each in zip(others, snapshot.buttons, strict=True):
            button.state(["!disabled" if each.enabled else "disabled"])
        return close

    def _pick(self, command: str) -> None:
        self._window.send(Picked(command))
