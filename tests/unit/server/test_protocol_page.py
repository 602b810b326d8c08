"""docs/protocol.md against the code: its example, its limits, and every message and field."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from typing import Any, get_args

import msgspec
import pytest

from agent.core.connection_state import LOGIN_S, MAX_REFUSALS
from protocol import messages
from protocol.scram import ClientLogin
from protocol.sealing import device_id, open_sealed, public_key
from server.gateway import connection, conversation
from server.gateway import server as gateway_server
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text("utf-8")
EXAMPLES = [line.encode() for line in PAGE.splitlines() if line.startswith("{")]
DEVICE_KEY = b64encode(bytes(range(32))).decode()


def test_the_login_of_the_example() -> None:
    """The client sends the bytes on the page, and accepts the server's answers there."""
    hello, challenge, proof, welcome = EXAMPLES[:4]
    first = messages.decode_from_client(hello)
    assert isinstance(first, messages.Hello)
    nonce = first.scram.partition(",r=")[2]
    client = ClientLogin(user="user", password="Passw0rd!", nonce=nonce)
    device = msgspec.structs.replace(
        first.device, public_key=public_key(DEVICE_KEY), id=device_id(first.device.public_key)
    )
    assert messages.encode(messages.Hello(scram=client.first(), device=device)) == hello
    second = messages.decode_from_server(challenge)
    assert isinstance(second, messages.Challenge)
    assert messages.encode(messages.Proof(scram=client.proof(second.scram))) == proof
    last = messages.decode_from_server(welcome)
    assert isinstance(last, messages.Welcome)
    client.verify(last.scram)
    assert last.password == "old"


def test_the_push_of_the_example() -> None:
    """The example's device opens the box and gets the text on the page."""
    message = messages.decode_from_server(EXAMPLES[4])
    assert isinstance(message, messages.PasswordChanged)
    salted = hashlib.pbkdf2_hmac("sha256", b"Passw0rd!", bytes(range(16)), 600_000)
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    signed = f"push,{message.change_id},{message.sealed}".encode()
    assert message.signature == b64encode(hmac.digest(server_key, signed, "sha256")).decode()
    sealed = open_sealed(message, device_key=DEVICE_KEY)
    assert messages.encode(sealed) == EXAMPLES[5]


STRUCTS = (
    messages.Device,
    messages.SealedPassword,
    *get_args(messages.ClientMessage),
    *get_args(messages.ServerMessage),
)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_field_is_on_the_page(struct: type[msgspec.Struct]) -> None:
    """Every message, field and allowed word is in docs/protocol.md."""
    info: Any = msgspec.inspect.type_info(struct)
    words = [info.tag] if info.tag else []
    for field in info.fields:
        words.append(field.name)
        literals = getattr(field.type, "types", (field.type,))
        for each in literals:
            words += getattr(each, "values", ())
    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_limits_are_as_on_the_page() -> None:
    """docs/protocol.md states each limit as it is in the code."""
    for text in (
        f"**{messages.MAX_MESSAGE_BYTES:,} bytes**",
        f"path `{messages.PATH}`, subprotocol `{messages.SUBPROTOCOL}`",
        f"upgrade must be finished within {connection.OPEN_SECONDS} s",
        f"within {connection.LOGIN_SECONDS} s of the upgrade",
        f"more than {connection.FRAME_BURST} frames at once",
        f"or {connection.FRAMES_PER_S} a second in the long run",
        f"under {messages.MIN_ITERATIONS:,}",
        f"over {messages.MAX_ITERATIONS:,}",
        f"for which the client has {LOGIN_S:.0f} s",
        f"for {connection.PING_SECONDS} s, and cuts",
        f"for another {connection.PONG_SECONDS} s",
        f"within {gateway_server.SWEEP_SECONDS} s of that moment",
    ):
        assert text in PAGE
    assert MAX_REFUSALS == conversation.MAX_REFUSALS == 3
    assert re.search(r"after\s+the\s+third\s+`credentials`", PAGE)


def test_every_farewell_is_on_the_page() -> None:
    """docs/protocol.md has exactly the reasons of a client's close frame."""
    table = PAGE.partition("in the reason of its close frame")[2].partition("## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == get_args(messages.Farewell)
