"""The setup program and the MSI without windows, as management tools run them."""

from __future__ import annotations

import pytest

from installer.wine import windows_path
from tests.support.disks import small_disk
from tests.support.polling import eventually
from tests.support.setup_program import (
    EVERYBODY,
    EXE,
    RUN,
    SETTINGS,
    UNINSTALL,
    exit_code,
    install,
    programs_folder,
    registry,
    running,
    traces,
    uninstall,
    unix_path,
    wait_for_uninstaller,
)
from tests.support.windows_product import Built
from tests.support.wine import Desktop


@pytest.fixture(autouse=True)
def nothing_left(desktop: Desktop) -> None:
    """Assert that the PC has no trace of the client before each test."""
    assert traces(desktop) == []


@pytest.fixture
def folder(desktop: Desktop) -> str:
    """Return the folder of the user's own copy."""
    return programs_folder(desktop)


COMMANDS = r"""
cd /d "%LOCALAPPDATA%\Programs\Coconowork Client"
coconowork-client doctor > C:\doctor.txt
coconowork-client quit
"""
"""The commands of docs/admin.md, in a batch file."""


def test_install_sign_in_upgrade_uninstall(desktop: Desktop, product: Built, folder: str) -> None:
    """Each step from the installation to the removal leaves what the manual says."""
    pc = desktop
    assert install(pc, product.product.setup, "/SERVER=gw.example.com:8443") == 0
    assert registry(pc, rf"HKCU\{SETTINGS}") == {
        "InstallDir": folder,
        "Server": "gw.example.com:8443",
        "Setup": "exe",
    }
    assert registry(pc, rf"HKCU\{RUN}")["Coconowork Client"] == (
        rf'"{folder}\{EXE}" run --autostart'
    )
    listed = registry(pc, rf"HKCU\{UNINSTALL}")
    assert listed["DisplayVersion"] == product.product.version
    assert listed["DisplayName"] == "coconowork client"
    assert int(listed["EstimatedSize"]) > 20_000
    assert running(pc) == [], "a silent first install starts nothing"

    pc.sign_out()
    pc.sign_in()
    eventually(lambda: running(pc), or_say="the client at sign-in")
    before = running(pc)

    assert install(pc, product.newer_setup) == 0
    eventually(lambda: running(pc) and running(pc) != before, or_say="the client after the upgrade")
    assert registry(pc, rf"HKCU\{UNINSTALL}")["DisplayVersion"] == "99.1.0"
    assert registry(pc, rf"HKCU\{SETTINGS}")["Server"] == "gw.example.com:8443"

    assert install(pc, product.product.setup) == 1638
    assert registry(pc, rf"HKCU\{UNINSTALL}")["DisplayVersion"] == "99.1.0"
    assert running(pc), "a refused downgrade leaves the client alone"

    (pc.drive_c / "commands.bat").write_text(COMMANDS, encoding="ascii", newline="\r\n")
    exit_code(pc, "cmd", "/c", r"C:\commands.bat")
    eventually(lambda: running(pc) == [], or_say="the client's end")
    assert b"gw.example.com:8443" in (pc.drive_c / "doctor.txt").read_bytes()

    uninstall(pc, folder, "/FORGET")
    eventually(lambda: not traces(pc), or_say="nothing left")
    assert running(pc) == []


def test_forced_downgrade_and_the_users_switch(
    desktop: Desktop, product: Built, folder: str
) -> None:
    """`/FORCE` installs an older version; a switched-off start at sign-in stays off."""
    pc = desktop
    assert install(pc, product.newer_setup, "/NOAUTOSTART") == 0
    assert "Coconowork Client" not in registry(pc, rf"HKCU\{RUN}")
    assert install(pc, product.product.setup, "/FORCE") == 0
    listed = registry(pc, rf"HKCU\{UNINSTALL}")
    assert listed["DisplayVersion"] == product.product.version
    assert "Coconowork Client" not in registry(pc, rf"HKCU\{RUN}")
    uninstall(pc, folder)


def test_options_of_the_uninstaller(desktop: Desktop, product: Built) -> None:
    """One that it does not know removes nothing; `/s` in small letters opens no window."""
    pc, folder = desktop, r"C:\place"
    assert install(pc, product.product.setup, "/NOAUTOSTART", rf"/D={folder}") == 0
    before = traces(pc)
    for wrong in ("/FORGTE", "/ALLUSERS", "password"):
        assert exit_code(pc, rf"{folder}\uninstall.exe", "/S", wrong, f"_?={folder}") == 87
        assert traces(pc) == before
    exit_code(pc, rf"{folder}\uninstall.exe", "/s", "/forget")
    wait_for_uninstaller(pc, folder)
    eventually(lambda: not traces(pc), or_say="nothing left")


