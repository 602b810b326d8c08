"""Write what management tools need beside the packages: winget manifests and a note.

The address of the downloads comes from COCONOWORK_DOWNLOAD_URL.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from string import Template

from installer.package import SETUP, UPGRADE_CODE, product_code

PACKAGE = "Coconowork.CoconoworkClient"
SCHEMA = "1.6.0"
KEY = r"HKEY_LOCAL_MACHINE\Software\Microsoft\Windows\CurrentVersion\Uninstall\Coconowork Client"

_DESCRIPTIONS = {
    "en-US": "Keeps this PC reachable through coconowork.",
    "ja-JP": "このPCを、ココナワークの接続先PCとして待ち受け状態にします。",
}


def write_deployment(folder: Path, version: str, setup: Path, msi: Path) -> None:
    """Write `winget/` and `deployment.md` into `folder`."""
    url = os.environ.get("COCONOWORK_DOWNLOAD_URL", "https://example.com/coconowork/").rstrip("/")
    winget = folder / "winget"
    winget.mkdir()
    for name, text in _manifests(version, url, setup, msi).items():
        head = f"PackageIdentifier: {PACKAGE}\nPackageVersion: {version}\n"
        end = f"ManifestVersion: {SCHEMA}\n"
        (winget / f"{PACKAGE}{name}.yaml").write_text(head + text + end, encoding="utf-8")
    note = Template((SETUP / "deployment.md").read_text(encoding="utf-8")).substitute(
        version=version,
        setup=setup.name,
        msi=msi.name,
        product=product_code(version),
        upgrade=UPGRADE_CODE.upper(),
        key=KEY,
        url=url,
    )
    (folder / "deployment.md").write_text(note, encoding="utf-8")


def _manifests(version: str, url: str, setup: Path, msi: Path) -> dict[str, str]:
    """Return the manifests by the ends of their names, without the lines that all share."""
    for_all, code = "InstallerSwitches:\n    Custom: /ALLUSERS", product_code(version)
    installers = [
        _installer(url, setup, "nullsoft", "user"),
        _installer(url, setup, "nullsoft", "machine", for_all),
        _installer(url, msi, "msi", "machine", f"ProductCode: '{code}'"),
    ]
    found = {
        "": "DefaultLocale: en-US\nManifestType: version\n",
        ".installer": (
            "Platform:\n- Windows.Desktop\nMinimumOSVersion: 10.0.0.0\n"
            "UpgradeBehavior: install\nCommands:\n- coconowork-client\nInstallers:\n"
            f"{''.join(installers)}ManifestType: installer\n"
        ),
    }
    for locale, description in _DESCRIPTIONS.items():
        kind = "defaultLocale" if locale == "en-US" else "locale"
        found[f".locale.{locale}"] = (
            f"PackageLocale: {locale}\nPublisher: Coconowork\nPackageName: coconowork client\n"
            f"License: MIT\nShortDescription: {description}\nManifestType: {kind}\n"
        )
    return found


def _installer(url: str, file: Path, kind: str, scope: str, *extra: str) -> str:
    fields = [
        "Architecture: x64",
        f"InstallerType: {kind}",
        f"Scope: {scope}",
        f"InstallerUrl: {url}/{file.name}",
        f"InstallerSha256: {hashlib.sha256(file.read_bytes()).hexdigest().upper()}",
        *extra,
    ]
    return "- " + "\n  ".join(fields) + "\n"
