"""Read the settings: one frozen `Config` from the environment and an optional TOML file.

The environment (`COCONOWORK_SERVER_PORT=8080`) overrides the file (`port = 8080`), and the file
overrides the defaults. `COCONOWORK_SERVER_CONFIG` names the file. No secret is a setting: the
secret key and a database's password are in files of their own.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from platformdirs import user_data_path

from server.addresses import Network

PREFIX = "COCONOWORK_SERVER_"
SCHEMES = ("postgresql://", "postgres://")
"""How an address of PostgreSQL begins."""
SECRETS = ("password", "sslpassword")
"""Parameters that an address may not have, because other users can see it."""


class ConfigError(Exception):
    """A setting that cannot be used; the text names where it is and what is allowed."""


class _Explained(ValueError):
    """A wrong value that needs more words; the text says what to do instead."""


def _default_data_dir() -> Path:
    return user_data_path("coconowork-server", appauthor=False)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of one server process. Each field is a key of the file."""

    data_dir: Path = field(default_factory=_default_data_dir)
    """The folder of the database and the secret key, unless these are set themselves."""
    database: str = ""
    """The path of an SQLite file, empty for `coconowork.sqlite3` in `data_dir`; or
    `postgresql://user@host/name`, which several processes can share."""
    secret_key_file: Path | None = None
    """The file of the secret key; it is made at the first start when it is missing."""
    host: str = "127.0.0.1"
    """The address of console and gateway; `::` listens on IPv6 and IPv4."""
    port: int = 8080
    """The port of the console; 0 takes a free one."""
    gateway_port: int = 8081
    """The port of the gateway that clients wait on; 0 takes a free one."""
    gateway_name: str = ""
    """A name that differs between gateways on one database; empty for host name and port."""
    role: str = "both"
    """What this process runs: `gateway`, `console` or `both`."""
    metrics: str = ""
    """`host:port` where Prometheus finds `/metrics`; empty for no metrics."""
    public_url: str = ""
    """The address that people reach the console at; empty for the one that it listens on."""
    trusted_proxies: tuple[Network, ...] = ()
    """Networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    connections_per_address: int = 5_000
    """Clients that may come from one address."""
    logins_per_address: int = 0
    """Clients of one address that may log in at once; 0 is a tenth of the above."""
    refusals_per_device: int = 10
    """Wrong passwords in 5 minutes: of one user on one known device, or from one address."""
    refusals_per_address: int = 200
    """Wrong passwords in 5 minutes from one address; known devices are not affected."""
    refusals_per_user: int = 50
    """Wrong passwords in 10 minutes for one user; known devices are not affected."""
    min_client_version: str = ""
    """Clients older than this are told to update; empty accepts all."""
    time_zone: str = "Asia/Tokyo"
    language: str = "ja"
    log_level: str = "info"

    @property
    def is_postgresql(self) -> bool:
        """Return whether `database` is an address of PostgreSQL, not a file."""
        return self.database.startswith(SCHEMES)

    @property
    def runs_gateway(self) -> bool:
        """Return whether this process runs the gateway."""
        return self.role != "console"

    @property
    def runs_console(self) -> bool:
        """Return whether this process runs the console."""
        return self.role != "gateway"

    @property
    def database_path(self) -> Path:
        """Return the SQLite file. It means nothing when `is_postgresql`."""
        return Path(self.database) if self.database else self.data_dir / "coconowork.sqlite3"

    @property
    def secret_key_path(self) -> Path:
        """Return the file that holds the secret key."""
        beside = self.data_dir if self.is_postgresql else self.database_path.parent
        return self.secret_key_file or beside / "secret_key"

    @property
    def console_url(self) -> str:
        """Return the address that people reach the console at, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_https(self) -> bool:
        """Return whether people reach the console by https."""
        return self.console_url.startswith("https://")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_database_url(url: str) -> dict[str, str]:
    """Return the parameters of a `postgresql://` address, with libpq's names.

    Raise ValueError when libpq does not understand it, or when it names no database.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError from None  # the original may repeat a password
    parameters = {name: str(value) for name, value in found.items() if value is not None}
    if not parameters.get("dbname"):
        raise ValueError
    return parameters


def load(environ: Mapping[str, str] = os.environ, /, **overrides: object) -> Config:
    """Return the settings from environment and file; `overrides` (command line) override both.

    Raise ConfigError for a setting that cannot be used; the text names it and what is allowed.
    """
    values: dict[str, object] = {}
    name = environ.get(PREFIX + "CONFIG")
    if name:
        values.update(_from_file(Path(name)))
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == PREFIX + "CONFIG":
            continue
        if _is_of_kubernetes(variable, text):
            continue
        key = variable.removeprefix(PREFIX).lower()
        if key not in _PARSERS:
            raise ConfigError(f"{variable}: no such setting; there are {_known(PREFIX)}")
        values[key] = _parse(key, text, where=variable)
    for key, value in overrides.items():
        if value is not None:
            values[key] = _parse(key, value, where=_option(key))
    return Config(**cast("dict[str, Any]", values))


_KUBERNETES = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def _is_of_kubernetes(variable: str, text: str) -> bool:
    """Return whether Kubernetes has set a variable, for a service named `coconowork-server…`.

    It sets `COCONOWORK_SERVER_PORT=tcp://10.0.0.1:8080` and seven more for each such service.
    """
    address = variable.endswith("_PORT") and re.match(r"(tcp|udp|sctp)://", text)
    return bool(address or _KUBERNETES.fullmatch(variable))


def _option(key: str) -> str:
    """Return the command line's option for a setting."""
    return _OPTIONS.get(key, f"--{key.replace('_', '-')}")


