"""What a login is decided by without a database: versions, and the verifier of an unknown user."""

from __future__ import annotations

import pytest
from scramp import ScramClient

from protocol.scram import ClientFirst, ServerLogin
from server.console.hashers import ITERATIONS
from server.gateway.conversation import is_too_old
from server.gateway.records import made_up
from tests.support.server_fixtures import P1, SALT


def test_made_up_verifier_fits_nothing() -> None:
    """The salt is stable for a name and a secret, differs else, and no proof is right."""
    first, again = made_up("tanaka", b"secret"), made_up("tanaka", b"secret")
    assert first.salt == again.salt
    assert first.salt != made_up("suzuki", b"secret").salt
    assert first.salt != made_up("tanaka", b"another").salt
    assert (len(first.salt), first.iterations) == (len(SALT), ITERATIONS)
    client = ScramClient(["SCRAM-SHA-256"], "tanaka", P1)
    login = ServerLogin(ClientFirst.parse(client.get_client_first()), [first], nonce="servers")
    client.set_server_first(login.challenge)
    assert login.check(client.get_client_final()) is None


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
