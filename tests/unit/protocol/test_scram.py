"""Both halves of SCRAM-SHA-256 do what RFC 5802 says, with the worked example of docs/protocol.md.

For authors of other clients: with user `user`, password `Passw0rd!`, and the salt, nonces and
600,000 iterations below, the values between the messages are (hexadecimal):

    SaltedPassword  236538a86481ae1b65360b507dff12bcb47f40b54448bfc59a325c5a170b1f3c
    ClientKey       f49ffee4f850944b43a3e25b1e00365caccaf63dc3cd41a06109f3c549f14bd3
    StoredKey       ec1f68922a6db8559f173ca775c29e14726a0cf29ef96d1f968650710ba86049
    ServerKey       6ae293b89b0109bd0ff29141c0c5df387bbc4bc5729e6733e578576f3b47d501
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import replace
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scramp import ScramClient, ScramMechanism

from protocol import messages as msg
from protocol.scram import (
    ClientFirst,
    ClientLogin,
    Keys,
    MalformedMessage,
    ScramError,
    ServerLogin,
    UnusableCredentials,
    Verifier,
    WrongServer,
    derive_keys,
    verifier_of,
)
from tests.support.pbkdf2 import derived_once
from tests.support.places import ROOT

USER, PASSWORD = "user", "Passw0rd!"
CLIENT_NONCE, SERVER_NONCE = "Y29jb25vd29yay1jbGllbnQ", "Z2F0ZXdheS1ub25jZS0wMDE"
SALT = bytes(range(16))
CLIENT_FIRST = "n,,n=user,r=Y29jb25vd29yay1jbGllbnQ"
SERVER_FIRST = (
    "r=Y29jb25vd29yay1jbGllbnQZ2F0ZXdheS1ub25jZS0wMDE,s=AAECAwQFBgcICQoLDA0ODw==,i=600000"
)
CLIENT_FINAL = (
    "c=biws,r=Y29jb25vd29yay1jbGllbnQZ2F0ZXdheS1ub25jZS0wMDE,"
    "p=/M3/Dnry1aa0NiS681qKt3ZALst9oThvppAZL02bvA0="
)
SERVER_FINAL = "v=Zxao3iwBawyBOteqmDnlGN+471r6Ns4ChKNJWO3zjLA="


def handshake() -> ClientLogin:
    return ClientLogin(user=USER, password=PASSWORD, nonce=CLIENT_NONCE)


def challenge(
    *,
    iterations: object = 600_000,
    nonce: str = CLIENT_NONCE + SERVER_NONCE,
    salt: bytes = SALT,
) -> str:
    return f"r={nonce},s={b64encode(salt).decode()},i={iterations}"


def verifier(password: str = PASSWORD) -> Verifier:
    return verifier_of(derive_keys(password, salt=SALT, iterations=600_000))


def login(*verifiers: Verifier) -> ServerLogin:
    """Return the server's half of the worked example's login."""
    first = ClientFirst.parse(CLIENT_FIRST)
    return ServerLogin(first, verifiers or [verifier()], nonce=SERVER_NONCE)


# --- the worked example, and another implementation


def test_the_worked_example() -> None:
    """Both halves make the example's messages and accept each other's."""
    client, server = handshake(), login()
    assert client.first() == CLIENT_FIRST
    assert server.challenge == SERVER_FIRST
    assert client.proof(SERVER_FIRST) == CLIENT_FINAL
    assert server.check(CLIENT_FINAL) == (0, SERVER_FINAL)
    client.verify(SERVER_FINAL)
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    assert f"User `{USER}`, password `{PASSWORD}`" in text
    assert "tests/unit/protocol/test_scram.py" in text


def proof_and_signature(keys: Keys, auth: str) -> tuple[str, str]:
    """Return proof and signature in base64, by RFC 5802's formulas and a hash function."""
    stored_key = hashlib.sha256(keys.client).digest()
    signature = hmac.digest(stored_key, auth.encode(), "sha256")
    proof = bytes(a ^ b for a, b in zip(keys.client, signature, strict=True))
    server = hmac.digest(keys.server, auth.encode(), "sha256")
    return b64encode(proof).decode(), b64encode(server).decode()


def test_the_worked_example_by_the_rfc() -> None:
    """RFC 5802's formulas give the values of the worked example."""
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, 600_000)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    keys = derive_keys(PASSWORD, salt=SALT, iterations=600_000)
    assert (keys.client, keys.server) == (client_key, server_key)
    without_proof = CLIENT_FINAL.partition(",p=")[0]
    auth = f"{CLIENT_FIRST[3:]},{SERVER_FIRST},{without_proof}"
    proof, signature = proof_and_signature(keys, auth)
    assert (f"{without_proof},p={proof}", f"v={signature}") == (CLIENT_FINAL, SERVER_FINAL)
    for value in (salted, client_key, hashlib.sha256(client_key).digest(), server_key):
        assert value.hex() in str(__doc__)


ascii_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)
nonces = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1
)


