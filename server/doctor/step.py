"""Run a step of `doctor`, and collect what it found, what is wrong and how to fix that."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Literal, NoReturn

from protocol.text import clean
from server.config import Config

STEP_SECONDS = 40.0
"""Deadline of a step, longer than its own waits: only a hanging name server or disk misses it."""
MAX_CHARS = 2_000


class Ended(Exception):
    """Raised by a step that cannot go on, after it has noted why."""


class Step:
    """The result of one step."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcome: Literal["ok", "skipped", "WARNING", "FAULT"] = "ok"
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Add a line about what the step has seen."""
        self.lines.append(f"    {clean(text, MAX_CHARS)}")

    def skip(self, why: str) -> NoReturn:
        """End the step without a result, and note why. Raise Ended."""
        self.outcome = "skipped"
        self.note(why)
        raise Ended

    def warn(self, text: str, remedy: str) -> None:
        """Add a warning: what may be wrong, and how to fix it."""
        if self.outcome != "FAULT":
            self.outcome = "WARNING"
        self._add(text, remedy)

    def fault(self, text: str, remedy: str) -> None:
        """Add a fault: what is wrong, and how to fix it."""
        self.outcome = "FAULT"
        self._add(text, remedy)

    def fail(self, text: str, remedy: str) -> NoReturn:
        """Add a fault, and end the step. Raise Ended."""
        self.fault(text, remedy)
        raise Ended

    def _add(self, text: str, remedy: str) -> None:
        self.lines += [f"  ! {clean(text, MAX_CHARS)}", f"    -> {clean(remedy, MAX_CHARS)}"]


@dataclass
class Facts:
    """Settings for all steps, and results of earlier steps."""

    settings: Config
    clocks: dict[str, float] = field(default_factory=dict)
    """Seconds by which other clocks are ahead of this machine's, by the clock's owner."""
    trusts_certificate: bool = True
    reaches_public_url: bool = True


def run_step(name: str, work: Callable[[Step, Facts], None], facts: Facts) -> Step:
    """Run a step on its own thread, and return the result; after `STEP_SECONDS`, a fault."""
    step = Step(name)

    def guarded() -> None:
        try:
            with suppress(Ended):
                work(step, facts)
        except Exception as exc:  # noqa: BLE001 - later steps must still run
            # Leave out the exception's text, which may hold a secret.
            at = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{type(exc).__name__} in {Path(at.filename).name}, line {at.lineno}"
            step.fault(f"this step failed unexpectedly: {where}", "report this defect")

    thread = Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(STEP_SECONDS)
    if not thread.is_alive():
        return step
    late = Step(name)  # the thread may go on, and add to `step`
    late.lines = list(step.lines)
    late.fault(f"no result within {STEP_SECONDS:.0f} s", "does the last thing named above hang?")
    return late
