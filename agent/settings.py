"""The client's settings. The order of sources: policy, environment, user's file, setup, defaults.

Every source uses the same keys: `server` in the file is `COCONOWORK_SERVER` in the environment
and the value `Server` in the registry. A bad value in file or environment is an error. A bad
value in the registry, which the user cannot change, is reported, and the next source counts.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from agent.address import Translate, is_console_url, normalise_server, read_proxy
from agent.core.credentials import Identity
from agent.errors import UserError
from agent.files import insist, read_file, replace_file
from agent.paths import Paths, make_private
from protocol.names import is_name, normalise_name
from protocol.text import N_, clean

log = logging.getLogger(__name__)

ENV_PREFIX = "COCONOWORK_"
POLICY_KEY = r"Software\Policies\Coconowork\Client"
SETUP_KEY = r"Software\Coconowork\Client"

MAX_BYTES = 1_000_000  # many times more than settings need; a damaged file can have any size

Language = Literal["auto", "ja", "en"]
Registry = Callable[[str], Iterator[tuple[str, Mapping[str, object]]]]
"""Takes a key below HKLM and HKCU. Yields the whole key's name and its values, HKLM first."""


_one_at_a_time = Lock()  # held while a file is read, changed and written, so that no change is lost


class SettingsError(UserError):
    """A setting cannot be used; `message` says where it is set and what is allowed."""


class BrokenSettings(SettingsError):
    """The user's file is not a settings file at all."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in use. `origins` has the place of every key that is set."""

    server: str | None = None
    user: str | None = None
    language: Language = "auto"
    proxy: str = field(default="system", repr=False)  # or `none`, or a URL, perhaps with a login
    console_url: str | None = None
    log_level: str = "info"
    allow_quit: bool = True
    autostart: bool | None = None  # None keeps what the setup program and the user chose
    keep_awake: bool = False  # keep the PC from going to sleep, on mains power
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    enforced: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """Keys that policy sets: the user cannot change them."""
    problems: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Values in the registry that cannot be used, each with its place and what is allowed."""
    unknown: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Names in the registry that this version does not know."""
    last_login: Identity | None = field(default=None, repr=False, compare=False)
    """User and server in the user's file, which every login writes."""

    @property
    def identity(self) -> Identity | None:
        if self.server is None or self.user is None:
            return None
        return Identity(server=self.server, user=self.user)

    @property
    def only_server(self) -> str | None:
        """Return the only server that policy allows; None when policy sets none."""
        return self.server if "server" in self.enforced else None

    @property
    def only_user(self) -> str | None:
        """Return the only user that policy allows; None when policy sets none."""
        return self.user if "user" in self.enforced else None

    @property
    def moved(self) -> tuple[Identity, Identity] | None:
        """Return the last login and its new identity, when policy has changed the server since."""
        last, now = self.last_login, self.identity
        if last is None or now is None or self.only_server is None:
            return None
        return (last, now) if last.user == now.user and last.server != now.server else None


def load(
    paths: Paths,
    *,
    environ: Mapping[str, str] = os.environ,
    registry: Registry | None = None,
    translate: Translate = str,
) -> Settings:
    """Return the settings. Raise SettingsError when a source has a value that cannot be used."""
    reader = _Reader(translate)
    for key, values in (registry or read_registry)(POLICY_KEY):
        reader.add_registry(key, values, enforced=True)
    reader.add_environment(environ)
    reader.add_file(paths)
    for key, values in (registry or read_registry)(SETUP_KEY):
        # The setup program keeps values of its own in the same key.
        reader.add_registry(key, {n: v for n, v in values.items() if n.lower() == "server"})
    return Settings(
        **reader.values,
        origins=reader.origins,
        enforced=frozenset(reader.enforced),
        problems=tuple(reader.problems),
        unknown=tuple(reader.unknown),
        last_login=reader.last_login,
    )


def save(paths: Paths, changes: Mapping[str, str | bool], translate: Translate = str) -> None:
    """Write keys to the user's file, and keep the rest. Raise OSError or SettingsError."""
    reader = _Reader(translate)
    checked = {key: reader.check(key, value, where=key) for key, value in changes.items()}
    import tomlkit

    with _one_at_a_time:
        text, _ = _read(paths, translate)
        document = tomlkit.parse(text)
        for key, value in checked.items():
            if document.get(key) != value:
                document[key] = value
        if (new := tomlkit.dumps(document)) != text:
            make_private(paths.config_file.parent)
            replace_file(paths.config_file.resolve(), new.encode())
            keep_copy(paths)


