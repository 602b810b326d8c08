"""How the setup program reads options and addresses."""

from __future__ import annotations

import string
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.address import normalise_server
from agent.errors import UserError
from installer.package import SETUP
from installer.wine import windows_path
from tests.support.setup_program import exit_code
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


SERVERS = ["gw", "gw.example.com:8443", "wss://gw.example.com/x", "[2001:db8::1]", "日本語.example"]
OPTIONS = {"/ALLUSERS": "all", "/NOAUTOSTART": "noautostart", "/FORCE": "force", "/START": "start"}
REFUSED = {
    "unknown, behind a server": ["/S", "/SERVER=gw:8443", "/BOGUS"],
    "unknown, before a server": ["/S", "/BOGUS", "/SERVER=gw"],
    "an address with a blank": ["/S", "/SERVER=bad address"],
    "/s in small letters": ["/s"],
    "a folder in quotation marks": ["/S", r"/D=C:\Other Place"],
    "no option at all": ["/S", "gw.example.com"],
}


def client_takes(address: str) -> bool:
    """Return whether the client accepts this address."""
    try:
        normalise_server(address)
    except UserError:
        return False
    return True


def compiled(name: str, folder: Path) -> Path:
    """Compile a program of `INSIDE` with the setup program's code. Return its path."""
    exe = folder / f"{name}.exe"
    command = ["makensis", "-V1", "-WX", "-INPUTCHARSET", "UTF8", f"-DOUT={exe}", f"-DHERE={SETUP}"]
    subprocess.run([*command, str(INSIDE / f"{name}.nsi")], check=True)
    return exe


def test_addresses(desktop: Desktop, tmp_path: Path) -> None:
    """The setup program and the client accept each valid address and refuse each wrong one.

    The setup program accepts nothing that the client refuses, and stores an address that was typed
    with a Japanese keyboard in ASCII.
    """
    addresses = [*GOOD, *BAD, *MIXED, *FOLDED]
    text = "".join(f"{address}\n" for address in addresses)
    (tmp_path / "addresses.txt").write_bytes(text.encode("utf-16-le"))
    assert exit_code(desktop, windows_path(compiled("address", tmp_path))) == 0
    lines = (tmp_path / "verdicts.txt").read_text("utf-16-le").splitlines()
    judged = {
        address: (line.startswith("1"), line[2:])
        for address, line in zip(addresses, lines, strict=True)
    }
    assert [each for each in GOOD if not (judged[each][0] and client_takes(each))] == []
    assert [each for each in BAD if judged[each][0] or client_takes(each)] == []
    assert [each for each in MIXED if judged[each][0] and not client_takes(each)] == []
    assert [judged[each] for each in FOLDED] == [(True, form) for form in FOLDED.values()]


Read = Callable[..., tuple[int, dict[str, str]]]


@pytest.fixture(scope="module")
def read(desktop: Desktop, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """`read(words)` returns the exit code of that command line, and the options it has read."""
    exe = compiled("arguments", tmp_path_factory.mktemp("arguments"))
    answer = exe.with_suffix(".txt")

    def read(words: list[str]) -> tuple[int, dict[str, str]]:
        answer.unlink(missing_ok=True)
        code = exit_code(desktop, windows_path(exe), *words)
        if not answer.exists():
            return code, {}
        pairs, _, folder = answer.read_text("utf-16-le").partition(" folder=")
        return code, {"folder": folder} | dict(pair.split("=", 1) for pair in pairs.split(" "))

    return read


@pytest.mark.parametrize("server", SERVERS)
def test_options_in_every_order(read: Read, server: str) -> None:
    """Options are read at any place, before or after an address of any form."""
    wanted = {"server": server, "silent": "1", "language": "1041"}
    wanted |= dict.fromkeys(OPTIONS.values(), "1")
    words = [f"/SERVER={server}", *OPTIONS, "/LANG=ja"]
    if SERVERS.index(server) % 2:
        words.reverse()
    for first in range(len(words)):
        line = ["/S", *words[first:], *words[:first]]
        code, understood = read(line)
        assert (code, understood | wanted) == (0, understood), line
    code, understood = read(["/S", f"/SERVER={server}"])
    assert (code, understood["server"]) == (0, server)
    assert "1" not in {understood[meaning] for meaning in OPTIONS.values()}


def test_what_cannot_be_used_is_refused(read: Read) -> None:
    """A wrong option ends with 87, without a window; `/D=` takes the rest of the line."""
    answers = {why: read(words) for why, words in REFUSED.items()}
    assert answers == dict.fromkeys(REFUSED, (87, {}))
    code, understood = read(["/S", "/ALLUSERS", r"/D=C:\Other"])
    assert (code, understood["all"], understood["folder"]) == (0, "1", r"C:\Other")
