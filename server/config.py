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
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import msgspec
from msgspec import Meta
from platformdirs import user_data_path

from protocol.messages import Release
from server.addresses import Network

PREFIX = "COCONOWORK_SERVER_"
SCHEMES = ("postgresql://", "postgres://")
"""Beginnings of an address of PostgreSQL."""
SECRETS = ("password", "sslpassword")
"""Parameters that must not be in an address, because other users can see the address."""
_DATA_DIR = user_data_path("coconowork-server", appauthor=False)


class StartError(Exception):
    """Raised when a program cannot do its work; the text says why and what to do about it."""


class ConfigError(StartError):
    """Raised for an unusable setting; the text says where it is and which values are allowed."""


class _Explained(ValueError):
    """Raised for a wrong value that needs an explanation; the text says what to do instead."""


_Text = Annotated[str, Meta(pattern=r"\A[^\0-\x1f]*\Z")]
_Nonempty = Annotated[str, Meta(pattern=r"\A[^\0-\x1f]*[^\0-\x20][^\0-\x1f]*\Z")]
_Name = Annotated[_Text, Meta(max_length=64)]
_Version = Annotated[str, Meta(pattern=r"\A([0-9]+(\.[0-9]+)*)?\Z")]


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _host(text: str) -> str:
    """Return a host. Raise ValueError for a name that no resolver accepts, such as `a..b`."""
    text.encode("idna")
    return text


def _url(text: str) -> str:
    if not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ValueError
    host = parts.hostname.encode("idna").decode()
    if not parts.hostname.isascii():  # browsers send such a name in IDNA form
        parts = parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}")
    if parts.port == 0:  # reading `port` raises ValueError for a malformed one
        raise ValueError
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError
    return parts.geturl()


def _release(text: str) -> Release | None:
    if not text.strip():
        return None
    version, url = text.split()
    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise ValueError
    return msgspec.convert({"version": version, "url": url}, Release)


def _networks(value: str | list[str]) -> tuple[Network, ...]:
    texts = value.split(",") if isinstance(value, str) else value
    return tuple(ipaddress.ip_network(text.strip()) for text in texts if text.strip())


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError
    return text


def _database(text: str) -> str:
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


def _host_and_port(text: str) -> str:
    if text:
        split_address(text)
    return text


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`. Raise ValueError."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.port is None or parts.netloc != address or parts.username:
        raise ValueError
    return _host(parts.hostname), parts.port


def _setting(
    default: Any, kind: Any, allowed: str, parse: Callable[[Any], Any] = lambda value: value
) -> Any:
    """Return a dataclass field whose value is converted to `kind`, then passed to `parse`.

    The error for a refused value says what is `allowed`.
    """
    return field(default=default, metadata={"kind": kind, "allowed": allowed, "parse": parse})


def _number(default: int, lowest: int, highest: int) -> Any:
    kind = Annotated[int, Meta(ge=lowest, le=highest)]
    return _setting(default, kind, f"a number from {lowest} to {highest}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of one server process. docs/server.md says what each of them means."""

    data_dir: Path = _setting(_DATA_DIR, _Nonempty, "a folder", _path)  # noqa: RUF009 - a field
    database: str = _setting(
        "", _Text, "the path of an SQLite file, or postgresql://user@host/name", _database
    )
    secret_key_file: Path | None = _setting(None, _Nonempty, "a file", _path)  # noqa: RUF009 - a field
    host: str = _setting("127.0.0.1", _Nonempty, "an address or host name to listen on", _host)
    port: int = _number(8080, 0, 65_535)
    gateway_port: int = _number(8081, 0, 65_535)
    gateway_name: str = _setting("", _Name, "a name of at most 64 characters")
    role: str = _setting("both", Literal["both", "gateway", "console"], "both, gateway or console")
    metrics: str = _setting(
        "", _Text, "host:port, such as 127.0.0.1:9100, or nothing", _host_and_port
    )
    public_url: str = _setting(
        "", _Text, "an address https://host[:port] (http:// on loopback) without a path", _url
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        (), str | list[str], "a list of addresses or networks, such as 10.0.0.0/8", _networks
    )
    connections_per_address: int = _number(5_000, 10, 1_000_000)
    logins_per_address: int = _number(0, 0, 1_000_000)
    refusals_per_device: int = _number(10, 3, 1_000)
    refusals_per_address: int = _number(200, 3, 1_000_000)
    refusals_per_user: int = _number(50, 3, 100_000)
    temporary_password_days: int = _number(14, 1, 365)
    audit_days: int = _number(0, 0, 36_500)
    min_client_version: str = _setting(
        "", _Version, "a version of numbers and dots, such as 1.2, or nothing"
    )
    newest_client: Release | None = _setting(  # noqa: RUF009 - a field
        None,
        _Text,
        "a version and the address of its download, such as 1.2.0 https://example.com/setup.exe",
        _release,
    )
    time_zone: str = _setting(
        "Asia/Tokyo", _Text, "the name of a time zone, such as Asia/Tokyo", _zone
    )
    language: str = _setting("ja", Literal["ja", "en"], "ja or en")
    log_level: str = _setting(
        "info", Literal["debug", "info", "warning", "error"], "debug, info, warning or error"
    )

    @property
    def is_postgresql(self) -> bool:
        """Return whether `database` is an address of PostgreSQL instead of a file."""
        return self.database.startswith(SCHEMES)

    @property
    def unproven_per_address(self) -> int:
        """Return the limit of connections of one address that have not logged in yet."""
        return self.logins_per_address or self.connections_per_address // 10

    @property
    def runs_gateway(self) -> bool:
        return self.role != "console"

    @property
    def runs_console(self) -> bool:
        return self.role != "gateway"

    @property
    def database_path(self) -> Path:
        """Return the SQLite file, with links resolved. Meaningless when `is_postgresql`.

        So the files beside the database, such as the lock against a second server, are the same
        for every link to it.
        """
        named = Path(self.database) if self.database else self.data_dir / "coconowork.sqlite3"
        return Path(os.path.realpath(named))

    @property
    def secret_key_path(self) -> Path:
        beside = self.data_dir if self.is_postgresql else self.database_path.parent
        return self.secret_key_file or beside / "secret_key"

    @property
    def console_url(self) -> str:
        """Return the address where people reach the console, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def known_console_url(self) -> str | None:
        """Return `console_url`, or None when only another process knows it."""
        return self.console_url if self.runs_console or self.public_url else None

    @property
    def is_https(self) -> bool:
        return self.console_url.startswith("https://")


def is_loopback(host: str) -> bool:
    """Return whether a server that listens on `host` is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_database_url(url: str) -> dict[str, str]:
    """Return the parameters of a `postgresql://` address, with libpq's names.

    Raise ValueError when libpq cannot parse the address, or when it names no database.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError from None  # the original text may contain a password
    parameters = {name: str(value) for name, value in found.items() if value is not None}
    if not parameters.get("dbname"):
        raise ValueError
    return parameters


