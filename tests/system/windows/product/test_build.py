"""The built product: size, resources, signatures and contents."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from installer import NAME
from installer.build import PROGRAMS
from installer.deployment import PACKAGE
from installer.sbom import BUILD_ONLY, requirements
from installer.sign import TEST_DIR
from installer.wine import windows_path
from tests.support.installation import P1
from tests.support.setup_program import running
from tests.support.windows_product import Built
from tests.support.wine import Desktop, wait_for

MEGABYTE = 1_000_000
GUI, CONSOLE = 2, 3
"""Windows' subsystems."""
LOGGED_OUT = 13
"""Exit code of `status`."""


def test_is_small(product: Built) -> None:
    """The program has at most 28 MB installed; its download has at most 11 MB."""
    files = [path for path in product.onedir.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 28 * MEGABYTE
    assert product.setup.stat().st_size < 11 * MEGABYTE


@pytest.mark.parametrize(("suffix", "subsystem"), [(".exe", GUI), (".com", CONSOLE)])
def test_what_windows_shows(desktop: Desktop, product: Built, suffix: str, subsystem: int) -> None:
    """Both programs run, and have their name, all icons, and a manifest for sharp fonts."""
    program = product.onedir / f"{NAME}{suffix}"
    done = desktop.run(windows_path(program), "--version")
    assert (done.code, done.output.strip()) == (0, product.version)
    seen = desktop.ask("resources", windows_path(program))
    assert seen["subsystem"] == subsystem
    (texts,) = seen["texts"].values()
    assert texts["FileDescription"] == texts["ProductName"] == "coconowork client"
    assert texts["ProductVersion"] == product.version
    assert texts["OriginalFilename"] == program.name
    assert "PerMonitorV2" in seen["manifest"]
    assert 'level="asInvoker"' in seen["manifest"]
    assert seen["icons"] >= 8


def test_runs_on_while_an_update_replaces_its_modules(desktop: Desktop, product: Built) -> None:
    """A running client works on, also with unused features, when its file of modules is gone."""
    old, client = desktop.drive_c / "old", windows_path(product.onedir / f"{NAME}.com")
    shutil.copytree(product.onedir, old)
    desktop.launch(rf"C:\old\{NAME}.exe", "run", "--autostart")
    wait_for(lambda: desktop.run(client, "status").code == LOGGED_OUT, "the client's answer")
    (old / f"{NAME}.pkg").unlink()
    done = desktop.run(client, "login", "--server", "localhost:9", "--user", "a", stdin=f"{P1}\n")
    status = desktop.run(client, "status")
    assert (done.code, status.code) == (1, LOGGED_OUT), done.output
    assert desktop.run(client, "quit").code == 0
    wait_for(lambda: not running(desktop), "the client's end")
    shutil.rmtree(old)


@pytest.mark.parametrize("what", [*PROGRAMS, "setup", "msi"])
def test_is_signed(product: Built, what: str) -> None:
    """Each file that Windows checks has a valid signature, here by a test certificate."""
    path = {"setup": product.setup, "msi": product.msi}.get(what, product.onedir / what)
    command = ["osslsigncode", "verify", "-CAfile", str(TEST_DIR / "ca.pem"), "-in", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Signature verification: ok" in done.stdout, done.stdout


def test_bill_of_materials(desktop: Desktop, product: Built) -> None:
    """The bill of materials is valid CycloneDX, with all packages and the digest of the .exe.

    Its versions of Python and OpenSSL are those of the built program.
    """
    text = product.sbom.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    program = (product.onedir / f"{NAME}.exe").read_bytes()
    (digest,) = bill["metadata"]["component"]["hashes"]
    assert digest["content"] == hashlib.sha256(program).hexdigest()
    listed = {part.get("purl"): part for part in bill["components"]}
    for name, version, hashes in requirements():
        part = listed[f"pkg:pypi/{name}@{version}"]
        assert hashes
        assert len(part["hashes"]) == len(hashes)
        assert part["licenses"][0]["license"]["name"] != "not stated", name
    versions = {part["name"]: part.get("version") for part in bill["components"]}
    asked = "import platform, ssl; print(platform.python_version(), ssl.OPENSSL_VERSION)"
    running = desktop.python("-c", asked).output
    assert running.startswith(f"{versions['CPython']} OpenSSL {versions['OpenSSL']} "), running


def test_licences_go_with_it(product: Built) -> None:
    """The licence texts of all parts are in the program's folder."""
    text = (product.onedir / "_internal" / "licenses.txt").read_text(encoding="utf-8")
    for name, version, _ in requirements():
        if name not in BUILD_ONLY:
            assert re.search(rf"(?im)^{re.escape(name)} {re.escape(version)}: ", text), name
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in text
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in text, "pystray's"


def test_nothing_of_the_workshop_is_inside(desktop: Desktop, product: Built) -> None:
    """The product contains no tests, server or build tools."""
    viewer = ["-m", "PyInstaller.utils.cliutils.archive_viewer", "--recursive", "--list", "--brief"]
    done = desktop.python(*viewer, windows_path(product.onedir / f"{NAME}.pkg"))
    assert done.code == 0, done.output
    modules = set(re.findall(r"'([\w.]+)'", done.output)) | set(done.output.split())
    assert {"agent.desktop", "pystray._win32", "win10toast"} <= modules
    roots = {module.partition(".")[0] for module in modules}
    unwanted = {"pytest", "hypothesis", "server", "tests", "setuptools", "PyInstaller", "django"}
    assert not roots & (
        unwanted | {"secretstorage", "jeepney", "cryptography", "PIL", "unittest", "pygments"}
    )
    names = {path.name for path in product.onedir.rglob("*")}
    assert not {name for name in names if name.endswith((".py", ".c", ".po", ".psd"))}


def test_deployment_files(product: Built) -> None:
    """The manifests have the packages' digests, and the note has the MSI's product code."""
    text = (product.folder / "winget" / f"{PACKAGE}.installer.yaml").read_text("utf-8")
    for path in (product.setup, product.msi):
        assert f"/{path.name}\n" in text
        assert hashlib.sha256(path.read_bytes()).hexdigest().upper() in text
    table = subprocess.check_output(["msiinfo", "export", product.msi, "Property"], text=True)
    (code,) = re.findall(r"ProductCode\t(\S+)", table)
    note = (product.folder / "deployment.md").read_text("utf-8")
    assert f"product code `{code}`, product version >= `{product.version}`" in note
    assert f"ProductCode: '{code}'" in text


def test_installs_silently_and_goes_away(desktop: Desktop, product: Built) -> None:
    """The workflow's trial under the Windows Python: install, start the program, uninstall."""
    setup = windows_path(product.setup)
    done = desktop.python("-m", "installer.native", "try", setup, timeout_s=300)
    assert done.code == 0, done.output
    assert "status: exit status 3" in done.output
