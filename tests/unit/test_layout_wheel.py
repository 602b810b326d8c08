"""The wheel: what `pip install` puts on a machine."""

from __future__ import annotations

import gettext
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.support.places import ROOT

PARTS = ("protocol", "agent", "server", "pyproject.toml", "setup.py", "MANIFEST.in")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy, because setuptools writes files beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    made = shutil.ignore_patterns("__pycache__", "*.mo")
    source.mkdir()
    for part in (*PARTS, "README.md", "LICENSE"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=made)
        else:
            shutil.copy(ROOT / part, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("coconowork-*.whl")))


def test_wheel_has_the_files_of_all_packages(wheel: zipfile.ZipFile) -> None:
    """Every module, template, style sheet, picture and type marker is in the wheel."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("protocol", "agent", "server")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".mo", ".po", ".txt"}
    }
    assert not expected - set(wheel.namelist())
    roots = {name.partition("/")[0] for name in wheel.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "protocol",
        "agent",
        "server",
    }


@pytest.mark.parametrize("name", ["agent/locale", "server/console/locale"])
def test_wheel_has_compiled_catalogues(wheel: zipfile.ZipFile, name: str) -> None:
    """The wheel has the compiled catalogues, so an installed program shows Japanese."""
    found = [each for each in wheel.namelist() if each.startswith(name) and each.endswith(".mo")]
    assert found
    for each in found:
        with wheel.open(each) as file:
            assert len(gettext.GNUTranslations(file)._catalog) > 30  # type: ignore[attr-defined]


def test_wheel_declares_the_programs(wheel: zipfile.ZipFile) -> None:
    """The wheel declares both programs, the licence, and an extra for each program."""
    (about,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(about))
    assert metadata["Name"] == "coconowork"
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra") or []) == {"client", "server", "dev"}
    programs = wheel.read(str(Path(about).with_name("entry_points.txt"))).decode()
    assert "coconowork-client = agent.__main__:main" in programs
    assert "coconowork-server = server.__main__:main" in programs
