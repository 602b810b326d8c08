"""What an operator can set: one frozen `Config` from the environment and an optional TOML file.

The environment (`COCONOWORK_SERVER_PORT=8080`) goes before the file (`port = 8080`), the file
before the defaults. The file is the one that `COCONOWORK_SERVER_CONFIG` names. No secret is set
here: the secret key and a database's password lie in files of their own.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from platformdirs import user_data_path

from server.addresses import Network
from server.cluster import database

PREFIX = "COCONOWORK_SERVER_"


class ConfigError(Exception):
    """A setting that cannot be used; the text names where it stands and what is allowed."""


class _Misplaced(ValueError):
    """A value that is more than wrong; the text says what to do instead."""


def _default_data_dir() -> Path:
    return user_data_path("coconowork-server", appauthor=False)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of one server process. Each field is a key of the file."""

    data_dir: Path = field(default_factory=_default_data_dir)
    """Where the database and the secret key lie, unless they are set themselves."""
    database: str = ""
    """Path of the SQLite file, or empty for `coconowork.sqlite3` in `data_dir`; or PostgreSQL,
    `postgresql://user@host/name`, which several nodes can share."""
    secret_key_file: Path | None = None
    """Made at the first start when it is missing."""
    host: str = "127.0.0.1"
    port: int = 8080
    """Of the console; 0 takes a free one."""
    gateway_port: int = 8081
    """Of the gateway that clients wait on; 0 takes a free one."""
    gateway_name: str = ""
    """Differs between gateways that share a database; empty for host name and port."""
    role: str = "both"
    """What this process runs: `gateway`, `console` or `both`."""
    metrics: str = ""
    """`host:port` where Prometheus finds `/metrics`; empty for nowhere."""
    public_url: str = ""
    """Where people reach the console; empty for the address that it listens on."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[Network, ...] = ()
    """Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    connections_per_address: int = 5_000
    """Clients that may come from one address; of these, a tenth at once before they log in."""
    min_client_version: str = ""
    """Clients older than this are told to update; empty lets all in."""
    time_zone: str = "Asia/Tokyo"
    language: str = "ja"
    log_level: str = "info"

    @property
    def is_postgresql(self) -> bool:
        """Whether `database` is an address of PostgreSQL, not a file."""
        return self.database.startswith(database.SCHEMES)

    @property
    def runs_gateway(self) -> bool:
        return self.role != "console"

    @property
    def runs_console(self) -> bool:
        return self.role != "gateway"

    @property
    def database_path(self) -> Path:
        """The SQLite file, unless `is_postgresql`."""
        return Path(self.database) if self.database else self.data_dir / "coconowork.sqlite3"

    @property
    def secret_key_path(self) -> Path:
        """The file that holds the secret key."""
        beside = self.data_dir if self.is_postgresql else self.database_path.parent
        return self.secret_key_file or beside / "secret_key"

    @property
    def console_url(self) -> str:
        """Where people reach the console, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"

    @property
    def is_https(self) -> bool:
        """Whether people reach the console by https."""
        return self.console_url.startswith("https://")


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(environ: Mapping[str, str] = os.environ, /, **overrides: object) -> Config:
    """Read environment and file; `overrides` (from the command line) go before both.

    Raise ConfigError, naming the key and what is allowed, for whatever cannot be used.
    """
    values: dict[str, object] = {}
    name = environ.get(PREFIX + "CONFIG")
    if name:
        values.update(_from_file(Path(name)))
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == PREFIX + "CONFIG":
            continue
        key = variable.removeprefix(PREFIX).lower()
        if key not in _PARSERS:
            raise ConfigError(f"{variable}: no such setting; there are {_known(PREFIX)}")
        values[key] = _parse(key, text, where=variable)
    for key, value in overrides.items():
        if value is not None:
            values[key] = _parse(key, value, where=f"--{key.replace('_', '-')}")
    return Config(**cast("dict[str, Any]", values))


_current: Config | None = None


def current() -> Config:
    """The settings of this process: what `use` was given, else loaded at the first call."""
    global _current  # noqa: PLW0603 - Django's settings are one a process as well
    if _current is None:
        _current = load()
    return _current


def use(config: Config) -> None:
    """Set this process's settings; before Django is set up."""
    global _current  # noqa: PLW0603 - see above
    _current = config


