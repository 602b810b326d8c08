"""The user's language: gettext catalogues in `locale/`, chosen by the setting or by the system.

Texts are marked `_()` or `translate()`, and `N_()` where they are translated later. A msgid is the
English text, so English needs no catalogue and is the fallback.
"""

from __future__ import annotations

import gettext
import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

DOMAIN = "agent"
LOCALE_DIR = Path(__file__).with_name("locale")

_JAPANESE_PRIMARY_ID = 0x11  # the low ten bits of Windows' language ids


def translation(language: str = "auto") -> gettext.NullTranslations:
    """Return the catalogue for `auto`, `ja` or `en`; English when it is missing or broken."""
    if language == "auto":
        language = system_language()
    try:
        return gettext.translation(DOMAIN, LOCALE_DIR, languages=[language], fallback=True)
    except Exception:  # noqa: BLE001 - gettext raises whatever its parser does
        log.warning("the catalogue for %s is broken", language)
        return gettext.NullTranslations()


def system_language(environ: Mapping[str, str] = os.environ) -> str:
    """Return `ja` or `en`, by Windows' display language, or by the locale variables on Linux."""
    if sys.platform == "win32":
        import ctypes

        ui_language: int = ctypes.windll.kernel32.GetUserDefaultUILanguage()
        return "ja" if ui_language & 0x3FF == _JAPANESE_PRIMARY_ID else "en"
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environ[name] for name in names if environ.get(name)), "C")
    return "ja" if re.match(r"ja\b|ja_", locale) else "en"
