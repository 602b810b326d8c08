"""The tray's commands that are about this PC rather than the client's state.

They are start at sign-in, language, log and diagnostics. An action may take a moment, so each runs
on a thread of its own. When an action fails, the user gets a notification.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from gettext import NullTranslations
from pathlib import Path

from agent import __version__
from agent.address import without_login
from agent.app import Adapters, App
from agent.core.view import Command, View
from agent.errors import UserError
from agent.i18n import translation
from agent.paths import Paths
from agent.ports import Autostart, Topic
from agent.program import os_name
from agent.report import describe
from agent.settings import Language, Settings, save
from agent.tray_menu import LANGUAGES

log = logging.getLogger(__name__)


def apply_autostart(autostart: Autostart | None, settings: Settings) -> None:
    """Set 'start at sign-in' as the settings say, if they have a value. Never raise."""
    wanted = settings.autostart
    try:
        if autostart and wanted is not None and autostart.enabled() not in {None, wanted}:
            (autostart.enable if wanted else autostart.disable)()
    except OSError as exc:
        log.warning("start at sign-in could not be set: %s", exc)


@dataclass
class MenuActions:
    """Run the actions, and tell `app` their outcome."""

    app: App
    settings: Settings
    paths: Paths
    autostart: Autostart | None
    adapters: Adapters

    @property
    def translations(self) -> NullTranslations:
        return translation(self.settings.language)

    def with_settings(self, view: View) -> View:
        """Return `view` with the settings added; the registry is read at each call."""
        settings, fixed = self.settings, self.settings.enforced
        starts = self.autostart.enabled() if self.autostart else False
        if "autostart" in fixed:
            starts = bool(settings.autostart)
        elif self.autostart is None or starts is None:  # None: switched on for all users
            fixed |= {"autostart"}
        return replace(
            view,
            autostart=starts is not False,
            fixed=fixed,
            language=settings.language,
            allow_quit=self.settings.allow_quit,
            console_url=self.settings.console_url or view.console_url,
        )

    def command(self, command: Command) -> None:
        actions: dict[Command, Callable[[], None]] = {
            Command.AUTOSTART: self._switch_autostart,
            Command.SHOW_LOG: lambda: _open(self.paths.log_file),
            Command.SAVE_DIAGNOSTICS: self._save_diagnostics,
        }
        if command in LANGUAGES:
            actions[command] = lambda: self._choose_language(LANGUAGES[command][0])
        if action := actions.get(command):
            work = partial(self._run, command, action)
            threading.Thread(target=work, name=command.value, daemon=True).start()

    def _run(self, command: Command, action: Callable[[], None]) -> None:
        try:
            action()
        except UserError as exc:
            self.app.toasts.show(Topic.ACTION, (exc.title, exc.message), Command.SHOW_LOG)
        except Exception as exc:
            log.exception("%s has failed", command.value)
            reason = (isinstance(exc, OSError) and exc.strerror) or str(exc)
            title = self.translations.gettext("That did not work")
            self.app.toasts.show(Topic.ACTION, (title, reason), Command.SHOW_LOG)

    def _switch_autostart(self) -> None:
        if (autostart := self.autostart) is None:
            return
        (autostart.disable if autostart.enabled() else autostart.enable)()
        self.app.refresh()

    def _choose_language(self, language: Language) -> None:
        save(self.paths, {"language": language}, self.translations.gettext)
        self.settings = replace(self.settings, language=language)
        self.app.translate(self.translations)
        self.app.refresh()

    def _save_diagnostics(self) -> None:
        """Save logs, settings, state and `doctor`'s report on the desktop, without a secret."""
        import asyncio
        import json
        import zipfile

        import platformdirs

        from agent import doctor

        settings = {
            "version": __version__,
            "python": platform.python_version(),
            "platform": os_name(),
            **{each.name: getattr(self.settings, each.name) for each in fields(self.settings)},
            "proxy": without_login(self.settings.proxy),
        }
        said = list[str]()
        channel, vault = self.adapters.channel, self.adapters.vault
        asyncio.run(doctor.run(self.settings, channel, vault, self.translations, said.append))
        texts = {
            "state.json": json.dumps(describe(self.app.view), indent=2),
            "settings.json": json.dumps(settings, indent=2, default=str),
            "doctor.txt": "\n".join(said),
        }
        folder = Path(platformdirs.user_desktop_path())
        if not folder.is_dir():
            folder = Path.home()
        now = datetime.now().astimezone()
        target = folder / f"coconowork-diagnostics-{now:%Y%m%d-%H%M%S}.zip"
        # For this user only, like the log itself.
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(handle, "wb") as raw,
            # The ZIP format knows no time before 1980, and a PC's clock may be wrong.
            zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file,
        ):
            when = max(time.localtime()[:6], (1980, 1, 1, 0, 0, 0))
            for name, text in texts.items():
                file.writestr(zipfile.ZipInfo(name, when), text, zipfile.ZIP_DEFLATED)
            for path in sorted(self.paths.log_dir.glob("client.log*")):
                file.write(path, path.name)
        title = self.translations.gettext("Diagnostics were saved")
        self.app.toasts.show(Topic.ACTION, (title, str(target)), lambda: _open(folder))


def _open(path: Path) -> None:
    """Open a file in the program that Windows uses for its type. Raise OSError."""
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606 - our own log file