def load(environ: Mapping[str, str] = os.environ, /, **overrides: object) -> Config:
    """Return the settings from the environment, the file and `overrides`. Raise ConfigError."""
    values: dict[str, Any] = {}
    if name := environ.get(PREFIX + "CONFIG"):
        for key, value in _from_file(Path(name)).items():
            values[key] = _parse(key, value, where=f"{name}: {key}", known=", ".join(_FIELDS))
    variables = ", ".join(PREFIX + key.upper() for key in _FIELDS)
    for variable, text in environ.items():
        is_ours = variable.startswith(PREFIX) and variable != PREFIX + "CONFIG"
        if is_ours and not _is_of_kubernetes(variable, text):
            key = variable.removeprefix(PREFIX).lower()
            values[key] = _parse(key, text, where=variable, known=variables)
    for key, value in overrides.items():
        if value is not None:
            option = _OPTIONS.get(key, f"--{key.replace('_', '-')}")
            values[key] = _parse(key, value, where=option)
    return Config(**values)


_KUBERNETES = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def _is_of_kubernetes(variable: str, text: str) -> bool:
    """Return whether Kubernetes has set a variable for a service named `coconowork-server…`.

    Kubernetes sets `COCONOWORK_SERVER_PORT=tcp://10.0.0.1:8080` and seven other variables.
    """
    address = variable.endswith("_PORT") and re.match(r"(tcp|udp|sctp)://", text)
    return bool(address or _KUBERNETES.fullmatch(variable))


_OPTIONS = {"role": "--only", "trusted_proxies": "--behind-proxy"}
"""Options whose name differs from their setting's name."""
_FIELDS = {each.name: each.metadata for each in fields(Config)}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from None
    except (ValueError, RecursionError) as exc:  # ValueError also for a number with too many digits
        raise ConfigError(f"{path}: not a TOML file: {exc}") from None


def _parse(key: str, value: object, *, where: str, known: str = "") -> object:
    """Return a setting's value. Raise ConfigError without the value, which may hold a secret."""
    if key not in _FIELDS:
        raise ConfigError(f"{where}: no such setting; there are {known}")
    setting = _FIELDS[key]
    try:
        value = str(value) if isinstance(value, Path) else value
        return setting["parse"](msgspec.convert(value, setting["kind"], strict=False))
    except _Explained as exc:
        raise ConfigError(f"{where}: {exc}") from None
    except (ValueError, msgspec.ValidationError):
        raise ConfigError(f"{where}: allowed is {setting['allowed']}") from None


_current: Config | None = None


def current() -> Config:
    """Return this process's settings: those given to `use`, or loaded at the first call."""
    global _current  # noqa: PLW0603 - a process has one configuration, as in Django
    if _current is None:
        _current = load()
    return _current


def use(config: Config) -> None:
    """Set this process's settings, from which Django's are made. Call before Django's set-up."""
    global _current  # noqa: PLW0603 - see above
    _current = config
    os.environ["DJANGO_SETTINGS_MODULE"] = "server.settings"
