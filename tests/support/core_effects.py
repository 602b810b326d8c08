"""Name effects in a word or two, so that tests can show their order."""

from __future__ import annotations

from collections.abc import Iterable

from agent.core import effects as do
from agent.core.effects import Effect


def kinds(effects: Iterable[Effect], *, only: str = "") -> list[str]:
    """Return the effects' names without StopTimer. `only` keeps those that begin with it."""
    words = [_word(each) for each in effects if not isinstance(each, do.StopTimer)]
    return [word for word in words if word.startswith(only)]


def _word(effect: Effect) -> str:
    name = type(effect).__name__
    match effect:
        case do.Send(_, message):
            return f"{name} {type(message).__name__}"
        case do.WriteVault(reason=reason):
            return f"{name} {reason.name}"
        case do.StartTimer(timer, _):
            return f"{name} {timer.name}"
        case _:
            return name
