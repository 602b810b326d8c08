"""Settings: the order of sources, errors of bad values, and what saving keeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent import settings
from agent.core.credentials import Identity
from agent.paths import Paths, find_paths
from agent.settings import POLICY_KEY, SETUP_KEY, Settings, SettingsError, load
from tests.support.places import ROOT

SERVER = "wss://gw.example.com/gateway"
MACHINE, USER = rf"HKLM\{POLICY_KEY}", rf"HKCU\{POLICY_KEY}"
on_unix = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and XDG are Unix's")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return find_paths({"COCONOWORK_HOME": str(tmp_path / "home")})


def write(paths: Paths, text: str | bytes) -> None:
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_bytes(text.encode() if isinstance(text, str) else text)


def registry(values: Mapping[str, Mapping[str, object]]) -> settings.Registry:
    """Return a fake registry; `values` has the values of each full key."""

    def read(key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        wholes = [rf"{hive}\{key}" for hive in ("HKLM", "HKCU")]
        yield from ((whole, values[whole]) for whole in wholes if whole in values)

    return read


def by_policy(paths: Paths, **values: object) -> Settings:
    return load(paths, environ={}, registry=registry({MACHINE: values}))


# --- what is read


def test_the_file(paths: Paths) -> None:
    """Every key of the file is read and normalised, with its place; without a file none is set."""
    assert load(paths, environ={}) == Settings()
    assert Settings().identity is None
    assert not paths.config_file.exists()
    write(
        paths,
        'server = "gw.example.com"\nuser = " tanaka "\nlanguage = "JA"\n'
        'proxy = "http://u:hidden-word@proxy.example.com:8080"\n'
        'console_url = "https://c.example.com"\nlog_level = "debug"\n'
        "allow_quit = false\nautostart = true\nkeep_awake = true\n",
    )
    loaded = load(paths, environ={})
    assert loaded == Settings(
        server=SERVER,
        user="tanaka",
        language="ja",
        proxy="http://u:hidden-word@proxy.example.com:8080",
        console_url="https://c.example.com",
        log_level="debug",
        allow_quit=False,
        autostart=True,
        keep_awake=True,
    )
    assert loaded.identity == Identity(server=SERVER, user="tanaka")
    assert loaded.origins["server"] == f"{paths.config_file}: server"
    assert loaded.enforced == frozenset()
    assert "hidden-word" not in repr(loaded)


def test_who_goes_before_whom(paths: Paths) -> None:
    """The order is machine policy, user policy, environment, file, setup program."""
    setup = {rf"HKLM\{SETUP_KEY}": {"Server": "setup.example.com", "Version": "1.0"}}
    # Empty means not set; variables of the server and of the profile are ignored.
    environ = {"COCONOWORK_SERVER": "", "COCONOWORK_SERVER_PORT": "8080", "COCONOWORK_HOME": "/x"}

    def host(values: Mapping[str, Mapping[str, object]] = {}) -> str:
        loaded = load(paths, environ=environ, registry=registry({**setup, **values}))
        assert loaded.server is not None
        return loaded.server.removeprefix("wss://").removesuffix("/gateway")

    assert host() == "setup.example.com"
    write(paths, 'server = "file.example.com"')
    assert host() == "file.example.com"
    environ |= {"COCONOWORK_SERVER": "environ.example.com", "COCONOWORK_ALLOW_QUIT": "false"}
    assert host() == "environ.example.com"
    by_user = {USER: {"server": "user.example.com"}}
    assert host(by_user) == "user.example.com"
    assert host({**by_user, MACHINE: {"SERVER": "machine.example.com"}}) == "machine.example.com"
    assert load(paths, environ=environ).allow_quit is False


def test_policy(paths: Paths) -> None:
    """A wrong value of a policy is reported with its place, and the next source is used."""
    values: dict[str, dict[str, object]] = {
        MACHINE: {"Server": "b c", "Proxy": b"hidden-word", "Language": "fr", "AllowQuit": 0},
        USER: {"Language": "ja", "Autostart": 1, "FromTheFuture": 1},
    }
    write(paths, 'server = "file.example.com"\nproxy = "none"')
    loaded = load(paths, environ={}, registry=registry(values))
    assert (loaded.server, loaded.proxy) == ("wss://file.example.com/gateway", "none")
    assert (loaded.allow_quit, loaded.autostart, loaded.language) == (False, True, "ja")
    assert loaded.enforced == {"allow_quit", "autostart", "language"}
    assert loaded.origins["allow_quit"] == rf"{MACHINE}\AllowQuit"
    assert loaded.unknown == (rf"{USER}\FromTheFuture",)
    for place, problem in zip(("Server", "Proxy", "Language"), loaded.problems, strict=True):
        assert rf"{MACHINE}\{place}: " in problem
    assert "hidden-word" not in str(loaded.problems)


def test_a_server_moved_by_policy_is_known_as_such(paths: Paths) -> None:
    """Policy may move the server of the last login, in the user's file, for the same user."""
    write(paths, 'server = "old.example.com"\nuser = "tanaka"')
    old, new = (
        Identity(server=f"wss://{name}.example.com/gateway", user="tanaka")
        for name in ("old", "new")
    )
    assert by_policy(paths, Server="new.example.com").moved == (old, new)
    assert by_policy(paths, Server="new.example.com", User="suzuki").moved is None
    assert by_policy(paths, Server="old.example.com").moved is None
    assert load(paths, environ={"COCONOWORK_SERVER": "new.example.com"}).moved is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sever = 'x'", ["sever", "no such setting", "server"]),
        ("server = 1", ["server", "allowed is a text such as wss://"]),
        ("server = 'ws://gw.example.com'", ["server", "use wss://"]),
        ("user = '田中'", ["user", "1 to 64"]),
        ("language = 'fr'", ["language", "auto, ja or en"]),
        ("proxy = 'hidden-word'", ["proxy", "system, none"]),
        ("console_url = 'http://c.example.com'", ["console_url", "https://"]),
        ("allow_quit = 2", ["allow_quit", "true or false"]),
        ("[server]\nhost = 'x'", ["server", "a text such as"]),
    ],
)
def test_what_cannot_be_used_is_named(paths: Paths, text: str, words: list[str]) -> None:
    """An unusable value raises an error with file, key and allowed values, not the value."""
    write(paths, text.replace("'", '"'))
    with pytest.raises(SettingsError) as caught:
        load(paths, environ={})
    assert caught.value.__cause__ is None
    for word in (str(paths.config_file), *words):
        assert word in caught.value.message
    assert "hidden-word" not in caught.value.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'server = "x"\nuser = hidden-word\n', "line 2"),
        (b'\n\nserver = "hidden-word', "line 3"),
        (b"[" * 5000, "line 1"),
        ("user = '田中'".encode("cp932"), "UTF-8"),
        (b"", "empty"),
        (b"#" * 1_000_001, "too large"),
    ],
)
def test_a_broken_file_is_not_replaced(paths: Paths, data: bytes, said: str) -> None:
    """A file that is no TOML or no text is named, and is not replaced when a setting is saved."""
    settings.save(paths, {"user": "suzuki"})  # an empty file beside a copy counts as broken
    write(paths, data)
    for use in (lambda: load(paths, environ={}), lambda: settings.save(paths, {"user": "tanaka"})):
        with pytest.raises(settings.BrokenSettings) as caught:
            use()
        assert said in caught.value.message
        assert "hidden-word" not in caught.value.message
    assert paths.config_file.read_bytes() == data


