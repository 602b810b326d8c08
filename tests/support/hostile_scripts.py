"""Scripts of hostile servers; for each, the client's reason, close code and least delay."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from websockets.frames import Close, Opcode

from tests.support.fake_gateway import (
    PASSWORD,
    Peer,
    Script,
    answering,
    at,
    challenged,
    http,
    raw,
    seal,
    sign,
    steps,
)

NEXT = "Pushed-22"
SOON_S, LATER_S = 0.3, 6.0
"""The shortest first delay, in s: when a network may return, and when a person must act."""
SALT = b64encode(b"0123456789abcdef").decode()
EARLIER_SIGNATURE = f"v={b64encode(bytes(range(32))).decode()}"
PUSH = {
    "type": "password_changed",
    "change_id": "0" * 32,
    "sealed": "A" * 200,
    "valid_until": "2030-01-01T00:00:00Z",
}


def welcome(scram: str, **fields: Any) -> dict[str, Any]:
    """Return a `welcome` with this signature of the server."""
    right = {"type": "welcome", "scram": scram, "password": "current"}
    right |= {"server_time": "2020-01-01T00:00:00Z", "console_url": "https://evil.example/"}
    return {**right, **fields}


def upgrade(*, without: str = "", **headers: str) -> Script:
    """Accept the upgrade with other headers."""
    return lambda peer: peer.upgrade(without=without, **headers)


def text(message: str | dict[str, Any], **fields: Any) -> Script:
    """Send a message instead of the challenge: a text, or fields of a message."""
    sent = {"type": message, **fields} if fields else message
    return steps(Peer.hello, lambda peer: peer.send(sent))


def rejected(reason: str, **fields: Any) -> Script:
    """Reject the `hello`."""
    return text("rejected", reason=reason, **fields)


def frame(opcode: Opcode, data: bytes) -> Script:
    """Send a frame instead of the challenge."""
    return steps(Peer.hello, lambda peer: peer.frame(opcode, data))


def closing(code: int, reason: str = "") -> Script:
    """Close instead of sending the challenge."""
    return frame(Opcode.CLOSE, Close(code, reason).serialize())


async def flood(peer: Peer) -> None:
    """Send a message without end, in small frames."""
    await peer.hello()
    for number in range(40):
        peer.frame(Opcode.TEXT if number == 0 else Opcode.CONT, b"[" * 1000, fin=False)


async def endless_page(peer: Peer) -> None:
    """Send an HTTP page without Content-Length and without an end."""
    await peer.request()
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    for _ in range(100):
        await peer.more(b"<p>And more." * 8000)


async def unread_pongs(peer: Peer) -> None:
    """Send pings without end, and never read the answers."""
    await peer.log_in()
    while True:
        await peer.more((b"\x89\x7d" + b"p" * 125) * 500)


def talking(*messages: dict[str, Any]) -> Script:
    """Log the client in, and then send these messages again and again."""

    async def script(peer: Peer) -> None:
        await peer.log_in()
        for number in range(3000):
            peer.send({**messages[number % len(messages)], "number": number})

    return script


CUTS: dict[str, Script] = {
    "accept": steps(Peer.hang_up),
    "request": steps(Peer.request, Peer.hang_up),
    "upgrade": steps(Peer.upgrade, Peer.hang_up),
    "hello": steps(Peer.hello, Peer.hang_up),
    "challenge": steps(challenged, Peer.hang_up),
    "proof": steps(challenged, Peer.receive, Peer.hang_up),
}
"""Cut the connection after a step of the login."""


def challenging(form: str) -> Script:
    """Send a challenge of `form` that a client must not answer; `+` is the client's nonce."""

    async def script(peer: Peer) -> None:
        nonce = (await peer.hello())["scram"].partition(",r=")[2]
        peer.send({"type": "challenge", "scram": form.replace("+", nonce)})
        raise AssertionError(f"it answered: {await peer.receive()}")

    return script


REPLAY = steps(
    Peer.hello,
    lambda peer: peer.send({"type": "challenge", "scram": f"r=old,s={SALT},i=600000"}),
    lambda peer: peer.send(welcome(EARLIER_SIGNATURE)),
)
"""Send all messages that an honest server sent in an earlier session."""
OLD = welcome(EARLIER_SIGNATURE, password="old", valid_until=at(1))
STATUS = {"type": "password_status", "password": "current", "server_time": at()}
MONDAY = "Date: Mon, 23 Nov 2026 08:00:00 GMT\r\nRetry-After: Mon, 23 Nov 2026 09:00:00 GMT"
MB = 1_000_000

