"""The container's files: valid, with settings that the server takes. No test runs a container."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from server import config
from tests.support.documented import blocks
from tests.support.places import ROOT

yaml = pytest.importorskip("yaml")
FOLDER = ROOT / "installer" / "container"
HADOLINT = Path(sys.executable).with_name("hadolint")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))


@pytest.mark.skipif(not HADOLINT.exists(), reason="the wheel with hadolint is for Linux on x86-64")
def test_containerfile() -> None:
    """Hadolint finds nothing, and the program is the one that the package installs."""
    file = FOLDER / "Containerfile"
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    build = (ROOT / "installer" / "debian" / "build").read_text()
    [program] = re.findall(r'^ENTRYPOINT \["(.*)"\]$', file.read_text(), re.MULTILINE)
    assert f'"$root{program}"' in build


def test_settings() -> None:
    """The server takes the settings, and its proxy's network is the one that Caddy is in."""
    server, caddy = COMPOSE["services"]["server"], COMPOSE["services"]["caddy"]
    environment = {
        name: re.sub(r"\$\{\w+:\?[^}]*\}", "coconowork.example", value)
        for name, value in server["environment"].items()
    }
    settings = config.load(environment)
    assert settings.is_https
    assert settings.is_postgresql
    assert server["networks"] == caddy["networks"] == list(COMPOSE["networks"])
    [network] = COMPOSE["networks"].values()
    assert [{"subnet": str(each)} for each in settings.trusted_proxies] == network["ipam"]["config"]


def test_parts_fit_together() -> None:
    """Every volume is declared and used, and Caddy has the page's configuration."""
    services = COMPOSE["services"].values()
    used = {each.partition(":")[0] for service in services for each in service["volumes"]}
    assert used == set(COMPOSE["volumes"])
    socket = COMPOSE["services"]["server"]["environment"]["COCONOWORK_SERVER_DATABASE"]
    folder = socket.rpartition("=")[2]
    sharing = {
        name
        for name, service in COMPOSE["services"].items()
        if f"socket:{folder}" in service["volumes"]
    }
    assert sharing == {"server", "database"}
    [page] = blocks(ROOT / "docs" / "server.md", "caddyfile")
    content = COMPOSE["configs"]["caddyfile"]["content"].replace(
        "{$$COCONOWORK_HOST}", "coconowork.example"
    )
    assert content == page.replace("127.0.0.1", "server")