@pytest.mark.parametrize(
    ("variable", "said"), [("LANGUAGE", ": allowed is auto"), ("SEVER", ": there is no .*_SERVER")]
)
def test_a_variable_that_cannot_be_used_is_named(paths: Paths, variable: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"COCONOWORK_{variable}{said}"):
        load(paths, environ={f"COCONOWORK_{variable}": "xx"})


@on_unix
@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
def test_what_is_no_file_is_named(paths: Paths, make: str) -> None:
    """A folder or a pipe in place of the settings file is refused at once."""
    paths.config_file.parent.mkdir(parents=True)
    getattr(os, make)(paths.config_file)
    with pytest.raises(SettingsError) as caught:
        load(paths, environ={})
    assert not isinstance(caught.value, settings.BrokenSettings)
    assert str(paths.config_file) in caught.value.message


# --- what is saved


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", 'server = "S"\nuser = "tanaka"\n'),
        (
            b'# mine\nlanguage = "ja"  # because\nuser = "old" # who\n\n# end\n',
            '# mine\nlanguage = "ja"  # because\nuser = "tanaka" # who\n\n# end\nserver = "S"\n',
        ),
        # As Notepad saves it.
        (b"\xef\xbb\xbfserver = 'old'\r\nuser = 'a'\r\n", 'server = "S"\r\nuser = "tanaka"\r\n'),
    ],
)
def test_saving_keeps_what_the_user_wrote(paths: Paths, before: bytes, after: str) -> None:
    """Saving keeps comments, order and other keys, and replaces the top-level identity."""
    write(paths, before)
    settings.save_identity(paths, Identity(server=SERVER, user="tanaka"))
    assert paths.config_file.read_bytes().decode() == after.replace('"S"', f'"{SERVER}"')


