"""Shows the toast of the manual: `toast.py ASSETS LANGUAGE DAYS SECONDS`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from agent.adapters.toast_windows import WindowsToaster
from agent.core import wording
from agent.i18n import translation


def main() -> None:
    """Ends after SECONDS."""
    assets, language, days, seconds = sys.argv[1:]
    toaster = WindowsToaster(Path(assets) / "app.ico")
    title, text = wording.warning(int(days), translation(language))
    toaster.show(title, text, on_done=lambda _: None, on_click=lambda: None)
    time.sleep(float(seconds))
    toaster.close()


if __name__ == "__main__":
    main()
