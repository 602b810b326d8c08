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
    ("minimum", "fine", "too_old"),
    [
        ("", ["1.2.3", "anything"], []),
        ("1", ["9" * 400], ["0.9", "go client", "", "１.0"]),
        ("1.2.0", ["1.2"], []),
        ("1.2.3", ["1.2.3"], ["1.2.2"]),
        ("1.3", ["1.3.0-rc1"], []),
        ("1.9", ["1.10"], []),
    ],
)
def test_versions(minimum: str, fine: list[str], too_old: list[str]) -> None:
    """Compared number by number; one without numbers is too old once there is a minimum."""
    assert [each for each in fine + too_old if is_too_old(each, minimum)] == too_old
