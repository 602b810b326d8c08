"""What a login is decided by without a database: the verifier of an unknown user."""

from __future__ import annotations

from server.console.hashers import ITERATIONS
from server.gateway.records import made_up
from tests.support.server_fixtures import SALT


def test_made_up_verifier() -> None:
    """The salt is stable for a name and a secret, differs else, and looks like any other."""
    first = made_up("tanaka", b"secret")
    assert first.salt == made_up("tanaka", b"secret").salt
    assert first.salt not in {made_up("suzuki", b"secret").salt, made_up("tanaka", b"x").salt}
    assert (len(first.salt), first.iterations) == (len(SALT), ITERATIONS)