def test_for_all_users(desktop: Desktop, product: Built, folder: str) -> None:
    """`/ALLUSERS` replaces the user's own copy and keeps its server."""
    pc = desktop
    assert install(pc, product.product.setup, "/SERVER=gw.example.com") == 0
    assert install(pc, product.product.setup, "/ALLUSERS") == 0
    assert not unix_path(pc, folder).exists()
    assert registry(pc, rf"HKCU\{SETTINGS}") == {}
    assert registry(pc, rf"HKLM\{SETTINGS}")["Server"] == "gw.example.com"
    assert registry(pc, rf"HKLM\{RUN}")["Coconowork Client"].startswith(f'"{EVERYBODY}')
    assert install(pc, product.product.setup) == 1625, "no second copy beside it"
    uninstall(pc, EVERYBODY)


def test_options_after_the_address(desktop: Desktop, product: Built) -> None:
    """Options count before and behind an address; one that is unknown changes nothing."""
    setup, address = product.product.setup, "/SERVER=wss://gw.example.com:8443/a"
    for options in (["/ALLUSERS", address, "/NOAUTOSTART"], [address, "/NOAUTOSTART", "/ALLUSERS"]):
        assert install(desktop, setup, *options) == 0
        assert registry(desktop, rf"HKLM\{SETTINGS}")["Server"] == address.partition("=")[2]
        assert "Coconowork Client" not in registry(desktop, rf"HKLM\{RUN}")
        uninstall(desktop, EVERYBODY)
    for wrong in ("/SERVER=http://gw.example.com", "/SERVR=gw.example.com"):
        assert install(desktop, setup, wrong) == 87
    assert install(desktop, setup, address, "/BOGUS") == 87


def test_msi(desktop: Desktop, product: Built) -> None:
    """The MSI installs, upgrades, refuses a downgrade, and is removed without a trace."""
    pc = desktop
    first, newer = windows_path(product.product.msi), windows_path(product.newer_msi)
    options = ["/qn", "SERVER=gw.example.com", "AUTOSTART=0"]
    assert exit_code(pc, "msiexec", "/i", first, *options) == 0
    assert registry(pc, rf"HKLM\{SETTINGS}")["Server"] == "gw.example.com"
    assert "Coconowork Client" not in registry(pc, rf"HKLM\{RUN}")
    assert unix_path(pc, rf"{EVERYBODY}\{EXE}").exists()
    assert install(pc, product.product.setup) == 1625, "the MSI's owner decides"

    assert exit_code(pc, "msiexec", "/i", newer, "/qn") == 0
    assert registry(pc, rf"HKLM\{SETTINGS}")["Server"] == "gw.example.com"
    assert registry(pc, rf"HKLM\{RUN}")["Coconowork Client"].startswith(f'"{EVERYBODY}')
    assert exit_code(pc, "msiexec", "/i", first, "/qn") == 1603

    assert exit_code(pc, "msiexec", "/x", newer, "/qn") == 0
    assert not unix_path(pc, EVERYBODY).exists()


def test_msi_beside_the_setup_program(desktop: Desktop, product: Built) -> None:
    """The MSI does not install over the setup program's copy for all users."""
    pc = desktop
    assert install(pc, product.product.setup, "/ALLUSERS", "/SERVER=gw.example.com") == 0
    before = traces(pc)
    assert exit_code(pc, "msiexec", "/i", windows_path(product.product.msi), "/qn") == 1603
    assert traces(pc) == before
    uninstall(pc, EVERYBODY)


@pytest.mark.parametrize("server", ["bad address", "http://gw.example.com", "u@gw.example.com"])
def test_msi_refuses_bad_addresses(desktop: Desktop, product: Built, server: str) -> None:
    """An address that the client would refuse ends the installation."""
    msi = windows_path(product.product.msi)
    assert exit_code(desktop, "msiexec", "/i", msi, "/qn", f"SERVER={server}") == 1603
    assert traces(desktop) == []


def test_a_full_disk(desktop: Desktop, product: Built) -> None:
    """On a full disk the setup program ends with 1603 and leaves nothing."""
    pc = desktop
    with small_disk(pc.drive_c / "full", "16m") as disk:
        assert install(pc, product.product.setup, r"/D=C:\full\client") == 1603
        assert list(disk.iterdir()) == []
    disk.rmdir()
    assert traces(pc) == []