def save_identity(paths: Paths, identity: Identity) -> None:
    """Save user and server. Raise as `save`."""
    save(paths, {"server": identity.server, "user": identity.user})


def copy_of(paths: Paths) -> Path:
    """Return the path of the copy of the user's file, beside it."""
    return paths.config_file.with_name(f"{paths.config_file.name}.last")


def keep_copy(paths: Paths) -> None:
    """Copy the user's file, after it was read or written without error. Never raise."""
    try:
        good, copy = read_file(paths.config_file, MAX_BYTES), copy_of(paths)
        if good and (not copy.exists() or read_file(copy, MAX_BYTES) != good):
            replace_file(copy, good)
    except FileNotFoundError:
        pass  # there is no file
    except OSError as exc:
        log.warning("no copy of the settings was made: %s", exc.strerror)


def set_aside(paths: Paths) -> tuple[Path, bool]:
    """Rename the broken file; return its new path, and whether the copy has taken its place.

    A file that is too large is cut off. Raise OSError; then the broken file is where it was.
    """
    file, good = paths.config_file.resolve(), _good_copy(paths)
    aside = file.with_name(f"{file.name}.broken")
    replace_file(aside, read_file(file, MAX_BYTES))
    if good is None:
        file.unlink()
    else:
        replace_file(file, good)
    return aside, good is not None