@given(ascii_texts.filter(lambda text: len(text) <= 64), nonces, nonces)
@example("a,b=c=2C", CLIENT_NONCE, SERVER_NONCE)
@example("a=2C", CLIENT_NONCE, SERVER_NONCE)
def test_each_half_works_with_scramp(user: str, client_nonce: str, server_nonce: str) -> None:
    """Any name and nonces: our client logs in at scramp's server, and scramp's client at ours."""
    made = verifier()
    names: list[str] = []

    def find(name: str) -> tuple[bytes, bytes, bytes, int]:
        names.append(name)
        return made.salt, made.stored_key, made.server_key, made.iterations

    client = ClientLogin(user=user, password=PASSWORD, nonce=client_nonce)
    theirs = ScramMechanism("SCRAM-SHA-256").make_server(find, s_nonce=server_nonce)
    theirs.set_client_first(client.first())
    theirs.set_client_final(client.proof(theirs.get_server_first()))
    client.verify(theirs.get_server_final())
    other = ScramClient(["SCRAM-SHA-256"], user, PASSWORD, c_nonce=client_nonce)
    first = ClientFirst.parse(other.get_client_first())
    server = ServerLogin(first, [made], nonce=server_nonce)
    other.set_server_first(server.challenge)
    found = server.check(other.get_client_final())
    assert found is not None
    other.set_server_final(found[1])
    assert [*names, first.user] == [user, user]


# --- the client's half


COUNTS = [0, 599_999, 5_000_001, 10**9, 10**12, "0600000", "6e5", "-600000", "６０００００"]
OTHERS = ["another" + SERVER_NONCE, SERVER_NONCE + CLIENT_NONCE, CLIENT_NONCE[:-1], CLIENT_NONCE]
NO_NONCES = ["", *(f"{CLIENT_NONCE}{more}" for more in (" x", "é", "\x7f"))]
MALFORMED = [
    "", "r=Y29jb25vd29yay1jbGllbnQx,s=é,i=600000", "e=other-error,i=600000",
    "e=other-error,x=a,i=600000", "r=\ud800,s=\ud800,i=600000", SERVER_FIRST + ",x=\ud800",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "error"),
    [
        # Too few iterations make guesses from the proof cheap; too many stall the PC.
        *((challenge(iterations=count), "unsafe iteration count") for count in COUNTS),
        # A challenge recorded from another login, or characters that RFC 5802 forbids in a nonce
        *((challenge(nonce=nonce), "a challenge for another login") for nonce in OTHERS),
        *((challenge(nonce=nonce), "malformed challenge") for nonce in NO_NONCES),
        # With a shorter salt many users' passwords could be guessed at once.
        (challenge(salt=bytes(11)), "malformed challenge"),
        *((text, "malformed challenge") for text in MALFORMED),
    ],
)
def test_challenges_that_get_no_proof(text: str, error: str) -> None:
    """An unusable challenge raises; the error quotes nothing of it."""
    with pytest.raises(MalformedMessage, match=rf"^{error}$"):
        handshake().proof(text)


def test_the_count_judged_is_the_count_used() -> None:
    """A second `i`, or text in front, does not hide a lower iteration count from the check."""
    safe = challenge()
    for text in (
        safe + ",i=4096",
        safe.replace(",i=", ",i=4096,i="),
        challenge(iterations=4096) + ",x=a,i=600000",
        f"i=4096,{safe}",
        safe.replace("r=", "r=,i=600000", 1).replace("i=600000", "i=4096"),
        safe + ",m=1",
    ):
        with pytest.raises(ScramError):
            handshake().proof(text)
    with derived_once(rounds=1):
        for limit in (msg.MIN_ITERATIONS, msg.MAX_ITERATIONS):
            text = challenge(iterations=limit, salt=bytes(12))
            assert handshake().proof(text).startswith("c=biws,")


def test_a_final_that_is_not_believed() -> None:
    """A server-final is refused with a wrong, missing or doubled signature, or before the proof."""
    client = handshake()
    with pytest.raises(WrongServer):
        client.verify(SERVER_FINAL)
    client.proof(challenge(nonce=CLIENT_NONCE + "another"))
    finals = ["", "e=unknown-user", "v=QUJD", "v=Q", "v=é", SERVER_FINAL.replace("v=", "e=")]
    for final in (SERVER_FINAL, *finals):
        with pytest.raises(WrongServer):
            client.verify(final)
    client.proof(SERVER_FIRST)
    with pytest.raises(WrongServer):
        client.verify(f"{SERVER_FINAL},{SERVER_FINAL}")


@pytest.mark.parametrize("text", ["", "é", "a\nb", "\ud800", "x" * 1025])
def test_text_that_is_no_name_or_password(text: str) -> None:
    """Text that is no name or password raises before keys are derived; no repr has a password."""
    with pytest.raises(UnusableCredentials, match=r"^password has characters"):
        derive_keys(text, salt=SALT, iterations=600_000)
    for user, password in ((USER, text), (text, PASSWORD)):
        with pytest.raises(UnusableCredentials):
            ClientLogin(user=user, password=password, nonce=CLIENT_NONCE)
    assert PASSWORD not in repr(handshake())


