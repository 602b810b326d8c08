"""The supply chain: what is pinned is written down with a reason, and the list is a valid one."""

from __future__ import annotations

import json
import re

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from installer import dependencies
from tests.support.places import ROOT

LOCKS = [
    "agent/requirements.txt",
    "server/requirements.txt",
    "tests/requirements.txt",
    "installer/requirements.txt",
    "installer/requirements-tools.txt",
]


def test_the_page_is_true() -> None:
    """`docs/dependencies.md` has every direct dependency with its version, licence and reason."""
    assert dependencies.PAGE.read_text("utf-8") == dependencies.page()
    assert "not stated" not in dependencies.page()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_by_hash(lock: str) -> None:
    """Nobody who has a mirror or a package's account can change what is installed."""
    text = (ROOT / lock).read_text("utf-8")
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert blocks
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._\[\],-]+==[^\s]+", block), block[:60]
        assert "--hash=sha256:" in block, block[:60]
    assert "://" not in re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


def test_the_schema_refuses_what_is_wrong() -> None:
    """The check of the build's list (tests/system/windows/test_build.py) can fail."""
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    good = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": []}
    assert validator.validate_str(json.dumps(good)) is None
    assert validator.validate_str(json.dumps({**good, "components": [{"name": "x"}]})) is not None
