"""Show the manual's toast, and note what becomes of it: `toast.py ASSETS LANGUAGE DAYS NOTES`."""

from __future__ import annotations

import sys
import threading
from datetime import date, timedelta
from pathlib import Path

from agent.core import wording
from agent.i18n import translation
from agent.ports import Notification, Topic
from agent.windows.toast import WindowsToaster
from protocol.messages import WarningOutcome
from tests.support.inside.look import notes


def main() -> None:
    """Show it until it is clicked on, for at most a minute."""
    assets, language, days, file = sys.argv[1:]
    write = notes(file)
    clicked = threading.Event()
    toaster = WindowsToaster(Path(assets) / "app.ico")
    last_day = date(2026, 12, 5) + timedelta(days=int(days))
    title, text = wording.warning(int(days), last_day, translation(language))

    def on_outcome(outcome: WarningOutcome) -> None:
        write(outcome.value)
        if outcome is WarningOutcome.CLICKED:
            clicked.set()

    toaster.show(Notification(Topic.WARNING, title, text), on_outcome=on_outcome)
    clicked.wait(60)
    toaster.close()


if __name__ == "__main__":
    main()