GROUPS: list[tuple[str, int | None, float, dict[str, Script]]] = [
    # reason, the client's close code, least seconds before the next try, scripts by name
    ("not_a_gateway", None, LATER_S, {
        "captive portal": http("200 OK"),
        "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "endless headers": raw(b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-Filler: x\r\n" * 5000),
        "endless page": endless_page,
        "1 MB of reason": raw(b"HTTP/1.1 503 " + b"x" * MB + b"\r\n\r\n"),
        "a header of 1 MB": raw(b"HTTP/1.1 503 No\r\nRetry-After: " + b"9" * MB + b"\r\n\r\n"),
        "no accept": upgrade(without="Sec-WebSocket-Accept"),
        "wrong accept": upgrade(Sec_WebSocket_Accept="AAAA"),
        "other subprotocol": upgrade(Sec_WebSocket_Protocol="mqtt"),
        "compression": upgrade(Sec_WebSocket_Extensions="permessage-deflate"),
    }),
    ("not_a_gateway", 1002, LATER_S, {"no subprotocol": upgrade(without="Sec-WebSocket-Protocol")}),
    ("too_many_requests", None, 3600, {
        "429 for ever": http("429 No\r\nRetry-After: 99999999999"),
    }),
    ("unavailable", None, 3600, {"503 with a date": http(f"503 No\r\n{MONDAY}")}),
    # --- no message of the protocol
    ("protocol", 1008, LATER_S, {
        "empty": text(""),
        "no JSON": text("<html>"),
        "nested": text("[" * 16_000),
        "wrong field": text("challenge", scram=5),
        "unknown reason": text("bye", reason="x"),
        "a wait of a year": rejected("throttled", retry_after_s=31_536_000),
        "closed, 1008": closing(1008),
    }),
    ("protocol", 1009, LATER_S, {
        "too long": text("x" * 16_385),
        "flood": flood,
        "empty fragments": steps(
            Peer.hello,
            lambda peer: peer.frame(Opcode.TEXT, b"", fin=False),
            lambda peer: peer.write(bytes([0x00, 0x00]) * 20_000),
        ),
        "a name of 1 MB": text("challenge", scram="x", name="x" * MB),
    }),
    ("protocol", 1003, LATER_S, {"binary": frame(Opcode.BINARY, b"{}")}),
    ("protocol", 1007, LATER_S, {"no UTF-8": frame(Opcode.TEXT, b'"\xff"')}),
    ("protocol", 1002, LATER_S, {
        "compressed": steps(Peer.hello, lambda peer: peer.write(b"\xc1\x02{}")),
    }),
    # --- out of order, and attempts of a false server
    ("protocol", 1000, LATER_S, {
        "welcome at once": text(welcome(EARLIER_SIGNATURE)),
        "push before welcome": text(PUSH),
        "push for a proof": answering(**PUSH),
        "status before welcome": text(STATUS),
        "two challenges": answering(type="challenge", scram="r=x,s=AAAA,i=600000"),
        "rejected without a proof": rejected("credentials"),
        "expired without a proof": rejected("expired"),
        "599,999 iterations": challenging(f"r=+x,s={SALT},i=599999"),
        "5,000,001 iterations": challenging(f"r=+x,s={SALT},i=5000001"),
        "two counts": challenging(f"r=+x,s={SALT},i=600000,i=1"),
        "no salt": challenging("r=+x,s=,i=600000"),
        "our nonce only": challenging(f"r=+,s={SALT},i=600000"),
        "replayed challenge": challenging(f"r=earlier,s={SALT},i=600000"),
        "replayed session": REPLAY,
    }),
    ("impostor", 1000, LATER_S, {
        "impostor": answering(**welcome(EARLIER_SIGNATURE)),
        "impostor of few words": answering(**welcome("v=")),
        "impostor with an old password": answering(**OLD),
    }),
    # --- refused or sent away
    ("disabled", 1000, LATER_S, {
        "disabled": rejected("disabled"),
        "bye, disabled": text("bye", reason="disabled"),
    }),
    ("blocked", 1000, LATER_S, {
        "blocked": answering(type="rejected", reason="blocked"),
        "bye, blocked": text("bye", reason="blocked"),
    }),
    ("version", 1000, LATER_S, {"version": rejected("version")}),
    ("throttled", 1000, 900, {"throttled": rejected("throttled", retry_after_s=900)}),
    ("superseded", 1000, 300, {"superseded": text("bye", reason="superseded")}),
    ("shutting_down", 1000, 86_400, {
        "shutting down": text("bye", reason="shutting_down", retry_after_s=86_400),
    }),
    ("shutting_down", 1001, SOON_S, {"closed, 1001": closing(1001)}),
    ("connection_lost", 1011, SOON_S, {"closed, 1011": closing(1011)}),
    ("connection_lost", None, SOON_S, {f"cut after {step}": cut for step, cut in CUTS.items()}),
]  # fmt: skip
CASES = {
    name: (script, reason, code, least_s)
    for reason, code, least_s, scripts in GROUPS
    for name, script in scripts.items()
}

FLOODS: dict[str, Script] = {
    "types of a later version": talking({"type": "later"}),
    "ends of the password": talking(
        *({"type": "password_status", "password": "old", "server_time": at(), "valid_until": at(n)}
          for n in range(1, 30))
    ),
    "pings whose answers are not read": unread_pongs,
}  # fmt: skip


def push(change_id: str, sealed: str, *, signed_by: str = PASSWORD, **more: Any) -> dict[str, Any]:
    """Return the right server's push for a client that is logged in with `signed_by`."""
    signature = sign(signed_by, change_id, sealed)
    right = {**PUSH, "change_id": change_id, "sealed": sealed, "valid_until": at(9)}
    return {**right, "signature": signature, **more}


def box(device: dict[str, Any], **fields: Any) -> bytes:
    """Return the content of a right box for the device, with `fields` replaced."""
    right = {"change_id": "a" * 32, "device_id": device["id"], "password": NEXT}
    return json.dumps({**right, **fields}).encode()


def wrong(**fields: Any) -> Callable[[dict[str, Any]], str]:
    """Return a function that seals a box with these fields."""
    return lambda device: seal(device, box(device, **fields))


BOXES: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "another key": (
        lambda device: seal({"public_key": b64encode(bytes([9] * 32)).decode()}, box(device)),
        "unreadable",
    ),
    "another device": (wrong(device_id="b" * 32), "unreadable"),
    "another change": (wrong(change_id="b" * 32), "unreadable"),
    "one field more": (wrong(more=1), "unreadable"),
    "no password": (wrong(password=""), "unreadable"),
    "1,025 characters": (wrong(password="x" * 1025), "unreadable"),
    "too big for a vault": (wrong(password="\\" * 800), "vault"),
    "no JSON": (lambda device: seal(device, b"\xff" * 40), "unreadable"),
    "no box": (lambda _: "!" * 100, "unreadable"),
}
