"""Pack the frozen program: the setup program with NSIS, the MSI with wixl, both signed."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path
from xml.etree import ElementTree as ET

from installer import NAME, BuildError
from installer.freeze import source_date
from installer.guard import NAME as GUARD
from installer.sign import sign
from installer.winpy.assemble import BUILD, ROOT

SETUP = ROOT / "installer" / "setup"
ICON = ROOT / "agent" / "assets" / "app.ico"
UPGRADE_CODE = "58ef3b4f-8e44-4ab1-93ac-5f5a4b2f2c52"
"""Never change it: Windows recognises all versions of the MSI by this number."""
_BAD_SERVERS = (
    *(f'SERVER >< "{mark}"' for mark in " ?#@\\"),
    *(f'SERVER ~<< "{scheme}:"' for scheme in ("http", "ws", "ftp")),
    'SERVER >> ":"',
)
"""Conditions that Windows Installer can check, for addresses that the client would refuse."""
_LAUNCH_CONDITIONS = {
    "Installed OR NOT SETUPCOPY": (
        "coconowork client was installed for all users by its setup program. Uninstall that first."
    ),
    f"Installed OR NOT ({' OR '.join(_BAD_SERVERS)})": "This address cannot be used: [SERVER]",
}
"""Conditions for Windows Installer to begin, each with its refusal. msibuild takes ASCII only."""
_SYSTEM = "[System64Folder]"
"""Programs are named with their folder: users may be able to write to the working directory."""
_SET_GUARD_ASIDE = (
    rf'"{_SYSTEM}cmd.exe" /c del /q "[INSTALLDIR]guard-*.old" &'
    rf' move /y "[INSTALLDIR]{GUARD}" "[INSTALLDIR]guard-%RANDOM%.old" && ('
    rf'"{_SYSTEM}ping.exe" -n 6 127.0.0.1 & "{_SYSTEM}taskkill.exe" /F /IM {NAME}.exe)'
)
"""Clients notice that the guard's file has gone, and end. After five seconds they are killed."""
_END_ALL = (
    rf'"{_SYSTEM}cmd.exe" /c if exist "[INSTALLDIR]{GUARD}" ('
    rf'"{_SYSTEM}taskkill.exe" /F /IM {GUARD} & "{_SYSTEM}taskkill.exe" /F /IM {NAME}.exe'
    r' & del /q "[INSTALLDIR]guard-*.old")'
)
_ACTIONS = {
    "SetGuardAside": (_SET_GUARD_ASIDE, "NOT REMOVE"),
    "EndAll": (_END_ALL, 'REMOVE="ALL" AND NOT UPGRADINGPRODUCTCODE'),
}
"""Commands that run before Windows Installer looks for files in use, and their conditions.

An update ends each user's client, and that user's guard starts the new one; docs/windows.md says
why. Without the rights to move the file, Restart Manager asks the client to end.
"""
_COMMAND_IN_FOLDER, _CONTINUE = 34, 64
"""Types of a custom action: run a command line; go on when the command fails."""
MSI_CORRECTIONS = (
    *(
        f"INSERT INTO `CustomAction` (`Action`, `Type`, `Source`, `Target`)"  # noqa: S608 - our own
        f" VALUES ('{name}', {_COMMAND_IN_FOLDER | _CONTINUE}, 'TARGETDIR', '{command}')"
        for name, (command, _) in _ACTIONS.items()
    ),
    *(
        f"INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`)"  # noqa: S608
        f" VALUES ('{name}', '{when}', {1390 + number})"
        for number, (name, (_, when)) in enumerate(_ACTIONS.items())
    ),
    *(
        f"INSERT INTO `LaunchCondition` (`Condition`, `Description`)"  # noqa: S608 - our own
        f" VALUES ('{when}', '{text}')"
        for when, text in _LAUNCH_CONDITIONS.items()
    ),
    "UPDATE `Component` SET `Condition`='SERVER' WHERE `Component`='Server'",
    "UPDATE `Component` SET `Condition`='AUTOSTART <> 0' WHERE `Component`='Autostart'",
    (
        "UPDATE `Property`"
        " SET `Value`='SERVER;AUTOSTART;WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED'"
        " WHERE `Property`='SecureCustomProperties'"
    ),
    "UPDATE `InstallExecuteSequence` SET `Sequence`=60 WHERE `Action`='KeepServer'",
    "UPDATE `CustomAction` SET `Type`=51 WHERE `Action`='KeepServer'",
)
"""Changes to the MSI's tables that wixl cannot express.

They set conditions, the properties that a user may set, and the order of search and default.
"""
WIX = "http://schemas.microsoft.com/wix/2006/wi"


