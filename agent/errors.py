"""The client's exceptions. A UserError has its texts in the user's language."""

from __future__ import annotations


class AgentError(Exception):
    """Base of the client's exceptions; the text holds no secret."""


class Defect(AgentError):
    """The machine has raised an exception, which has ended the client."""


class UserError(AgentError):
    """An error that the user can act on: `title` says what happened, `message` what to do."""

    def __init__(self, title: str, message: str) -> None:
        super().__init__(f"{title}: {message}")
        self.title = title
        self.message = message
