"""`users`: list, rename, disable, enable and unlock, with the audit trail."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from protocol import messages
from tests.support.browser_seed import seed
from tests.support.gateway_client import Client
from tests.support.installation import ADMIN, P1, P2, PROGRAM, Installation


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return an installation with an administrator and a user."""
    made = Installation(tmp_path_factory.mktemp("server") / "data")
    made.create()
    seed(made, 'user tanaka "田中 一郎"')
    return made


def enabled(installation: Installation) -> dict[object, object]:
    return dict(installation.query("SELECT username, is_active FROM console_user"))


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ("list --account missing", "", "no account missing"),
        ("disable --user missing --yes", "", "no user missing"),
        (f"disable --user {ADMIN} --yes", "", "last enabled administrator"),
        ("disable --user tanaka", "ｎ\n", "Nothing was done"),
        ("disable --account ACME", "", "Nothing was done"),
        ("rename --account ACME --to=", "", "cannot be blank"),
        (f"rename --user tanaka --to {'x' * 151}", "", "150"),
        ("unlock --user missing", "", "no user missing"),
    ],
)
def test_refusals(installation: Installation, arguments: str, stdin: str, said: str) -> None:
    """A clear answer, and nothing is changed or recorded."""
    events = installation.query("SELECT count(*) FROM console_auditevent")
    done = installation.run("users", *arguments.split(" "), stdin=stdin)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert enabled(installation) == {ADMIN: 1, "tanaka": 1}
    assert installation.query("SELECT count(*) FROM console_auditevent") == events


def test_each_action(tmp_path: Path) -> None:
    """Each does what it says and is in the trail of the account."""
    installation = Installation(tmp_path / "data")
    installation.create()
    seed(installation, 'user tanaka "田中 一郎"')
    [(account,)] = installation.query("SELECT name FROM console_account")

    def users(*arguments: str, stdin: str = "") -> str:
        done = installation.run("users", *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"{account}\t2 of 2 users enabled" in users("list")
    assert "tanaka\tgeneral user\t田中 一郎\n" in users("list", "--account", str(account))
    users("disable", "--user=ｔａｎａｋａ", stdin="ｙ\n")
    assert enabled(installation) == {ADMIN: 1, "tanaka": 0}
    users("disable", "--account", str(account), "--yes")
    assert enabled(installation) == {ADMIN: 0, "tanaka": 0}
    assert "stay disabled, because they were so before: 1" in users(
        "enable", "--account", str(account)
    )
    assert enabled(installation) == {ADMIN: 1, "tanaka": 0}  # who was disabled before
    users("enable", "--user=tanaka")
    assert enabled(installation) == {ADMIN: 1, "tanaka": 1}
    users("rename", "--user=tanaka", "--to=新田 一郎")
    users("rename", "--account=ａｃｍｅ", "--to=\033[31m株式会社\tここな")
    assert installation.query("SELECT name FROM console_account") == [("[31m株式会社 ここな",)]
    assert "was unlocked" in users("unlock", "--user=tanaka")
    trail = installation.query(
        "SELECT action, subject_name FROM console_auditevent"
        " WHERE actor_id IS NULL AND account_id IS NOT NULL ORDER BY id"
    )
    assert trail[-7:] == [
        ("user.disabled", "tanaka"),
        ("user.disabled", ADMIN),
        ("user.enabled", ADMIN),
        ("user.enabled", "tanaka"),
        ("user.edited", "tanaka"),
        ("account.renamed", ""),
        ("login.unlocked", "tanaka"),
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ('"$@" reset-password --user=tanaka <&-', "Nothing was done"),
        ('"$@" reset-password --user=tanaka --yes <&-', "A password is needed"),
        (r"""printf '\377\n' | "$@" reset-password --user=tanaka --yes""", "half-width letters"),
        ('"$@" users list --account=ACME | true', ""),
        ('"$@" users list --account=ACME >&-', ""),
        ('PYTHONIOENCODING=ascii "$@" users list --account=ACME >&2', r"\u7530\u4e2d"),
        (r'"$@" users list --account="$(printf "\377")"', "bytes that are no text"),
    ],
)
def test_odd_terminals(installation: Installation, command: str, said: str) -> None:
    """Closed or broken streams and other character sets: a clear answer, nothing is changed."""
    before = installation.query("SELECT password FROM console_user")
    done = subprocess.run(
        ["sh", "-c", command, "sh", *PROGRAM],
        env={"PYTHONIOENCODING": "utf-8:strict", **installation.environment()},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    text = done.stderr.decode()
    assert said in text
    assert "Traceback" not in text
    assert "Error" not in text
    assert installation.query("SELECT password FROM console_user") == before


async def test_a_running_server_notices(tmp_path: Path) -> None:
    """With SQLite, too, a PC that waits is disconnected, and told of a reset password, at once."""
    installation = Installation(tmp_path / "data")
    installation.create()
    installation.add_user("tanaka")
    with installation.serving() as server:
        async with Client(server.gateway) as pc:
            await pc.log_in("tanaka", P1)
            reset = ("reset-password", "--user=tanaka", "--yes")
            await asyncio.to_thread(installation.run, *reset, stdin=f"{P2}\n")
            assert (await pc.expect(messages.PasswordStatus)).password == "old"
            disable = ("users", "disable", "--user=tanaka", "--yes")
            await asyncio.to_thread(installation.run, *disable)
            assert (await pc.expect(messages.Bye)).reason == "disabled"
