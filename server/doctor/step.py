"""One step of `doctor`: what it found, what is wrong, and what to do about it."""

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
"""Longer than each wait of a step; only a name server or a disk that hangs takes so long."""
MAX_CHARS = 2_000


class Ended(Exception):
    """Raised by a step that cannot go on; it has said why."""


class Step:
    """What one step found."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcome: Literal["ok", "skipped", "WARNING", "FAULT"] = "ok"
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Add what was seen."""
        self.lines.append(f"    {clean(text, MAX_CHARS)}")

    def skip(self, why: str) -> NoReturn:
        """End the step without a result."""
        self.outcome = "skipped"
        self.note(why)
        raise Ended

    def warn(self, text: str, remedy: str) -> None:
        """Add what may be wrong, and what to do then."""
        if self.outcome != "FAULT":
            self.outcome = "WARNING"
        self._add(text, remedy)

    def fault(self, text: str, remedy: str) -> None:
        """Add what is wrong, and what to do."""
        self.outcome = "FAULT"
        self._add(text, remedy)

    def fail(self, text: str, remedy: str) -> NoReturn:
        """Add a fault that ends the step."""
        self.fault(text, remedy)
        raise Ended

    def _add(self, text: str, remedy: str) -> None:
        self.lines += [f"  ! {clean(text, MAX_CHARS)}", f"    -> {clean(remedy, MAX_CHARS)}"]


@dataclass
class Facts:
    """What the steps share."""

    settings: Config
    clocks: dict[str, float] = field(default_factory=dict)
    """How many seconds other clocks are ahead of this machine's, by whose they are."""
    trusts_certificate: bool = True
    reaches_public_url: bool = True


def run_step(name: str, work: Callable[[Step, Facts], None], facts: Facts) -> Step:
    """Run a step on a thread of its own, and give it up at its deadline."""
    step = Step(name)

    def guarded() -> None:
        try:
            with suppress(Ended):
                work(step, facts)
        except Exception as exc:  # noqa: BLE001 - the steps after it are of use all the more
            # No text of the exception, which may hold anything.
            at = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{type(exc).__name__} in {Path(at.filename).name}, line {at.lineno}"
            step.fault(f"this step failed unexpectedly: {where}", "report this defect")

    thread = Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(STEP_SECONDS)
    if not thread.is_alive():
        return step
    late = Step(name)  # the thread may go on, and add to the other one
    late.lines = list(step.lines)
    late.fault(f"no result within {STEP_SECONDS:.0f} s", "does the last thing named above hang?")
    return late
