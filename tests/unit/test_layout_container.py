"""The container's files are valid, and the server accepts their settings. None is run."""

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
    """Hadolint finds no fault, and the container starts the program that the package installs."""
    file = FOLDER / "Containerfile"
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    build = (ROOT / "installer" / "debian" / "build").read_text()
    [program] = re.findall(r'^ENTRYPOINT \["(.*)"\]$', file.read_text(), re.MULTILINE)
    assert f'"$root{program}"' in build


def test_settings() -> None:
    """The server accepts the settings, and trusts the network in which Caddy is."""
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
    """Every volume is declared and used, and Caddy has the configuration of docs/server.md."""
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
