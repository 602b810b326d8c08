"""Install the Debian packages that building and testing for Windows needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

MINGW = ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64")
TCL = ("/usr/share/tcltk/tcl8.6/init.tcl", "libtcl8.6")
TK = ("/usr/share/tcltk/tk8.6/tk.tcl", "libtk8.6")
TKINTER = (str(Path(sysconfig.get_path("stdlib"), "tkinter", "__init__.py")), "python3-tk")
WINE = ("wine", "wine")
WINE64 = ("/usr/lib/wine/wine64", "wine64")
XVFB = ("Xvfb", "xvfb")

NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "winpy": (MINGW, TCL, TK, TKINTER),
    "build": (
        MINGW,
        TCL,
        TK,
        TKINTER,
        WINE,
        WINE64,
        XVFB,
        ("makensis", "nsis"),
        ("wixl", "wixl"),
        ("msiinfo", "msitools"),
        ("osslsigncode", "osslsigncode"),
        ("openssl", "openssl"),
    ),
    "desktop": (
        WINE,
        WINE64,
        XVFB,
        ("xdotool", "xdotool"),
        ("import", "imagemagick"),
        ("/usr/share/wine/fonts/marlett.ttf", "fonts-wine"),
        ("localedef", "libc-bin"),
        ("/usr/share/i18n/locales/ja_JP", "locales"),
        ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "fonts-noto-cjk"),
    ),
}
"""For each purpose: a program or file, and the Debian package that has it."""


class MissingNeeds(Exception):
    """Debian packages are missing; the message has the command that installs them."""


def missing(purpose: str) -> list[str]:
    """Return the names of the Debian packages that `purpose` needs and that are not installed."""

    def there(thing: str) -> bool:
        return Path(thing).exists() if thing.startswith("/") else shutil.which(thing) is not None

    return sorted({package for thing, package in NEEDS[purpose] if not there(thing)})


def require(purpose: str) -> None:
    """Install what is missing when root on Debian. Raise MissingNeeds otherwise."""
    packages = missing(purpose)
    if not packages:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (["apt-get", "update"], command):
            subprocess.run(step, env=environment, check=False, stdout=subprocess.DEVNULL)
        packages = missing(purpose)
    if packages:
        raise MissingNeeds(f"Needed first: sudo {' '.join(command[:4])} {' '.join(packages)}")
