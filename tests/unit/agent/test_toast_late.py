"""The toaster that is not there until it is needed."""

from __future__ import annotations

from agent.toast_late import LateToaster
from tests.support.fakes import FakeToaster


def test_is_made_when_there_is_something_to_say() -> None:
    """Once; what comes before, every login's withdrawal and the end, makes nothing."""
    made: list[FakeToaster] = []

    def make() -> FakeToaster:
        made.append(FakeToaster())
        return made[-1]

    toaster = LateToaster(make)
    toaster.withdraw()
    toaster.close()
    assert made == []
    for title in ("one", "two"):
        toaster.show(title, "text", on_done=lambda _: None, on_click=lambda: None)
    (only,) = made
    assert only.shown == [("one", "text"), ("two", "text")]
    toaster.withdraw()
    assert only.withdrawn == 1
