"""List what the program contains, for audits (CycloneDX 1.6), and the licences to ship with it."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from installer import NAME

INSTALLER = Path(__file__).parent
BUILD_ONLY = {"setuptools", "pypiwin32", "pillow"}
"""win10toast and pystray require these packages; the frozen program does not contain them."""

INTERPRETER = (
    ("CPython", "PSF-2.0", "python3[0-9][0-9].dll"),
    ("OpenSSL", "Apache-2.0", "libcrypto-3.dll"),
    ("Tcl/Tk", "TCL", "tcl86t.dll"),
    ("libffi", "MIT", "libffi-8.dll"),
    ("zlib", "Zlib", "zlib1.dll"),
)
"""The interpreter's parts: name, licence and DLL. The DLL states the version."""
LIBFFI = "3.4.4"
"""libffi's version in CPython 3.11 to 3.13; its DLL does not state the version."""


def requirements() -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, version and allowed SHA-256 digests of each package in `requirements.txt`."""
    text = (INSTALLER / "requirements.txt").read_text(encoding="utf-8")
    for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        if found := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", block):
            yield found[1].lower(), found[2], re.findall(r"--hash=sha256:([0-9a-f]{64})", block)


def installed(site_packages: Path) -> dict[str, Distribution]:
    """Return the packages in a folder by their normalised names."""
    return {
        re.sub(r"[-_.]+", "-", found.name).lower(): found
        for found in distributions(path=[str(site_packages)])
    }


def license_of(package: Distribution) -> str:
    """Return the licence that a package states, as an SPDX expression if the package has one."""
    about = package.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = about.get_all("Classifier") or []
    names = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")]
    stated = about["License"].strip().partition("\n")[0] if "License" in about else ""
    return ", ".join(names) or stated or "not stated"


def license_texts(site_packages: Path, python_license: str) -> str:
    """Return the texts of all licence files of the shipped packages, one after the other."""
    parts = [f"CPython\n\n{python_license.strip()}"]
    packages = installed(site_packages)
    for name, version, _ in sorted(requirements()):
        if name in BUILD_ONLY:
            continue
        package = packages[name]
        texts = [
            file.read_text(encoding="utf-8").strip()
            for file in sorted(package.files or [])
            if ".dist-info" in str(file)
            and re.match(r"(?i)(licen[cs]e|copying|notice|authors)", file.name)
        ]
        parts.append("\n\n".join([f"{name} {version}: {license_of(package)}", *texts]))
    return f"\n\n{'=' * 78}\n\n".join(parts) + "\n"


def stated_version(dll: Path) -> str:
    """Return the version that a DLL of the interpreter states, in its code or its resources."""
    content = dll.read_bytes()
    if found := re.search(rb"OpenSSL (\d+\.\d+\.\d+) ", content):
        return found[1].decode("ascii")
    resource = re.search(r"ProductVersion\0+([0-9.]+)", content.decode("utf-16-le", "replace"))
    return resource[1] if resource else LIBFFI


def _digest(path: Path) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]


def _library(name: str, version: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "scope": "required",
        **more,
    }


def _from_pypi(name: str, package: Distribution, **more: Any) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{package.version}"
    licenses = [{"license": {"name": license_of(package)}}]
    return _library(
        name, package.version, **{"bom-ref": purl, "purl": purl, "licenses": licenses, **more}
    )


def bill_of_materials(
    *, version: str, onedir: Path, site_packages: Path, source_date: int
) -> dict[str, Any]:
    """Return the CycloneDX list of a build; the same files give the same list.

    A package's hashes are those that the lock file allows.
    """
    packages = installed(site_packages)
    components: list[dict[str, Any]] = []
    for name, _, hashes in sorted(requirements()):
        allowed = [{"alg": "SHA-256", "content": one} for one in hashes]
        scope = "excluded" if name in BUILD_ONLY else "required"
        components.append(_from_pypi(name, packages[name], scope=scope, hashes=allowed))
    for name, spdx, pattern in INTERPRETER:
        file = next((onedir / "_internal").glob(pattern))
        licenses = [{"license": {"id": spdx}}]
        about = {"licenses": licenses, "hashes": _digest(file)}
        components.append(_library(name, stated_version(file), **about))
    use = "the .exe begins with its bootloader"
    components.append(_from_pypi("pyinstaller", packages["pyinstaller"], description=use))
    modules = f"{NAME}.pkg"  # not signed: the modules of both programs
    hashes_of_modules = _digest(onedir / modules)
    components.append(
        {"type": "file", "bom-ref": modules, "name": modules, "hashes": hashes_of_modules}
    )
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, version + content)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(source_date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": NAME,
                "name": "coconowork client",
                "version": version,
                "hashes": _digest(onedir / f"{NAME}.exe"),
            },
        },
        "components": components,
        "dependencies": [{"ref": NAME, "dependsOn": sorted(c["bom-ref"] for c in components)}],
    }