def program_version() -> str:
    """Return the client's version, x.y.z. Raise BuildError when it has another form."""
    text = (ROOT / "agent" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(\d+\.\d+\.\d+)"', text, re.MULTILINE)
    if found is None:
        raise BuildError("agent/__init__.py: __version__ has to be x.y.z")
    return found[1]


def _run(command: list[str], *, cwd: Path = ROOT, **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(source_date()), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def wizard_picture(folder: Path) -> None:
    """Draw the picture beside the wizard's first and last page, large enough for 200 % scale."""
    from PIL import Image

    width, height = 328, 628
    picture = Image.new("RGB", (width, height))
    for y in range(height):
        share = y / height
        colour = tuple(round(a + (b - a) * share) for a, b in ((24, 10), (104, 58), (168, 110)))
        picture.paste(colour, (0, y, width, y + 1))
    with Image.open(ICON) as icon:
        drawn = icon.convert("RGBA").resize((160, 160), Image.Resampling.LANCZOS)
    picture.paste(drawn, ((width - 160) // 2, 150), drawn)
    picture.save(folder / "wizard.bmp")
    os.utime(folder / "wizard.bmp", (source_date(), source_date()))  # NSIS stores the file's time


def _list_files(onedir: Path, target: Path) -> None:
    """Write the list of files for NSIS, sorted: NSIS itself follows the order on the disk."""
    lines = []
    for folder in (onedir, *sorted(path for path in onedir.rglob("*") if path.is_dir())):
        name = folder.relative_to(onedir).as_posix().replace("/", "\\")
        lines.append('SetOutPath "$INSTDIR\\new' + ("" if name == "." else f"\\{name}") + '"')
        lines += [f'File "{path}"' for path in sorted(folder.iterdir()) if path.is_file()]
    target.write_text("\n".join([*lines, ""]), encoding="utf-8")


def make_setup(onedir: Path, version: str, out: Path, *, fast: bool = False) -> None:
    """Make the setup program, signed, with a signed uninstaller in it. Raise BuildError.

    `fast` compresses less: the tests use it.
    """
    art = BUILD / "wizard"
    art.mkdir(parents=True, exist_ok=True)
    wizard_picture(art)
    _list_files(onedir, art / "files.nsh")
    signer = f"{sys.executable} -m installer.sign"
    definitions = {
        "VERSION": version, "OUT": out, "HERE": SETUP, "ICON": ICON, "ART": art, "SIGN": signer,
    }  # fmt: skip
    command = ["makensis", "-V2", "-WX", "-NOCD", "-INPUTCHARSET", "UTF8"]
    command += [f"-D{name}={value}" for name, value in definitions.items()]
    command += ["-DFAST"] * fast
    _run([*command, str(SETUP / "setup.nsi")], PYTHONPATH=str(ROOT))


def _guid(name: str) -> str:
    """Return a GUID derived from `name`, the same in every build."""
    return str(uuid.uuid5(uuid.UUID(UPGRADE_CODE), name)).upper()


def product_code(version: str) -> str:
    """Return the number by which Windows Installer knows a version."""
    return f"{{{_guid(f'product {version}')}}}"


def _add_files(folder: Path, place: ET.Element, group: ET.Element, prefix: str = "") -> None:
    # The guard's file comes last: a running guard waits for it and then starts the new client.
    for path in sorted(folder.iterdir(), key=lambda each: (each.name == GUARD, each)):
        name = f"{prefix}{path.name}"
        key = uuid.uuid5(uuid.UUID(UPGRADE_CODE), name).hex
        if path.is_dir():
            inner = ET.SubElement(place, "Directory", Id=f"d{key}", Name=path.name)
            _add_files(path, inner, group, f"{name}/")
        else:
            guid = _guid(f"component {name}")
            component = ET.SubElement(place, "Component", Id=f"c{key}", Guid=guid, Win64="yes")
            ET.SubElement(component, "File", Id=f"f{key}", Source=name, KeyPath="yes")
            ET.SubElement(group, "ComponentRef", Id=f"c{key}")


def _make_summary_repeat(path: Path) -> None:
    """Replace the time and the random package code, which wixl writes, by repeatable values."""
    content = path.read_bytes()
    found = subprocess.check_output(["msiinfo", "suminfo", str(path)], text=True)
    code = re.search(r"\(UUID\): (\{[0-9A-F-]{36}\})", found)
    if code is None or content.count(code[1].encode()) != 1:
        raise BuildError("the MSI's package code was not found")
    # 1970, and the length of a second, in units of 100 ns since 1601.
    epoch, ticks = 116_444_736_000_000_000, 10_000_000
    stamp = struct.pack("<Q", epoch + source_date() * ticks)
    recent = range(int(time.time()) - 3600, int(time.time()) + 60)

    def pin(match: re.Match[bytes]) -> bytes:
        seconds = (struct.unpack("<Q", match[2])[0] - epoch) // ticks
        return match[1] + (stamp if seconds in recent else match[2])

    # A property of the type VT_FILETIME (0x40) and its value.
    content = re.sub(rb"(\x40\x00\x00\x00)(.{7}\x01)", pin, content, flags=re.DOTALL)
    zeros = f"{{{uuid.UUID(int=0)}}}".encode()
    content = content.replace(code[1].encode(), zeros)
    of_content = f"{{{_guid(hashlib.sha256(content).hexdigest())}}}".encode()
    path.write_bytes(content.replace(zeros, of_content))


def make_msi(onedir: Path, version: str, out: Path) -> None:
    """Make the MSI for managed PCs, with the same files, signed. Raise BuildError."""
    tree = ET.parse(SETUP / "product.wxs")  # noqa: S314 - our own file
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    root = tree.getroot()
    place = root.find(".//Directory[@Id='INSTALLDIR']")
    feature = root.find(".//Feature")
    if place is None or feature is None:
        raise BuildError("product.wxs has no INSTALLDIR or no Feature")
    _add_files(onedir, place, feature)
    root.set("xmlns", WIX)
    source = BUILD / f"{out.stem}.wxs"
    tree.write(source, encoding="utf-8", xml_declaration=True)
    product = product_code(version).strip("{}")
    wixl = ["wixl", "-a", "x64", "-D", "Win64=yes", "-D", f"VERSION={version}"]
    wixl += ["-D", f"PRODUCT={product}", "-D", f"EXE={NAME}.exe", "-o", str(out), str(source)]
    out.unlink(missing_ok=True)
    _run(wixl, cwd=onedir)  # wixl looks for files relative to its working directory
    for correction in MSI_CORRECTIONS:
        _run(["msibuild", str(out), "-q", correction])
    _make_summary_repeat(out)
    sign(out)
