"""The pure part of a login: no socket, no database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient

from protocol import scram
from protocol.scram import ClientFirst, MalformedMessage, ServerLogin, Verifier
from server.console.hashers import ITERATIONS, hash_password
from server.gateway.login import (
    VerifierCandidate,
    is_too_old,
    made_up,
)
from tests.support.server_fixtures import P1, P2, P3, SALT

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def candidate(password: str, since: datetime = NOW) -> VerifierCandidate:
    return VerifierCandidate(hash_password(password, salt=SALT, iterations=ITERATIONS), since)


def attempt(
    password: str, *candidates: VerifierCandidate
) -> tuple[ScramClient, tuple[int, str] | None]:
    client = ScramClient(["SCRAM-SHA-256"], "tanaka", password)
    first = ClientFirst.parse(client.get_client_first())
    server = ServerLogin(first, [each.verifier for each in candidates], nonce="servers")
    client.set_server_first(server.challenge)
    return client, server.check(client.get_client_final())


@pytest.mark.parametrize("password", [P1, P2, P3])
def test_one_proof_is_checked_against_all(password: str) -> None:
    """The verifier that fits is found at any position, and its server signature is right."""
    candidates = [candidate(each) for each in (P1, P2, P3)]
    client, proven = attempt(password, *candidates)
    assert proven is not None
    assert proven[0] == [P1, P2, P3].index(password)
    client.set_server_final(proven[1])


def test_the_first_that_fits_counts() -> None:
    """A password that was used before and is current again is current."""
    current, old = candidate(P1), candidate(P1)
    _, proven = attempt(P1, current, old)
    assert proven is not None
    assert proven[0] == 0


def test_made_up_verifier_fits_nothing() -> None:
    """The salt is stable for a name and a secret, differs else, and no proof is right."""
    first, again = made_up("tanaka", b"secret"), made_up("tanaka", b"secret")
    assert first.salt == again.salt
    assert first.salt != made_up("suzuki", b"secret").salt
    assert first.salt != made_up("tanaka", b"another").salt
    assert (len(first.salt), first.iterations) == (len(SALT), ITERATIONS)
    assert attempt(P1, VerifierCandidate(first, NOW))[1] is None


def test_wrong_proofs_cost_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """No user, one password, or some old ones: a wrong proof is checked as often."""
    checks: list[None] = []
    fits = scram._fits

    def counted(known: Verifier, signed: bytes, proof: bytes) -> bool:
        checks.append(None)
        return fits(known, signed, proof)

    monkeypatch.setattr(scram, "_fits", counted)
    counts = []
    for candidates in (
        [VerifierCandidate(made_up("unknown", b"secret"), NOW)],
        [candidate(P1)],
        [candidate(P1), candidate(P2), candidate(P3)],
    ):
        checks.clear()
        assert attempt("wrong", *candidates)[1] is None
        counts.append(len(checks))
    assert counts == [4, 4, 4]


@pytest.mark.parametrize(
    ("first", "username"),
    [
        ("n,,n=tanaka,r=x", "tanaka"),
        ("n,,n=a=2Cb=3Dc,r=x", "a,b=c"),
        ("n,,n=ｔａｎａｋａ,r=x", None),
        ("n,,n=" + "a" * 65 + ",r=x", None),
    ],
)
def test_user_name(first: str, username: str | None) -> None:
    """Unescaped; a name that no user can have is None."""
    assert ClientFirst.parse(first).user == username


@given(st.text(max_size=80))
def test_any_client_first(first: str) -> None:
    """Whatever it is, it is a name or a protocol error."""
    try:
        ClientFirst.parse(first)
    except MalformedMessage as exc:
        assert str(exc) == "malformed SCRAM client-first"  # noqa: PT017 - either is right


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
