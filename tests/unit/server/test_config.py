"""Settings of the server: where they come from, and what a wrong one says."""

from __future__ import annotations

import argparse
from ipaddress import ip_network
from pathlib import Path

import pytest

from protocol.messages import Release
from server.cluster.database import parameters
from server.commands.serve import add_arguments
from server.config import ConfigError, load


def test_defaults(tmp_path: Path) -> None:
    """Without any setting the server is for this machine only."""
    config = load({})
    assert (config.host, config.port, config.gateway_port) == ("127.0.0.1", 8080, 8081)
    assert config.console_url == "http://127.0.0.1:8080"
    assert not config.is_https
    assert config.database_path == config.data_dir / "coconowork.sqlite3"
    assert config.secret_key_path.parent == config.data_dir


def test_links_to_a_database(tmp_path: Path) -> None:
    """The database is one file under all of its names."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "x.db").symlink_to(folder / "coconowork.sqlite3")
    for database in (tmp_path / "x.db", tmp_path / "link" / "coconowork.sqlite3"):
        assert load({}, database=database).database_path == folder / "coconowork.sqlite3"


def test_order(tmp_path: Path) -> None:
    """Command line before environment before file before default."""
    file = tmp_path / "server.toml"
    file.write_text('port = 1\ngateway_port = 2\ntrusted_proxies = ["10.0.0.0/8"]\nlanguage = "en"')
    config = load(
        {
            "COCONOWORK_SERVER_CONFIG": str(file),
            "COCONOWORK_SERVER_PORT": "3",
            "COCONOWORK_SERVER_GATEWAY_PORT": "4",
            "PATH": "/bin",
        },
        gateway_port="5",
        host=None,
    )
    assert (config.port, config.gateway_port, config.host) == (3, 5, "127.0.0.1")
    assert config.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert config.language == "en"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "x", "0 to 65535"),
        ("PORT", "65536", "0 to 65535"),
        ("CONNECTIONS_PER_ADDRESS", "9", "10 to 1000000"),
        ("LANGUAGE", "fr", "ja or en"),
        ("TIME_ZONE", "Tokyo", "Asia/Tokyo"),
        ("PUBLIC_URL", "http://console.example", "https://"),
        ("PUBLIC_URL", "https://console.example/path", "without a path"),
        ("PUBLIC_URL", "https://user:secret@console.example", "without a path"),
        ("PUBLIC_URL", "https://console.example:99999", "without a path"),
        ("PUBLIC_URL", f"https://{'x' * 64}.example", "without a path"),
        ("HOST", "console..example", "host name to listen on"),
        ("HOST", "ä..example", "host name to listen on"),
        ("REFUSALS_PER_USER", "0", "3 to 100000"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "10.0.0.0/8"),
        ("MIN_CLIENT_VERSION", "new", "1.2"),
        ("LOG_LEVEL", "verbose", "debug, info"),
        ("DATABASE", "postgresql://user:secret@host/db", "passfile"),
        ("DATABASE", "postgres://host/db?password=secret", "passfile"),
        ("DATABASE", "postgresql://host/db?sslpassword=secret", "passfile"),
        ("DATABASE", "postgresql://user:secret@host/db?no=option", "postgresql://user@host/name"),
        ("DATABASE", "postgresql://user:secret%@host/db", "postgresql://user@host/name"),
        ("DATABASE", "postgresql://host", "postgresql://user@host/name"),
        ("DATABASE", "mysql://user:secret@host/db", "SQLite"),
        ("ROLE", "neither", "both, gateway or console"),
        ("METRICS", "9100", "127.0.0.1:9100"),
        ("METRICS", "a..b:9100", "127.0.0.1:9100"),
        ("METRICS", "127.0.0.1", "127.0.0.1:9100"),
        ("HOST", "", "an address"),
        ("GATEWAY_NAME", "x" * 65, "64"),
        ("DATA_DIR", "", "a folder"),
    ],
)
def test_bad_value(name: str, value: str, allowed: str) -> None:
    """The error names the variable and what is allowed, and does not repeat the value."""
    with pytest.raises(ConfigError) as caught:
        load({"COCONOWORK_SERVER_" + name: value})
    text = str(caught.value)
    assert text.startswith("COCONOWORK_SERVER_" + name)
    assert allowed in text
    assert "secret" not in text


def test_postgresql() -> None:
    """The address is taken apart as libpq does, and goes before our defaults."""
    url = "postgresql://coco@db.example:5433/work?sslmode=verify-full&connect_timeout=9"
    config = load({"COCONOWORK_SERVER_DATABASE": url})
    assert config.is_postgresql
    assert config.secret_key_path == config.data_dir / "secret_key"
    found = parameters(config)
    assert (found["user"], found["host"], found["port"]) == ("coco", "db.example", "5433")
    assert (found["dbname"], found["sslmode"]) == ("work", "verify-full")
    assert (found["connect_timeout"], found["keepalives_idle"]) == ("9", "10")


def test_unknown_key(tmp_path: Path) -> None:
    """A misspelt key is no silent default, in the environment or the file."""
    with pytest.raises(ConfigError, match="COCONOWORK_SERVER_PROT: no such setting"):
        load({"COCONOWORK_SERVER_PROT": "1"})
    file = tmp_path / "server.toml"
    file.write_text("prot = 1")
    with pytest.raises(ConfigError, match=r"server\.toml: prot: no such setting.*gateway_port"):
        load({"COCONOWORK_SERVER_CONFIG": str(file)})


def test_variables_of_kubernetes() -> None:
    """What Kubernetes sets for services of this name is ignored; a setting beside it is not."""
    config = load(
        {
            "COCONOWORK_SERVER_SERVICE_HOST": "10.0.0.1",
            "COCONOWORK_SERVER_SERVICE_PORT": "8080",
            "COCONOWORK_SERVER_SERVICE_PORT_HTTP": "8080",
            "COCONOWORK_SERVER_PORT": "tcp://10.0.0.1:8080",
            "COCONOWORK_SERVER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "COCONOWORK_SERVER_PORT_8080_TCP_ADDR": "10.0.0.1",
            "COCONOWORK_SERVER_PORT_8080_TCP_PORT": "8080",
            "COCONOWORK_SERVER_PORT_8080_TCP_PROTO": "tcp",
            "COCONOWORK_SERVER_GATEWAY_PORT": "tcp://10.0.0.1:8081",
            "COCONOWORK_SERVER_GATEWAY_SERVICE_HOST": "10.0.0.1",
            "COCONOWORK_SERVER_GATEWAY_PORT_8081_TCP": "tcp://10.0.0.1:8081",
            "COCONOWORK_SERVER_LANGUAGE": "en",
        }
    )
    assert (config.port, config.gateway_port, config.language) == (8080, 8081, "en")


def test_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    """A file that Notepad has saved is read."""
    file = tmp_path / "server.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 1\r\n")
    assert load({"COCONOWORK_SERVER_CONFIG": str(file)}).port == 1


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://コンソール.example", "https://xn--tckua2l4a9b.example"),
        ("https://コンソール.example:8443/", "https://xn--tckua2l4a9b.example:8443"),
    ],
)
def test_unicode_host(typed: str, url: str) -> None:
    """A host name in Japanese is kept as browsers send it."""
    assert load({}, public_url=typed).console_url == url


@pytest.mark.parametrize(
    "text", ["1.2.0", "https://x.example/", "1 http://x.example/", "v1 https://x/"]
)
def test_newest_client(text: str) -> None:
    """The newest client is a version with an https address; nothing is none."""
    with pytest.raises(ConfigError, match="--newest-client: allowed is a version and"):
        load({}, newest_client=text)
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


@pytest.mark.parametrize(
    "content", [b"port =", b"\xff", b"port = true", b'port = "x"', b"port=1.5"]
)
def test_bad_file(tmp_path: Path, content: bytes) -> None:
    """The error names the file."""
    file = tmp_path / "server.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"server\.toml"):
        load({"COCONOWORK_SERVER_CONFIG": str(file)})


def test_missing_file(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load({"COCONOWORK_SERVER_CONFIG": str(tmp_path / "none.toml")})
