"""The client's exceptions. Those that are shown to a user carry text in the user's language."""

from __future__ import annotations


class AgentError(Exception):
    """The base class; the text is for the log and holds no secret."""


class Defect(AgentError):
    """The machine has raised: the client has ended at a defect of its own."""


class UserError(AgentError):
    """An error that the user can act on: `title` says what happened, `message` what to do."""

    def __init__(self, title: str, message: str) -> None:
        super().__init__(f"{title}: {message}")
        self.title = title
        self.message = message
