"""Assemble a CPython for Windows: pinned DLLs, the local standard library, Windows packages.

On Windows this module is not needed: use the installer of python.org there.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INSTALLER = HERE.parent
ROOT = INSTALLER.parent
BUILD = ROOT / "build"

BESIDE_EXE = {"python311.dll", "python3.dll", "vcruntime140.dll", "vcruntime140_1.dll"}
LEFT_OUT = {
    "__pycache__", "site-packages", "dist-packages", "lib-dynload", "test", "tests", "idle_test",
    "idlelib", "turtledemo", "distutils", "ensurepip", "lib2to3", "pydoc_data",
    "sitecustomize.py", "EXTERNALLY-MANAGED",
}  # fmt: skip
LICENSES = (
    Path(sysconfig.get_path("stdlib"), "LICENSE.txt"),
    Path("/usr/share/doc/python3.11-minimal/copyright"),
    Path("/usr/share/doc/libpython3.11-minimal/copyright"),
)
DLL_FOLDER = re.compile(r"deploy_libs/|\w+\.libs/")
VENDORED = re.compile(r"-x64-[0-9a-f]{32}(?=\.dll$)")
VENDORED_BYTES = re.compile(rb"(lib[a-z]+-\d+)-x64-[0-9a-f]{32}\.dll")
"""The suffix that a wheel's maker has added to a DLL's name, and such names inside DLLs."""
TCL_SCRIPTS = Path("/usr/share/tcltk")


def standard_library() -> Iterator[tuple[Path, Path]]:
    """Yield pairs of file and name in `Lib`, sorted, without files that depend on the platform."""
    source = Path(sysconfig.get_path("stdlib"))
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if LEFT_OUT.intersection(name.parts) or not path.is_file():
            continue
        if name.parts[0].startswith(("config-", "_sysconfigdata", "LICENSE")):
            continue
        yield path, name


def standard_library_digest() -> str:
    """Return the SHA-256 over the names and contents of `standard_library`."""
    digest = hashlib.sha256()
    for path, name in standard_library():
        digest.update(
            f"{name.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()


def inputs() -> dict[str, Any]:
    """Return the contents of `inputs.toml`."""
    return tomllib.loads((HERE / "inputs.toml").read_text())


def standard_library_note() -> str:
    """Return a line that says which standard library was used and whether its digest is pinned."""
    digest = standard_library_digest()
    version = sysconfig.get_python_version() + f".{sys.version_info.micro}"
    known = any(entry["sha256"] == digest for entry in inputs()["standard-library"])
    return f"standard library {version}, {'as pinned' if known else 'NOT PINNED'}: {digest}"


def key() -> str:
    """Return a name for the result, derived from all inputs."""
    digest = hashlib.sha256(standard_library_digest().encode())
    recipe = (*sorted(HERE.glob("*.*")), INSTALLER / "windows.manifest")
    for path in (*recipe, *sorted(INSTALLER.glob("requirements*.txt"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def uv() -> str:
    """Return the uv beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def unpack_wheel(wheel: dict[str, Any], target: Path) -> None:
    """Download one wheel, whose hash pip checks, and copy its DLLs to `target`."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"{wheel['name']}=={wheel['version']} --hash=sha256:{wheel['sha256']}\n")
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check",
                "--no-deps", "--require-hashes", "--only-binary=:all:", "--platform", "win_amd64",
                "--implementation", "cp", "--python-version", wheel["python"],
                "-d", folder, "-r", str(wanted),
            ],
            check=True,
        )  # fmt: skip
        missing = set() if wheel["take"] == "all" else set(wheel["take"])
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
            for name in archive.namelist():
                base = VENDORED.sub("", name.rpartition("/")[2].lower())
                if not DLL_FOLDER.match(name) or not base or base.startswith("api-ms-"):
                    continue
                if wheel["take"] == "all" or base in wheel["take"]:
                    place = target if base in BESIDE_EXE else target / "DLLs"
                    (place / base).write_bytes(VENDORED_BYTES.sub(_pad, archive.read(name)))
                    missing.discard(base)
        if missing:
            raise SystemExit(f"{wheel['name']} has no {', '.join(sorted(missing))}")


def _pad(found: re.Match[bytes]) -> bytes:
    """Return the plain name of a vendored DLL, as long as the name that was found."""
    return (found[1] + b".dll").ljust(len(found[0]), b"\0")


def compile_stubs(target: Path) -> None:
    """Compile python.exe and pythonw.exe, repeatably, with the manifest of the real ones."""
    mingw = "x86_64-w64-mingw32-"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
    with tempfile.TemporaryDirectory() as folder:
        manifest = f"{folder}/manifest.o"
        subprocess.run([f"{mingw}windres", "python.rc", "-o", manifest], cwd=HERE, check=True)
        compiler = [f"{mingw}gcc", "-O2", "-Wall", "-Werror", "-municode", "-s"]
        compiler += ["-Wl,--no-insert-timestamp", str(HERE / "stub.c"), manifest]
        for name, flags in (("python.exe", []), ("pythonw.exe", ["-mwindows", "-DGUI"])):
            command = [*compiler, *flags, "-o", str(target / name)]
            subprocess.run(command, env=environment, check=True)


def make_stable_dll(target: Path) -> None:
    """Make python3.dll, which wheels of the stable ABI call: it forwards to python311.dll."""
    mingw = "x86_64-w64-mingw32-"
    command = [f"{mingw}objdump", "-p", str(target / "python311.dll")]
    listing = subprocess.check_output(command, text=True)
    export = r"^\s*\[\s*\d+\] (?:\+base\[\s*\d+\]\s+[0-9a-f]+ )?(_?Py\w+)$"
    names = re.findall(export, listing, re.M)
    if "PyModule_Create2" not in names:
        raise SystemExit("objdump does not list the exports of python311.dll")
    with tempfile.TemporaryDirectory() as folder:
        exports = Path(folder, "python3.def")
        lines = [f'{name} = "python311.{name}"' for name in sorted(names)]
        exports.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *lines, ""]))
        command = [f"{mingw}gcc", "-shared", "-nostdlib", "-s", "-Wl,--no-insert-timestamp"]
        command += ["-Wl,-e,DllMain", str(HERE / "forward.c"), str(exports)]
        subprocess.run([*command, "-o", str(target / "python3.dll")], check=True)


def install_packages(target: Path) -> None:
    """Install the client's Windows dependencies and the tools, hash-checked.

    uv evaluates markers for the target system; pip would evaluate them for this system.
    """
    command = [
        uv(), "pip", "install", "--quiet", "--system-certs",
        "--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.11",
        "--target", str(target / "Lib/site-packages"),
        "--only-binary", ":all:", "--no-deps", "--require-hashes", "--link-mode", "copy",
    ]  # fmt: skip
    for path in sorted(INSTALLER.glob("requirements*.txt")):
        command += ["-r", str(path)]
    subprocess.run(command, check=True)


def fill(target: Path) -> None:
    """Assemble everything in the new folder `target`."""
    for folder in ("DLLs", "Lib/site-packages", "tcl"):
        (target / folder).mkdir(parents=True)
    for wheel in inputs()["wheel"]:
        unpack_wheel(wheel, target)
    for path, name in standard_library():
        place = target / "Lib" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    shutil.copyfile(next(filter(Path.exists, LICENSES)), target / "LICENSE.txt")
    for scripts in ("tcl8.6", "tk8.6"):
        shutil.copytree(TCL_SCRIPTS / scripts, target / "tcl" / scripts)
    compile_stubs(target)
    make_stable_dll(target)
    install_packages(target)
    # With compiled modules programs start several times faster under Wine.
    compileall.compile_dir(
        target / "Lib",
        quiet=2,
        workers=0,
        stripdir=target,
        prependdir="winpy",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def assemble() -> Path:
    """Return the folder with `python.exe`; assemble it unless one exists for these inputs."""
    if sys.version_info[:2] != (3, 11):
        raise SystemExit("The standard library is taken from the Python that runs this: use 3.11.")
    BUILD.mkdir(exist_ok=True)
    target = BUILD / f"winpy-{key()}"
    with (BUILD / "winpy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            unfinished = BUILD / f"winpy-{os.getpid()}.part"
            try:
                fill(unfinished)
                unfinished.rename(target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return target
