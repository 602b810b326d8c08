"""Transition tables: the states of a machine, and the ways between them.

States are the members of an enumeration, triggers are words. A machine of the core keeps its state
in one attribute and changes it through `Table.next` only.
A pair that the table does not have is a defect of the program: `next` raises, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

S = TypeVar("S", bound=Enum)


class IllegalTransition(Exception):
    """The table has no way out of this state by this trigger."""


class Table(Generic[S]):
    """All transitions of one machine. `rows` maps state and trigger to the next state."""

    def __init__(
        self,
        first: S,
        rows: Mapping[tuple[S | tuple[S, ...], str], S],
        *,
        anywhere: Mapping[str, S],
        last: S | None = None,
    ) -> None:
        """Spell out the rows: a tuple of states in a row means each of these states.

        `anywhere` has the triggers that lead to one state from every state but `last`.
        """
        self.first = first
        self.rows: dict[tuple[S, str], S] = {}
        self.anywhere = anywhere
        everywhere = tuple(state for state in type(first) if state is not last)
        rows = {**rows, **{(everywhere, trigger): target for trigger, target in anywhere.items()}}
        for (states, trigger), target in rows.items():
            for state in states if isinstance(states, tuple) else (states,):
                self.rows[state, trigger] = target

    def next(self, state: S, trigger: str) -> S:
        """Return the state after `trigger`. Raise IllegalTransition when there is no such row."""
        try:
            return self.rows[state, trigger]
        except KeyError:
            raise IllegalTransition(f"{state.value}: {trigger}") from None
