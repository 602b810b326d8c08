"""Rules of imports between packages, and the third-party packages of each program."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.places import ROOT

FOLDERS = ("agent", "bench", "demo", "fuzz", "installer", "protocol", "server", "soak", "tests")

IMPORT_ALL = """
import importlib, pkgutil, sys

blocked, packages = sys.argv[1].split(","), sys.argv[2:]

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} is not among the requirements")

sys.meta_path.insert(0, Blocker())
if "server" in packages:
    import os, django
    os.environ["DJANGO_SETTINGS_MODULE"] = "server.settings"
    django.setup()
imported = 0
for package in packages:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        other = "linux" if sys.platform == "win32" else "windows"
        if f".{other}." not in f"{module.name}.":
            importlib.import_module(module.name)
            imported += 1
print(imported)
"""
"""A program that imports all modules of packages, with the modules in argument 1 blocked."""


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==", lock.read_text("utf-8"), re.MULTILINE))


def test_import_contracts() -> None:
    """import-linter's contracts in pyproject.toml hold."""
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--no-logo"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("lock", "packages", "absent"),
    [
        (
            "server/requirements.txt",
            ("protocol", "server"),
            {"pystray", "pillow", "keyring", "python-xlib", "secretstorage", "jeepney", "tomlkit"},
        ),
        (
            "agent/requirements.txt",
            ("protocol", "agent"),
            {"django", "django-axes", "psycopg", "uvicorn", "whitenoise", "limits", "scramp"},
        ),
    ],
)
def test_requirements_of_one_program_suffice(
    lock: str, packages: tuple[str, ...], absent: set[str]
) -> None:
    """Every module of a program can be imported with only that program's requirements."""
    pinned = _pinned(ROOT / lock)
    assert not pinned & absent
    blocked = [
        module
        for module, names in packages_distributions().items()
        if not pinned & {_normalised(name) for name in names} and module.isidentifier()
    ]
    assert "pytest" in blocked
    ours = {"agent", "server", "protocol"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(set(blocked) - ours), *packages],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_imported_packages_are_declared() -> None:
    """Every third-party package that the code imports is named in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {
        _normalised(re.split(r"[\[>=<;!~ ]", each, maxsplit=1)[0])
        for group in groups
        for each in group
    }
    owners = packages_distributions()
    undeclared = {
        (module, path.relative_to(ROOT).as_posix())
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for module in _imported(path)
        if module in owners and not declared & {_normalised(name) for name in owners[module]}
    }
    assert undeclared == set()


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