_OPTIONS = {"role": "--only", "trusted_proxies": "--behind-proxy"}
"""Options that are not named as their setting."""

_current: Config | None = None


def current() -> Config:
    """Return the settings of this process: those given to `use`, else loaded at the first call."""
    global _current  # noqa: PLW0603 - Django's settings are one a process as well
    if _current is None:
        _current = load()
    return _current


def use(config: Config) -> None:
    """Set the settings of this process. Call it before Django is set up."""
    global _current  # noqa: PLW0603 - see above
    _current = config


def _from_file(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
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
    except _Explained as exc:
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
    if not parts.hostname.isascii():  # as browsers do
        host = parts.hostname.encode("idna").decode()
        netloc = host if parts.port is None else f"{host}:{parts.port}"
        parts = parts._replace(netloc=netloc)
        text = parts.geturl()
    if parts.port == 0:  # asking for it raises ValueError for a malformed one
        raise ValueError
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
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
    if text.startswith(SCHEMES):
        if set(SECRETS) & set(parse_database_url(text)):
            raise _Explained(
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
    """Return host and port of `host:port` or `[IPv6]:port`. Raise ValueError."""
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
    "trusted_proxies": (_networks, "a list of addresses or networks, such as 10.0.0.0/8"),
    "connections_per_address": (_number(10, 1_000_000), "a number from 10 to 1000000"),
    "logins_per_address": (_number(0, 1_000_000), "a number from 0 to 1000000"),
    "refusals_per_device": (_number(3, 1_000), "a number from 3 to 1000"),
    "refusals_per_address": (_number(3, 1_000_000), "a number from 3 to 1000000"),
    "refusals_per_user": (_number(3, 100_000), "a number from 3 to 100000"),
    "min_client_version": (_version, "a version of numbers and dots, such as 1.2, or nothing"),
    "time_zone": (_zone, "the name of a time zone, such as Asia/Tokyo"),
    "language": (_one_of("ja", "en"), "ja or en"),
    "log_level": (_one_of("debug", "info", "warning", "error"), "debug, info, warning or error"),
}
assert set(_PARSERS) == {each.name for each in fields(Config)}  # noqa: S101 - both lists above
