"""The setup program without windows, as management tools run it."""

from __future__ import annotations

from installer.wine import windows_path
from tests.support.disks import small_disk
from tests.support.setup_program import (
    EVERYBODY,
    EXE,
    RUN,
    SETTINGS,
    UNINSTALL,
    exit_code,
    install,
    registry,
    running,
    traces,
    uninstall,
    unix_path,
)
from tests.support.windows_product import NEWER, Built
from tests.support.wine import Desktop


def test_from_installation_to_removal(desktop: Desktop, product: Built) -> None:
    """Each step has the manual's result, and at the end nothing is left."""
    pc, setup, folder = desktop, product.setup, r"C:\place"

    def listed() -> dict[str, str]:
        return registry(pc, rf"HKCU\{UNINSTALL}")

    assert install(pc, setup, "/SERVER=gw.example.com:8443", rf"/D={folder}") == 0
    settings = {"InstallDir": folder, "Server": "gw.example.com:8443", "Setup": "exe"}
    autostart = rf'"{folder}\{EXE}" run --autostart'
    assert registry(pc, rf"HKCU\{SETTINGS}") == settings
    assert registry(pc, rf"HKCU\{RUN}")["Coconowork Client"] == autostart
    assert listed()["DisplayVersion"] == product.version
    assert listed()["DisplayName"] == "coconowork client"
    assert int(listed()["EstimatedSize"]) > 20_000
    assert not running(pc), "a silent first install starts nothing"

    # An update, and a downgrade.
    assert install(pc, product.newer_setup) == 0
    assert listed()["DisplayVersion"] == NEWER
    assert registry(pc, rf"HKCU\{SETTINGS}") == settings
    assert registry(pc, rf"HKCU\{RUN}")["Coconowork Client"] == autostart
    assert install(pc, setup) == 1638
    assert listed()["DisplayVersion"] == NEWER
    # The user has switched off the start at sign-in: it stays off.
    exit_code(pc, "reg", "delete", rf"HKCU\{RUN}", "/v", "Coconowork Client", "/f")
    assert install(pc, setup, "/FORCE") == 0
    assert listed()["DisplayVersion"] == product.version
    assert "Coconowork Client" not in registry(pc, rf"HKCU\{RUN}")

    before = traces(pc)
    for wrong in ("/FORGTE", "/ALLUSERS", "password"):
        assert exit_code(pc, rf"{folder}\uninstall.exe", "/S", wrong, f"_?={folder}") == 87
    assert traces(pc) == before

    # An installation for all users replaces the user's own, and keeps the own one's server.
    assert install(pc, setup, "/ALLUSERS") == 0
    assert not unix_path(pc, folder).exists()
    assert registry(pc, rf"HKCU\{SETTINGS}") == {}
    assert registry(pc, rf"HKLM\{SETTINGS}")["Server"] == "gw.example.com:8443"
    assert registry(pc, rf"HKLM\{RUN}")["Coconowork Client"].startswith(f'"{EVERYBODY}')

    before = traces(pc)
    msi, server = windows_path(product.msi), "/SERVER=gw.example.com"
    assert install(pc, setup) == 1625, "no second copy beside it"
    assert exit_code(pc, "msiexec", "/i", msi, "/qn") == 1603
    assert install(pc, setup, "/ALLUSERS", "/SERVER=http://gw.example.com") == 87
    assert install(pc, setup, "/ALLUSERS", server, "/BOGUS") == 87
    assert traces(pc) == before
    uninstall(pc, EVERYBODY, "/s", "/forget")  # lower case works too


def test_a_full_disk(desktop: Desktop, product: Built) -> None:
    """On a full disk the setup program ends with 1603 and leaves nothing."""
    with small_disk(desktop.drive_c / "full", "16m") as disk:
        assert install(desktop, product.setup, r"/D=C:\full\client") == 1603
        assert list(disk.iterdir()) == []
    disk.rmdir()
    assert traces(desktop) == []