# --- the server's half


def test_one_proof_is_checked_against_all_verifiers() -> None:
    """The first matching verifier is found at any place; a proof of another length is wrong."""
    one, other = verifier(), verifier("Second-2nd")
    assert login(other, other, one, one).check(CLIENT_FINAL) == (2, SERVER_FINAL)
    right = b64decode(CLIENT_FINAL.partition(",p=")[2])
    for wrong in (b"x", bytes(31), bytes(32), bytes(33), b"x" * 600, right + b"\0", right[:-1]):
        assert login().check(final(p=b64encode(wrong).decode())) is None


def test_wrong_proofs_cost_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong proof is compared at least four times, or once per verifier if there are more."""
    final = CLIENT_FINAL.replace("p=", "p=AAAA")
    for verifiers, expected in ((1, 4), (3, 4), (4, 4), (5, 5)):
        server = login(*[verifier()] * verifiers)
        with monkeypatch.context() as patch:
            hashes = Mock(side_effect=hashlib.sha256)
            patch.setattr(hashlib, "sha256", hashes)
            assert server.check(final) is None
        assert hashes.call_count == expected


@pytest.mark.parametrize(
    ("first", "user"),
    [
        ("y,,n=tanaka,r=x", "tanaka"),
        ("n,,n=tanaka,r=x,f=more,G=y", "tanaka"),
        ("n,,n=ｔａｎａｋａ,r=x", None),
        ("n,,n=" + "a" * 65 + ",r=x", None),
    ],
)
def test_client_first(first: str, user: str | None) -> None:
    """A user name that no user can have is parsed as None."""
    parsed = ClientFirst.parse(first)
    assert (parsed.user, parsed.nonce) == (user, "x")
    assert first == parsed.header + parsed.bare


@pytest.mark.parametrize(
    "first",
    [
        "", "n,,n=,r=x", "n,,n=a,r=", "n,a=b,n=a,r=x", "p=tls-unique,,n=a,r=x", "n,,n=a=,r=x",
        "n,,n=a=2c,r=x", "n,,m=1,n=a,r=x", "n,,n=a,r=x y", "n,,n=a,r=x,m=1", "n,,n=a,r=x,r=y",
        "n,,n=a\0,r=x", "n,,n=a,r=x,f=\ud800", " n,,n=a,r=x", "n,,n=a,r=x\n",
    ],
)  # fmt: skip
def test_text_that_is_no_client_first(first: str) -> None:
    """Text that is no client-first raises an error that quotes nothing of it."""
    with pytest.raises(MalformedMessage, match=r"^malformed SCRAM client-first$"):
        ClientFirst.parse(first)


def final(**changes: str) -> str:
    parts = {"c": "biws", "r": CLIENT_NONCE + SERVER_NONCE, "p": CLIENT_FINAL.partition(",p=")[2]}
    return ",".join(f"{key}={value}" for key, value in {**parts, **changes}.items())


@pytest.mark.parametrize(
    "text",
    [
        "",
        final(c="eSws"), final(r=CLIENT_NONCE), final(r=CLIENT_NONCE + SERVER_NONCE + "x"),
        final(p=""), final(p="QUJ"), final(p="é"), final() + ",x=1",
        CLIENT_FINAL.replace(",p=", ",r=again,p="), CLIENT_FINAL.replace(",p=", ",x=\ud800,p="),
    ],
)  # fmt: skip
def test_text_that_is_no_client_final(text: str) -> None:
    """A wrong binding or nonce, no proof, or text after the proof raises."""
    with pytest.raises(MalformedMessage, match=r"^malformed SCRAM client-final$"):
        login().check(text)


def test_an_extension_before_the_proof_is_part_of_what_is_signed() -> None:
    """An extension is signed with the rest; the header `y,,` is bound as `eSws`."""
    server = ServerLogin(ClientFirst.parse("y,,n=user,r=abc"), [verifier()], nonce="def")
    keys = derive_keys(PASSWORD, salt=SALT, iterations=600_000)
    auth = f"n=user,r=abc,{server.challenge},c=eSws,r=abcdef,x=1"
    proof, signature = proof_and_signature(keys, auth)
    assert server.check(f"c=eSws,r=abcdef,x=1,p={proof}") == (0, f"v={signature}")


def test_verifiers_of_one_password() -> None:
    """Verifiers are compared only with equal salt and iterations; a repr shows no secret."""
    one, same, other = verifier(), verifier(), verifier("Second-2nd")
    elsewhere = replace(one, salt=bytes(16))
    slower = replace(one, iterations=600_001)
    assert repr(one) == "Verifier(iterations=600000)"
    others = (same, other, elsewhere, slower)
    assert [one.shares_salt(each) for each in others] == [True, True, False, False]
    assert [one.same_password(each) for each in others] == [True, False, False, False]