def _good_copy(paths: Paths) -> bytes | None:
    """Return the copy's content, None when the copy is missing or broken."""
    try:
        data = read_file(copy_of(paths), MAX_BYTES)
        tomllib.loads(data.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if 0 < len(data) <= MAX_BYTES else None


def normalise_user(text: str, translate: Translate = str) -> str:
    """Return a typed user name as the server knows it. Raise SettingsError."""
    return str(_Reader(translate).check("user", text, where="user"))


def read_registry(key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the whole name and the values of `key` in HKLM, then HKCU; nothing on Linux."""
    if sys.platform != "win32":
        return
    import winreg

    def values_in(hive: int) -> dict[str, object]:
        values: dict[str, object] = {}
        with winreg.OpenKey(hive, key, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as handle:
            for index in range(winreg.QueryInfoKey(handle)[1]):
                value_name, value, kind = winreg.EnumValue(handle, index)
                if kind == winreg.REG_EXPAND_SZ:
                    value = winreg.ExpandEnvironmentStrings(value)
                if value_name:
                    values[value_name] = value
        return values

    for name, hive in (("HKLM", winreg.HKEY_LOCAL_MACHINE), ("HKCU", winreg.HKEY_CURRENT_USER)):
        try:
            values = insist(partial(values_in, hive))
        except FileNotFoundError:
            continue
        except OSError as exc:
            log.warning("%s\\%s cannot be read: %s", name, key, exc.strerror)
        else:
            yield rf"{name}\{key}", values


class _Reader:
    """Collect values. The first source that sets a key wins, and all sources are checked."""

    def __init__(self, translate: Translate) -> None:
        self._translate = translate
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.enforced: set[str] = set()
        self.problems: list[str] = []
        self.unknown: list[str] = []
        self.last_login: Identity | None = None

    def add_registry(
        self, key: str, values: Mapping[str, object], *, enforced: bool = False
    ) -> None:
        known = {name.lower(): setting for setting, name in POLICY_NAMES.items()}
        for name, value in values.items():
            where = rf"{key}\{name}"
            if name.lower() not in known:  # set by newer policy templates
                self.unknown.append(where)
                continue
            try:
                self._add(name.lower(), value, where, known)
            except SettingsError as exc:
                self.problems.append(exc.message)
                continue
            if enforced:
                self.enforced.add(known[name.lower()])

    def add_environment(self, environ: Mapping[str, str]) -> None:
        known = {ENV_PREFIX + setting.upper(): setting for setting in _CHECKS}
        for name, text in environ.items():
            # COCONOWORK_SERVER_… are variables of a server on the same machine.
            is_ours = name.startswith(ENV_PREFIX) and not name.startswith(f"{ENV_PREFIX}SERVER_")
            if is_ours and name != f"{ENV_PREFIX}HOME" and (text or name not in known):
                self._add(name, text, name, known)

    def add_file(self, paths: Paths) -> None:
        known = {key: key for key in _CHECKS}  # the file uses the names of Settings
        own = {
            key: self._add(key, value, f"{paths.config_file}: {clean(key, 80)}", known)
            for key, value in _read(paths, self._translate)[1].items()
        }
        if "server" in own and "user" in own:
            self.last_login = Identity(server=str(own["server"]), user=str(own["user"]))

    def check(self, key: str, value: object, *, where: str) -> object:
        """Return the value in the form that Settings has. Raise SettingsError."""
        read, allowed = _CHECKS[key]
        try:
            if not isinstance(value, str) and read is not _flag:
                raise ValueError  # noqa: TRY301 - every unusable value is treated alike
            return read(str(value).strip(), self._translate)
        except UserError as exc:
            raise self._error(f"{where}: {exc.message}") from None
        except (ValueError, LookupError):
            sentence = self._translate("{where}: allowed is {allowed}.")
            allowed = self._translate(allowed)
            raise self._error(sentence.format(where=where, allowed=allowed)) from None

    def _add(self, name: str, value: object, where: str, known: Mapping[str, str]) -> object:
        """Check a value by its name in `known`; keep it unless a stronger source has the key."""
        if name not in known:
            sentence = self._translate("{where}: there is no such setting; there are {names}.")
            raise self._error(sentence.format(where=where, names=", ".join(sorted(known))))
        key = known[name]
        checked = self.check(key, value, where=where)
        if key not in self.values:
            self.values[key] = checked
            self.origins[key] = where
        return checked

    def _error(self, message: str) -> SettingsError:
        return SettingsError(self._translate("A setting cannot be used"), message)


def _read(paths: Paths, translate: Translate) -> tuple[str, dict[str, Any]]:
    """Return the user's file as text and as a table. Raise SettingsError."""
    title, file, text, line = translate("The settings cannot be read"), paths.config_file, "", 0
    try:
        data = insist(lambda: read_file(file, MAX_BYTES))
        if len(data) > MAX_BYTES:
            problem = N_("{file}: the file is too large.")
        elif not data and copy_of(paths).exists():
            # Some disks leave an empty file after a power cut. The client never writes one.
            problem = N_("{file}: the file is empty.")
        else:
            # Windows' editors put a byte order mark in front of UTF-8.
            text = data.decode("utf-8-sig")
            return text, tomllib.loads(text)
    except FileNotFoundError:
        return "", {}
    except OSError as exc:
        sentence = translate("{file}: the file cannot be read") + f" ({exc.strerror})."
        raise SettingsError(title, sentence.format(file=file)) from None
    except UnicodeDecodeError:
        problem = N_("{file}: the file is not in UTF-8.")
    except (ValueError, RecursionError) as exc:  # a TOML error, whose text could quote a value
        problem = N_("{file}, line {line}: this is not TOML.")
        found = re.search(r"at line (\d+)", str(exc))
        line = int(found[1]) if found else text.count("\n") + 1
    raise BrokenSettings(title, translate(problem).format(file=file, line=line))


def _one_of(*words: str) -> Callable[[str, Translate], str]:
    return lambda text, _: words[words.index(text.lower())]


def _user(text: str, _: Translate) -> str:
    if not is_name(name := normalise_name(text)):
        raise ValueError
    return name


def _proxy(text: str, _: Translate) -> str:
    return text.lower() if text.lower() in {"system", "none"} else read_proxy(text)


def _console_url(text: str, _: Translate) -> str:
    if not is_console_url(text):
        raise ValueError
    return text


def _flag(text: str, _: Translate) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


_CHECKS: dict[str, tuple[Callable[[str, Translate], object], str]] = {
    "server": (normalise_server, N_("a text such as wss://gw.example.com")),
    "user": (_user, N_("a user name of 1 to 64 characters")),
    "language": (_one_of("auto", "ja", "en"), N_("auto, ja or en")),
    "proxy": (
        _proxy,
        N_("system, none, or a URL with a port, such as http://proxy.example.com:8080"),
    ),
    "console_url": (_console_url, N_("a URL that begins with https://")),
    "log_level": (
        _one_of("debug", "info", "warning", "error"),
        N_("debug, info, warning or error"),
    ),
    **dict.fromkeys(("allow_quit", "autostart", "keep_awake"), (_flag, N_("true or false"))),
}
"""Settings, each with the function that reads its value, and the allowed values in words."""
POLICY_NAMES = {setting: setting.title().replace("_", "") for setting in _CHECKS}
"""Settings, and the names of their values in the registry: `ConsoleUrl` for `console_url`."""
assert set(_CHECKS) == {f.name for f in fields(Settings) if f.compare}  # noqa: S101 - all have a check
