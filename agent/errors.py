"""The client's exceptions. Those that reach a user carry text in the user's language."""

from __future__ import annotations


class AgentError(Exception):
    """Base of all; the text is for the log and holds no secret."""


class UserError(AgentError):
    """Something the user can act on: `title` says what happened, `message` what to do."""

    def __init__(self, title: str, message: str) -> None:
        super().__init__(f"{title}: {message}")
        self.title = title
        self.message = message