def _from_file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from None
    except (ValueError, RecursionError) as exc:  # also a number beyond all bounds
        raise ConfigError(f"{path}: not a TOML file: {exc}") from None
    for key in table:
        if key not in _PARSERS:
            raise ConfigError(f"{path}: {key}: no such setting; there are {_known()}")
    return {key: _parse(key, value, where=f"{path}: {key}") for key, value in table.items()}


def _known(prefix: str = "") -> str:
    return ", ".join(prefix + key.upper() if prefix else key for key in _PARSERS)


def _parse(key: str, value: object, *, where: str) -> object:
    parser, allowed = _PARSERS[key]
    try:
        return parser(value)
    except _Misplaced as exc:
        raise ConfigError(f"{where}: {exc}") from None
    except (ValueError, TypeError):
        raise ConfigError(f"{where}: allowed is {allowed}") from None


def _text(value: object) -> str:
    if not isinstance(value, str) or any(ord(c) < ord(" ") for c in value):
        raise ValueError
    return value


def _nonempty(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise ValueError
    return text


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_nonempty(value)).expanduser()


def _number(lowest: int, highest: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeError
        number = int(value)
        if not lowest <= number <= highest:
            raise ValueError
        return number

    return parse


def _url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    if not text:
        return text
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ValueError
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError
    return text


def _networks(value: object) -> tuple[Network, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(ipaddress.ip_network(network) for network in value)


def _version(value: object) -> str:
    text = _text(value)
    if text and not all(part.isascii() and part.isdigit() for part in text.split(".")):
        raise ValueError
    return text


def _name(value: object) -> str:
    text = _text(value)
    if len(text) > 64:
        raise ValueError
    return text


def _zone(value: object) -> str:
    text = _nonempty(value)
    if text not in available_timezones():
        raise ValueError
    ZoneInfo(text)
    return text


def _database(value: object) -> str:
    text = _text(value)
    if text.startswith(database.SCHEMES):
        if set(database.SECRETS) & set(database.parse_url(text)):
            raise _Misplaced(
                "a password does not belong into an address, which others can see: write "
                "host:port:name:user:password to a file that only the server reads, and name it "
                "with ?passfile=FILE; or let PostgreSQL know the system's user (peer)"
            )
        return text
    if "://" in text:
        raise ValueError
    return str(Path(text).expanduser()) if text else ""


def _host_and_port(value: object) -> str:
    text = _text(value)
    if text:
        split_address(text)
    return text


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[IPv6]:port`. Raise ValueError."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.port is None or parts.netloc != address or parts.username:
        raise ValueError
    return parts.hostname, parts.port


def _one_of(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return parse


_PARSERS: dict[str, tuple[Callable[[object], object], str]] = {
    "data_dir": (_path, "a folder"),
    "database": (_database, "the path of an SQLite file, or postgresql://user@host/name"),
    "secret_key_file": (_path, "a file"),
    "host": (_nonempty, "an address or host name to listen on"),
    "port": (_number(0, 65_535), "a number from 0 to 65535"),
    "gateway_port": (_number(0, 65_535), "a number from 0 to 65535"),
    "gateway_name": (_name, "a name of at most 64 characters"),
    "role": (_one_of("both", "gateway", "console"), "both, gateway or console"),
    "metrics": (_host_and_port, "host:port, such as 127.0.0.1:9100, or nothing"),
    "public_url": (_url, "an address https://host[:port] (http:// on loopback) without a path"),
    "tls_cert": (_path, "a certificate file (PEM)"),
    "tls_key": (_path, "a key file (PEM)"),
    "trusted_proxies": (_networks, "a list of addresses or networks, such as 10.0.0.0/8"),
    "connections_per_address": (_number(10, 1_000_000), "a number from 10 to 1000000"),
    "min_client_version": (_version, "a version of numbers and dots, such as 1.2, or nothing"),
    "time_zone": (_zone, "the name of a time zone, such as Asia/Tokyo"),
    "language": (_one_of("ja", "en"), "ja or en"),
    "log_level": (_one_of("debug", "info", "warning", "error"), "debug, info, warning or error"),
}
assert set(_PARSERS) == {each.name for each in fields(Config)}  # noqa: S101 - both lists above