def test_saving_checks(paths: Paths) -> None:
    """`save` refuses a value that `load` would refuse, and writes nothing."""
    with pytest.raises(SettingsError):
        settings.save(paths, {"user": "tanaka", "server": "ws://gw.example.com"})
    assert not paths.config_file.exists()


@on_unix
def test_saving_is_private_and_whole(paths: Paths) -> None:
    """The folder has mode 0700, the files 0600, and what is unchanged is not written again."""
    identity = Identity(server=SERVER, user="tanaka")
    settings.save_identity(paths, identity)
    assert paths.config_file.parent.stat().st_mode & 0o777 == 0o700
    files = {paths.config_file, settings.copy_of(paths)}
    assert set(paths.config_file.parent.iterdir()) == files
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    before = paths.config_file.stat().st_ino
    settings.save_identity(paths, identity)
    assert paths.config_file.stat().st_ino == before


@on_unix
def test_saving_follows_a_link(paths: Paths, tmp_path: Path) -> None:
    """Saving through a link writes the file that the link points to."""
    (elsewhere := tmp_path / "client.toml").write_text("# kept here\n")
    paths.config_file.parent.mkdir(parents=True)
    paths.config_file.symlink_to(elsewhere)
    settings.save(paths, {"user": "tanaka"})
    assert paths.config_file.is_symlink()
    assert 'user = "tanaka"' in elsewhere.read_text()


# --- names and places


def test_user_names() -> None:
    """User names are normalised; text that cannot be a name raises an explanation."""
    assert settings.normalise_user("ｔａｎａｋａ\u200b \n") == "tanaka"
    for bad in ("  ", "x" * 65, "a\nb", "田中"):
        with pytest.raises(SettingsError):
            settings.normalise_user(bad)


@on_unix
def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All places are below COCONOWORK_HOME or in the XDG folders; `places` creates none."""
    for name in ("config", "state"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    found = find_paths()
    assert found.config_file == tmp_path / "config" / "coconowork" / "client.toml"
    assert found.state_dir.is_relative_to(tmp_path / "state")
    assert found.log_file.is_relative_to(tmp_path / "state")
    own = find_paths({"COCONOWORK_HOME": str(tmp_path / "p")})
    everything = [own.config_file, own.state_dir, own.log_dir, own.lock_file]
    assert all(path.is_relative_to(tmp_path / "p") for path in everything)
    assert list(tmp_path.iterdir()) == []
    relative = find_paths({"COCONOWORK_HOME": "p"})
    assert relative.state_dir == Path(os.getcwd(), "p", "state")  # noqa: PTH109 - says what is meant


def test_every_key_is_documented() -> None:
    """docs/settings.md has one row for each key: in the file, as variable, in the registry."""
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for key, name in settings.POLICY_NAMES.items():
        assert f"| `{key}` | `COCONOWORK_{key.upper()}` | `{name}` |" in text
    assert POLICY_KEY in text
    assert SETUP_KEY in text
