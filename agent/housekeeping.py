"""The tray's commands that are about this PC rather than the client's state.

Start at sign-in, language, log, diagnostics, about. They may take a moment, so each runs on a
thread of its own and tells the user when it could not be done.
"""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from gettext import NullTranslations
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from agent import __version__
from agent.autostart import Autostart
from agent.core.view import Command, View
from agent.errors import UserError
from agent.i18n import translation
from agent.paths import Paths
from agent.report import describe
from agent.settings import Settings, save

log = logging.getLogger(__name__)

_LANGUAGES = {
    Command.LANGUAGE_AUTO: "auto",
    Command.LANGUAGE_JA: "ja",
    Command.LANGUAGE_EN: "en",
}


class Housekeeping:
    """`on_change` is called when a view would be dressed differently from now on."""

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        autostart: Autostart,
        *,
        view: Callable[[], View],
        about: Callable[[], None],
        tell: Callable[[str, str], None],
        translate: Callable[[NullTranslations], None],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._autostart = autostart
        self._view = view
        self._about = about
        self._tell = tell
        self._translate = translate
        self._on_change = on_change
        self._translations = translation(settings.language)
        self._starts = autostart.enabled() if "autostart" not in settings.enforced else None

    def dress(self, view: View) -> View:
        """Add what the settings say."""
        return replace(
            view,
            autostart=self._starts,
            language=self._settings.language,
            allow_quit=self._settings.allow_quit,
            console_url=self._settings.console_url or view.console_url,
        )

    def apply_autostart(self) -> None:
        """Make 'start at sign-in' what the settings ask for, where they do. Never raises."""
        wanted = self._settings.autostart
        try:
            if wanted is not None and self._autostart.enabled() not in {None, wanted}:
                (self._autostart.enable if wanted else self._autostart.disable)()
        except OSError as exc:
            log.warning("start at sign-in could not be set: %s", exc)

    def command(self, command: Command) -> None:
        """Do it, on a thread of its own."""
        deeds: dict[Command, Callable[[], None]] = {
            Command.AUTOSTART: self._switch_autostart,
            Command.SHOW_LOG: lambda: _open(self._paths.log_file),
            Command.SAVE_DIAGNOSTICS: self._save_diagnostics,
            Command.ABOUT: self._about,
        }
        if command in _LANGUAGES:
            deeds[command] = lambda: self._choose_language(_LANGUAGES[command])
        if command in deeds:
            threading.Thread(
                target=self._attempt, args=(deeds[command],), name=command.value, daemon=True
            ).start()

    def _attempt(self, deed: Callable[[], None]) -> None:
        try:
            deed()
        except UserError as exc:
            self._tell(exc.title, exc.message)
        except OSError as exc:
            log.warning("not done: %s", exc)
            self._tell(self._translations.gettext("That did not work"), exc.strerror or str(exc))

    def _switch_autostart(self) -> None:
        (self._autostart.disable if self._autostart.enabled() else self._autostart.enable)()
        self._starts = self._autostart.enabled()
        self._on_change()

    def _choose_language(self, language: str) -> None:
        save(self._paths, {"language": language}, self._translations.gettext)
        chosen = cast("Literal['auto', 'ja', 'en']", language)
        self._settings = replace(self._settings, language=chosen)
        self._translations = translation(language)
        self._translate(self._translations)
        self._on_change()

    def _save_diagnostics(self) -> None:
        """Logs, settings and state, in a file on the desktop. The logs hold no secret as it is."""
        import json
        import zipfile

        import platformdirs

        folder = Path(platformdirs.user_desktop_path())
        if not folder.is_dir():
            folder = Path.home()
        now = datetime.now().astimezone()
        target = folder / f"coconowork-diagnostics-{now:%Y%m%d-%H%M%S}.zip"
        # For this user only, like the log itself.
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(handle, "wb") as raw,
            zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as file,
        ):
            file.writestr("state.json", json.dumps(describe(self._view()), indent=2))
            file.writestr("settings.json", json.dumps(self._described_settings(), indent=2))
            for path in sorted(self._paths.log_dir.glob("client.log*")):
                file.write(path, path.name)
        _ = self._translations.gettext
        self._tell(_("Diagnostics were saved"), str(target))

    def _described_settings(self) -> dict[str, object]:
        settings = self._settings
        proxy = settings.proxy
        if proxy not in {"system", "none"}:
            parts = urlsplit(proxy)
            proxy = f"{parts.scheme}://{parts.hostname}:{parts.port}"  # without its login
        return {
            "version": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "server": settings.server,
            "user": settings.user,
            "language": settings.language,
            "proxy": proxy,
            "console_url": settings.console_url,
            "log_level": settings.log_level,
            "autostart": settings.autostart,
            "origins": dict(settings.origins),
        }


def _open(path: Path) -> None:
    """Show a file in the program that the desktop has for it. Raise OSError."""
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606 - our own log file
    else:
        subprocess.Popen(  # noqa: S603 - our own log file
            ["xdg-open", str(path)],  # noqa: S607 - wherever the desktop has it
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
