"""How the setup program reads options and addresses."""

from __future__ import annotations

import json
import string
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.address import AddressError, normalise_server
from installer.package import SETUP
from installer.wine import windows_path
from tests.support.wine import INSIDE, Desktop

GOOD = """
gw gw.example.com GW.Example.COM gw.example.com:8443 wss://gw.example.com WSS://gw.example.com:443/
wss://gw.example.com/behind/a-proxy https://gw.example.com 192.0.2.1:8443 [2001:db8::1]
wss://[2001:db8::1]:8443/gateway 日本語.example gw.ドメイン.example:8443 gw_1.example.com gw/it's
""".split()  # noqa: SIM905 - one a line is long
BAD = r"""
ws://gw.example.com http://gw.example.com ftp://gw.example.com wss:// wss:gw.example.com
gw.example.com: gw.example.com:0 gw.example.com:65536 gw.example.com:123456 gw.example.com:80x
gw..example.com .gw.example.com -gw.example.com gw-.example.com user:password@gw.example.com
gw.example.com?x=1 gw.example.com/#x [2001:db8::1 [gw.example.com] 2001:db8::1 gw.example.com\x
""".split()  # noqa: SIM905
BAD += ["gw example.com", "a" * 64 + ".example.com", "a." * 130 + "com"]
MIXED = [
    place.format(mark)
    for place in ("gw{}x.example.com", "{}gw.example.com", "gw.example.com{}", "gw/a{}b")
    for mark in string.punctuation + " "
    if mark not in "{}"
]
FOLDED = {
    "ｇｗ．ｅｘａｍｐｌｅ．ｃｏｍ：８４４３": "gw.example.com:8443",
    "ｗｓｓ：／／ｇｗ．ｅｘａｍｐｌｅ．ｃｏｍ": "wss://gw.example.com",
}


def client_takes(address: str) -> bool:
    """Return whether the client takes this address."""
    try:
        normalise_server(address)
    except AddressError:
        return False
    return True


def compiled(name: str, folder: Path) -> Path:
    """Compile a program of `INSIDE` that has the setup program's own code. Return its path."""
    exe = folder / f"{name}.exe"
    command = ["makensis", "-V1", "-WX", "-INPUTCHARSET", "UTF8", f"-DOUT={exe}", f"-DHERE={SETUP}"]
    subprocess.run([*command, str(INSIDE / f"{name}.nsi")], check=True)
    return exe


@pytest.fixture(scope="module")
def judged(
    desktop: Desktop, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[bool, str]]:
    """Return whether the setup program takes each address, and the form that it stores."""
    folder = tmp_path_factory.mktemp("addresses")
    addresses = [*GOOD, *BAD, *MIXED, *FOLDED]
    text = "".join(f"{address}\n" for address in addresses)
    (folder / "addresses.txt").write_bytes(text.encode("utf-16-le"))
    assert desktop.quiet(windows_path(compiled("address", folder))) == 0
    lines = (folder / "verdicts.txt").read_text(encoding="utf-16-le").splitlines()
    answers = [line.partition(" ")[::2] for line in lines]
    return {
        address: (verdict == "1", form)
        for address, (verdict, form) in zip(addresses, answers, strict=True)
    }


def test_addresses(judged: dict[str, tuple[bool, str]]) -> None:
    """The setup program and the client take each valid address and refuse each wrong one.

    The setup program takes nothing that the client refuses, and stores an address that was typed
    with a Japanese keyboard in ASCII.
    """
    assert [each for each in GOOD if not (judged[each][0] and client_takes(each))] == []
    assert [each for each in BAD if judged[each][0] or client_takes(each)] == []
    assert [each for each in MIXED if judged[each][0] and not client_takes(each)] == []
    assert [judged[each] for each in FOLDED] == [(True, form) for form in FOLDED.values()]


SERVERS = ["gw", "gw.example.com:8443", "wss://gw.example.com/x", "[2001:db8::1]", "日本語.example"]
OPTIONS = {"/ALLUSERS": "all", "/NOAUTOSTART": "noautostart", "/FORCE": "force", "/START": "start"}


Understood = tuple[int, dict[str, str]]


class Arguments:
    """The part of the setup program that reads a command line."""

    def __init__(self, desktop: Desktop, folder: Path) -> None:
        self._desktop = desktop
        self._exe = compiled("arguments", folder)
        self._lines, self._answer = folder / "lines.json", folder / "arguments.txt"

    def read(self, *lines: Sequence[str]) -> list[Understood]:
        """Return of each command line its exit code, and the options that were understood."""
        self._lines.write_text(json.dumps(lines), encoding="utf-8")
        files = map(windows_path, (self._lines, self._answer, self._exe))
        answers = self._desktop.ask("arguments", *files, timeout_s=200)
        return [(code, self._options(text)) for code, text in answers]

    @staticmethod
    def _options(text: str | None) -> dict[str, str]:
        if text is None:
            return {}
        pairs, _, folder = text.partition(" folder=")
        return dict(pair.split("=", 1) for pair in pairs.split(" ")) | {"folder": folder}


@pytest.fixture(scope="module")
def arguments(desktop: Desktop, tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    """Return the reader of command lines in the setup program."""
    return Arguments(desktop, tmp_path_factory.mktemp("arguments"))


def test_options_in_every_order(arguments: Arguments) -> None:
    """No option is lost, at any place, before or after an address of any form."""
    everything = dict.fromkeys(OPTIONS.values(), "1") | {"silent": "1", "language": "1041"}
    lines = []
    for number, server in enumerate(SERVERS):
        words = [f"/SERVER={server}", *OPTIONS, "/LANG=ja"][:: 1 if number % 2 else -1]
        lines += [("/S", *words[first:], *words[:first]) for first in range(len(words))]
    for line, (code, understood) in zip(lines, arguments.read(*lines), strict=True):
        server = next(word for word in line if word.startswith("/SERVER=")).partition("=")[2]
        assert (code, understood | everything) == (0, understood), line
        assert understood["server"] == server, line
    [(code, understood)] = arguments.read(["/S", "/SERVER=gw"])
    assert (code, understood["server"]) == (0, "gw")
    assert "1" not in {understood[meaning] for meaning in OPTIONS.values()}


REFUSED = {
    "unknown, behind a server": ["/S", "/SERVER=gw:8443", "/BOGUS"],
    "unknown, before a server": ["/S", "/BOGUS", "/SERVER=gw"],
    "an address with a blank": ["/S", "/SERVER=bad address"],
    "/s in small letters": ["/s"],
    "a folder in quotation marks": ["/S", r"/D=C:\Other Place"],
    "no option at all": ["/S", "gw.example.com"],
}


def test_what_cannot_be_used_is_refused(arguments: Arguments) -> None:
    """A wrong option ends with 87, without a window; `/D=` takes the rest of the line."""
    answers = dict(zip(REFUSED, arguments.read(*REFUSED.values()), strict=True))
    assert answers == dict.fromkeys(REFUSED, (87, {}))
    [(code, understood)] = arguments.read(["/S", "/ALLUSERS", r"/D=C:\Other"])
    assert (code, understood["all"], understood["folder"]) == (0, "1", r"C:\Other")
