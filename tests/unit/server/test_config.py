"""Settings of the server: their sources, their order, and errors of wrong ones."""

from __future__ import annotations

import argparse
from ipaddress import ip_network
from pathlib import Path

import pytest

from protocol.messages import Release
from server.cluster.database import parameters
from server.commands.serve import add_arguments
from server.config import ConfigError, load


def test_defaults() -> None:
    """Without any setting the server listens on this machine only."""
    config = load({})
    assert (config.host, config.port, config.gateway_port) == ("127.0.0.1", 8080, 8081)
    assert (config.console_url, config.is_https) == ("http://127.0.0.1:8080", False)
    assert config.database_path == config.data_dir / "coconowork.sqlite3"
    assert config.secret_key_path.parent == config.data_dir


def test_links_to_a_database(tmp_path: Path) -> None:
    """A database path through links gives the real file."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "x.db").symlink_to(folder / "coconowork.sqlite3")
    for database in (tmp_path / "x.db", tmp_path / "link" / "coconowork.sqlite3"):
        assert load({}, database=database).database_path == folder / "coconowork.sqlite3"


def test_order(tmp_path: Path) -> None:
    """The order is command line, environment, file (also as Notepad saves it), default."""
    file = tmp_path / "server.toml"
    lines = ["port = 1", "gateway_port = 2", 'trusted_proxies = ["10.0.0.0/8"]', 'language = "en"']
    file.write_text("\r\n".join(lines), "utf-8-sig")
    found = {"CONFIG": str(file), "PORT": "3", "GATEWAY_PORT": "4"}
    environ = {f"COCONOWORK_SERVER_{name}": value for name, value in found.items()}
    config = load(environ | {"PATH": "/bin"}, gateway_port="5", host=None)
    assert (config.port, config.gateway_port, config.host) == (3, 5, "127.0.0.1")
    assert config.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert config.language == "en"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "x", "0 to 65535"),
        ("CONNECTIONS_PER_ADDRESS", "9", "10 to 1000000"),
        ("LANGUAGE", "fr", "ja or en"),
        ("TIME_ZONE", "Tokyo", "Asia/Tokyo"),
        ("PUBLIC_URL", "http://console.example", "https://"),
        ("PUBLIC_URL", "https://console.example/path", "without a path"),
        ("PUBLIC_URL", "https://user:secret@console.example", "without a path"),
        ("PUBLIC_URL", "https://console.example:99999", "without a path"),
        ("PUBLIC_URL", "https://console.example:0", "without a path"),
        ("PUBLIC_URL", f"https://{'x' * 64}.example", "without a path"),
        ("HOST", "console..example", "host name to listen on"),
        ("HOST", "", "an address"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "10.0.0.0/8"),
        ("MIN_CLIENT_VERSION", "new", "1.2"),
        ("DATABASE", "postgresql://user:secret@host/db", "passfile"),
        ("DATABASE", "postgresql://host/db?sslpassword=secret", "passfile"),
        ("DATABASE", "postgresql://user:secret@host/db?no=option", "postgresql://user@host/name"),
        ("DATABASE", "postgresql://host", "postgresql://user@host/name"),
        ("DATABASE", "mysql://user:secret@host/db", "SQLite"),
        ("METRICS", "9100", "127.0.0.1:9100"),
        ("METRICS", "a..b:9100", "127.0.0.1:9100"),
        ("GATEWAY_NAME", "x" * 65, "64"),
        ("NEWEST_CLIENT", "1.2.0", "a version and"),
        ("NEWEST_CLIENT", "1 http://x.example/", "a version and"),
        ("NEWEST_CLIENT", "v1 https://x/", "a version and"),
        ("PROT", "1", "no such setting"),
        ("CONFIG", "/missing.toml", "cannot be read"),
    ],
)
def test_bad_value(name: str, value: str, allowed: str) -> None:
    """A wrong value's error names variable or file and what is allowed, not the value."""
    with pytest.raises(ConfigError) as caught:
        load({"COCONOWORK_SERVER_" + name: value})
    text = str(caught.value)
    assert text.startswith(value if name == "CONFIG" else "COCONOWORK_SERVER_" + name)
    assert allowed in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"port =", "not a TOML file"),
        (b"\xff", "not a TOML file"),
        (b"port = true", "allowed is a number"),
        (b"prot = 1", "prot: no such setting; there are .*gateway_port"),
    ],
)
def test_bad_file(tmp_path: Path, content: bytes, said: str) -> None:
    """The error of a bad file names the file; a misspelt key is an error, too."""
    file = tmp_path / "server.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"server\.toml: .*{said}"):
        load({"COCONOWORK_SERVER_CONFIG": str(file)})


def test_postgresql() -> None:
    """A PostgreSQL URL is parsed as libpq does, and overrides our defaults."""
    url = "postgresql://coco@db.example:5433/work?sslmode=verify-full&connect_timeout=9"
    config = load({"COCONOWORK_SERVER_DATABASE": url})
    assert config.is_postgresql
    assert config.secret_key_path == config.data_dir / "secret_key"
    found = parameters(config)
    assert (found["user"], found["host"], found["port"]) == ("coco", "db.example", "5433")
    assert (found["dbname"], found["sslmode"]) == ("work", "verify-full")
    assert (found["connect_timeout"], found["keepalives_idle"]) == ("9", "10")


def test_variables_of_kubernetes() -> None:
    """Variables that Kubernetes sets for a service of this name are ignored; settings are not."""
    found = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT_HTTP": "8080",
        "PORT": "tcp://10.0.0.1:8080",
        "PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "PORT_8080_TCP_PROTO": "tcp",
        "GATEWAY_PORT": "tcp://10.0.0.1:8081",
        "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "LANGUAGE": "en",
    }
    config = load({f"COCONOWORK_SERVER_{name}": value for name, value in found.items()})
    assert (config.port, config.gateway_port, config.language) == (8080, 8081, "en")


def test_unicode_host() -> None:
    """A Japanese host name is stored in the form that browsers send."""
    for port in ("", ":8443"):
        url = load({}, public_url=f"https://コンソール.example{port}/").console_url
        assert url == f"https://xn--tckua2l4a9b.example{port}"


def test_newest_client() -> None:
    """The newest client is a version and an https address; an empty setting is None."""
    found = load({}, newest_client="1.2.0  https://x.example/setup.exe").newest_client
    assert found == Release(version="1.2.0", url="https://x.example/setup.exe")
    assert load({}, newest_client=" ").newest_client is None


@pytest.mark.parametrize(
    ("key", "option"),
    [("role", "--only"), ("trusted_proxies", "--behind-proxy"), ("gateway_port", "--gateway-port")],
)
def test_errors_name_options_that_exist(key: str, option: str) -> None:
    """A wrong value on the command line is reported under the option's own name."""
    with pytest.raises(ConfigError, match=f"^{option}: allowed is"):
        load({}, **{key: "wrong"})
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert option in parser.format_help()
