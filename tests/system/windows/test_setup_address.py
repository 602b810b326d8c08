"""The setup program lets no address through that the client would then refuse."""

from __future__ import annotations

import string
import subprocess
from pathlib import Path

import pytest

from agent.address import AddressError, normalise_server
from installer.package import SETUP
from installer.wine import windows_path
from tests.support.wine import INSIDE, Desktop

GOOD = [
    "gw",
    "gw.example.com",
    "GW.Example.COM",
    "gw.example.com:8443",
    "wss://gw.example.com",
    "WSS://gw.example.com:443/",
    "wss://gw.example.com/behind/a-proxy",
    "https://gw.example.com",
    "192.0.2.1:8443",
    "[2001:db8::1]",
    "wss://[2001:db8::1]:8443/gateway",
    "日本語.example",
    "gw.ドメイン.example:8443",
]
BAD = [
    "ws://gw.example.com",
    "http://gw.example.com",
    "ftp://gw.example.com",
    "wss://",
    "wss:gw.example.com",
    "gw.example.com:",
    "gw.example.com:0",
    "gw.example.com:65536",
    "gw.example.com:123456",
    "gw.example.com:80x",
    "gw..example.com",
    ".gw.example.com",
    "-gw.example.com",
    "gw-.example.com",
    "user:password@gw.example.com",
    "gw.example.com?x=1",
    "gw.example.com/#x",
    "[2001:db8::1",
    "[gw.example.com]",
    "2001:db8::1",
    "gw.example.com\\x",
    "gw example.com",
    "a" * 64 + ".example.com",
    "a." * 130 + "com",
]
MIXED = [
    place.format(mark)
    for place in ("gw{}x.example.com", "{}gw.example.com", "gw.example.com{}", "gw/a{}b")
    for mark in string.punctuation + " "
    if mark not in "{}"
]


def client_takes(address: str) -> bool:
    """What the program itself says."""
    try:
        normalise_server(address)
    except AddressError:
        return False
    return True


@pytest.fixture(scope="module")
def verdicts(desktop: Desktop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """What the setup program says to each of the addresses."""
    folder = tmp_path_factory.mktemp("addresses")
    addresses = [*GOOD, *BAD, *MIXED]
    text = "".join(f"{address}\n" for address in addresses)
    (folder / "addresses.txt").write_bytes(text.encode("utf-16-le"))
    exe = folder / "check.exe"
    command = ["makensis", "-V1", "-WX", "-INPUTCHARSET", "UTF8", f"-DOUT={exe}", f"-DHERE={SETUP}"]
    subprocess.run([*command, str(INSIDE / "address.nsi")], check=True)
    assert desktop.quiet(windows_path(exe)) == 0
    digits = Path(folder, "verdicts.txt").read_text(encoding="utf-8")
    return {address: digit == "1" for address, digit in zip(addresses, digits, strict=True)}


def test_takes_what_administrators_write(verdicts: dict[str, bool]) -> None:
    """Names, ports, addresses in brackets, Japanese domains, with or without wss://."""
    assert [address for address in GOOD if not (verdicts[address] and client_takes(address))] == []


def test_refuses_what_cannot_work(verdicts: dict[str, bool]) -> None:
    """Other protocols, wrong ports, broken names, logins and queries."""
    assert [address for address in BAD if verdicts[address] or client_takes(address)] == []


def test_is_not_laxer_than_the_client(verdicts: dict[str, bool]) -> None:
    """Each mark of the keyboard, in host and path."""
    assert [a for a in MIXED if verdicts[a] and not client_takes(a)] == []
