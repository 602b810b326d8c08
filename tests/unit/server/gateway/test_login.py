"""What a login is decided by without a database: versions, and the verifier of an unknown user."""

from __future__ import annotations

import pytest

from server.console.hashers import ITERATIONS
from server.gateway.conversation import is_too_old
from server.gateway.records import made_up
from tests.support.server_fixtures import SALT


def test_made_up_verifier() -> None:
    """The salt is stable for a name and a secret, differs else, and looks like any other."""
    first = made_up("tanaka", b"secret")
    assert first.salt == made_up("tanaka", b"secret").salt
    assert first.salt not in {made_up("suzuki", b"secret").salt, made_up("tanaka", b"x").salt}
    assert (len(first.salt), first.iterations) == (len(SALT), ITERATIONS)


@pytest.mark.parametrize(
    ("version", "minimum", "too_old"),
    [
        ("1.2.3", "", False),
        ("anything", "", False),
        ("1.2.3", "1.2.3", False),
        ("1.2", "1.2.0", False),
        ("1.10", "1.9", False),
        ("1.2.2", "1.2.3", True),
        ("0.9", "1", True),
        ("1.3.0-rc1", "1.3", False),
        ("go client", "1", True),
        ("", "1", True),
        ("１.0", "1", True),
        ("9" * 400, "1", False),
    ],
)
def test_versions(version: str, minimum: str, too_old: bool) -> None:
    """Compared number by number; one without numbers is too old once there is a minimum."""
    assert is_too_old(version, minimum) is too_old
