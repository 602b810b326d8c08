"""Writes docs/dependencies.md: what the product depends on, in which version, and why.

    python -m installer.dependencies

The versions are those of the lock files, the licences those that the packages state. Why, and what
a package gets to see, is said here; a package without a word about it is an error.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from installer.sbom import license_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "dependencies.md"

CLIENT = {
    "jeepney": (
        "D-Bus on Linux: keyring, notifications, sign-ins",
        "passwords, on their way to the keyring",
    ),
    "keyring": (
        "Secret Service on Linux, Credential Manager on Windows",
        "passwords, on their way to the keyring",
    ),
    "msgspec": ("decodes and checks every message and file", "all that comes from the network"),
    "pillow": ("draws the tray icon on Linux; not in the Windows program", "our own pictures"),
    "platformdirs": ("where settings, state and log belong", "names of folders"),
    "pynacl": (
        "libsodium: opens and makes sealed boxes",
        "pushed passwords, the device's private key",
    ),
    "pystray": ("the icon in the tray", "what the icon and its menu show"),
    "python-socks": ("SOCKS and HTTP proxies", "a proxy's login, TLS as it passes"),
    "pywin32": (
        "Windows: Credential Manager, pipe, sign-ins, registry",
        "passwords, on their way to the Credential Manager",
    ),
    "tomlkit": (
        "writes the settings and keeps what the user wrote",
        "settings, a proxy's login among them",
    ),
    "truststore": ("certificates are judged by the operating system", "the server's certificate"),
    "websockets": ("the connection to the gateway", "all that is sent and received"),
    "win10toast": ("the warning of the manual, on Windows", "the warning's text"),
}
SERVER = {
    "django": (
        "pages, sessions, forms, database",
        "passwords as they are typed; everything in the database",
    ),
    "django-axes": ("lockouts of who guesses passwords", "user names as keyed hashes, addresses"),
    "limits": ("the gateway's counts of refused logins", "user names, addresses"),
    "prometheus-client": ("figures for operators at `/metrics`", "counts and times"),
    "psycopg": ("PostgreSQL", "everything in the database"),
    "scramp": ("makes verifiers (SCRAM)", "passwords as they are changed"),
    "uvicorn": ("HTTP for the pages", "passwords as they are typed"),
    "uvloop": ("the event loop of the gateway, on Linux", "all that is sent and received"),
    "whitenoise": ("style sheets and scripts", "files of our own"),
}
HEAD = """\
# What it depends on

Written by `python -m installer.dependencies`, which the tests hold to the lock files. Versions are
pinned with hashes, for every package below these as well: `agent/requirements.txt` for the client,
`server/requirements.txt` for the server, `installer/requirements.txt` for the Windows program. What
is in a built program is in the `.cdx.json` beside it, a CycloneDX 1.6 list for scanners.

What is not said here depends on nothing: the rest is Python's standard library, and what tests and
builds need is in `tests/requirements.txt` and `installer/requirements-tools.txt`.
"""
HABITS = """\
## How to keep it safe

- `pip-audit -r agent/requirements.txt -r server/requirements.txt --require-hashes` asks the public
  advisories about exactly these versions; it needs the network, so it is no part of the tests.
- `make requirements` pins anew; the difference is what there is to review.
- A dependency that the program could do without is taken out: this table is the argument.
"""


def direct(group: str) -> list[str]:
    """Normalised names of the direct dependencies: `client`, or an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = (
        project["dependencies"] if group == "client" else project["optional-dependencies"][group]
    )
    return [
        re.split(r"[\[>=<;!~ ]", each, maxsplit=1)[0].lower().replace("_", "-") for each in wanted
    ]


def pinned(lock: Path) -> dict[str, str]:
    """Version by name, of a lock file."""
    return dict(
        re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^\s;]+)", lock.read_text("utf-8"), re.MULTILINE)
    )


def page() -> str:
    """The whole page. Raise KeyError for a dependency that nothing is said about."""
    parts = [HEAD]
    for title, group, said, lock in (
        ("The client", "client", CLIENT, "agent/requirements.txt"),
        ("The server, besides", "server", SERVER, "server/requirements.txt"),
    ):
        versions = pinned(ROOT / lock)
        parts.append(
            f"## {title}\n\n| package | version | licence | for | gets to see |\n{'|---' * 5}|"
        )
        for name in sorted(direct(group)):
            purpose, sees = said[name]
            parts[-1] += f"\n| {name} | {versions[name]} | {_license(name)} | {purpose} | {sees} |"
        if unused := said.keys() - set(direct(group)):
            raise KeyError(f"no dependency any more: {', '.join(sorted(unused))}")
        parts[-1] += "\n"
    return "\n".join([*parts, HABITS])


_ELSEWHERE = {"pywin32": "PSF", "win10toast": "BSD", "uvloop": "MIT License"}
"""Licences of packages that are not on every system."""


def _license(name: str) -> str:
    return _ELSEWHERE.get(name) or license_of(distribution(name))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
