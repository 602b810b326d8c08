"""Scripts of hostile servers; for each the reason, close code and least wait of a client."""

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
    http,
    seal,
    sign,
)

NEXT = "Pushed-22"
SOON_S, LATER_S = 0.3, 6.0
"""The shortest first delay where a network may come back, and where a person has to repair it."""


def raw(data: bytes) -> Script:
    """Send bytes that are not HTTP."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(data)

    return script


def upgrade(*, without: str = "", **headers: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.upgrade(without=without, **headers)

    return script


def text(message: str | dict[str, Any], *, then_hang_up: bool = False) -> Script:
    """Send a message instead of the challenge."""

    async def script(peer: Peer) -> None:
        await peer.hello()
        peer.send(message)
        if then_hang_up:
            await peer.more(b"")
            peer.hang_up()

    return script


def frame(opcode: Opcode, data: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.hello()
        peer.frame(opcode, data)

    return script


async def compressed(peer: Peer) -> None:
    """Send a frame marked as compressed, which the client has not agreed to."""
    await peer.hello()
    peer.write(bytes([0xC0 | Opcode.TEXT, 2]) + b"{}")


def closing(code: int) -> Script:
    return frame(Opcode.CLOSE, Close(code, "").serialize())


async def flood(peer: Peer) -> None:
    """Send a message without end, in small frames."""
    await peer.hello()
    for number in range(40):
        peer.frame(Opcode.TEXT if number == 0 else Opcode.CONT, b"[" * 1000, fin=False)


async def empty_fragments(peer: Peer) -> None:
    """Send a message without end, in empty frames."""
    await peer.hello()
    peer.frame(Opcode.TEXT, b"", fin=False)
    peer.write(bytes([0x00, 0x00]) * 20_000)


async def endless_page(peer: Peer) -> None:
    """Send an HTTP page without length and end."""
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
    """Log in by the protocol, and then send these messages over and over."""

    async def script(peer: Peer) -> None:
        await peer.log_in()
        for number in range(3000):
            peer.send({**messages[number % len(messages)], "number": number})

    return script


async def flood_of_headers(peer: Peer) -> None:
    await peer.request()
    peer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-Filler: x\r\n" * 5000)


def hanging_up(after: str) -> Script:
    """Cut the connection at a step of the login."""

    async def script(peer: Peer) -> None:
        if after == "request":
            await peer.request()
        elif after == "upgrade":
            await peer.upgrade()
        elif after != "accept":
            hello = await peer.hello()
            if after == "proof":
                await peer.challenge(hello)
                await peer.receive()
            elif after == "challenge":
                await peer.challenge(hello)
        peer.hang_up()

    return script


def challenging(form: str) -> Script:
    """Send a challenge of this form, which a client must not answer."""

    async def script(peer: Peer) -> None:
        nonce = (await peer.hello())["scram"].partition(",r=")[2]
        peer.send({"type": "challenge", "scram": form.format(nonce=nonce)})
        raise AssertionError(f"it answered: {await peer.receive()}")

    return script


async def replay(peer: Peer) -> None:
    """Send all messages that an honest server sent in an earlier session."""
    await peer.hello()
    peer.send({"type": "challenge", "scram": f"r=old,s={SALT_TEXT},i=600000"})
    peer.send(welcome(EARLIER_SIGNATURE))


SALT_TEXT = b64encode(b"0123456789abcdef").decode()
EARLIER_SIGNATURE = f"v={b64encode(bytes(range(32))).decode()}"
PUSH = {
    "type": "password_changed",
    "change_id": "0" * 32,
    "sealed": "A" * 200,
    "valid_until": "2030-01-01T00:00:00Z",
}


def welcome(scram: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "welcome",
        "scram": scram,
        "password": "current",
        "server_time": "2020-01-01T00:00:00Z",
        "console_url": "https://evil.example/",
        **fields,
    }


CASES: dict[str, tuple[Script, str, int | None, float]] = {
    # name: script, reason, the client's close code, least seconds before it comes again
    # --- not a gateway
    "captive portal": (http("200 OK"), "not_a_gateway", None, LATER_S),
    "not found": (http("404 Not Found"), "not_a_gateway", None, LATER_S),
    "401": (http("401 No\r\nWWW-Authenticate: Basic"), "http_unauthorized", None, LATER_S),
    "403": (http("403 Forbidden"), "http_forbidden", None, LATER_S),
    "407": (
        http('407 No\r\nProxy-Authenticate: Basic realm="x"'), "proxy_login", None, LATER_S
    ),
    "429": (http("429 No\r\nRetry-After: 700"), "too_many_requests", None, 700),
    "429 for ever": (
        http("429 No\r\nRetry-After: 99999999999"), "too_many_requests", None, 86_400
    ),
    "500": (http("500 No"), "unavailable", None, SOON_S),
    "503": (http("503 No\r\nRetry-After: 400"), "unavailable", None, 400),
    "503 with a date": (
        http(
            "503 No\r\nDate: Mon, 23 Nov 2026 08:00:00 GMT"
            "\r\nRetry-After: Mon, 23 Nov 2026 09:00:00 GMT"
        ),
        "unavailable", None, 3600,
    ),
    "503 with nonsense": (http("503 No\r\nRetry-After: -1e99"), "unavailable", None, SOON_S),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "not_a_gateway", None, LATER_S),
    "endless headers": (flood_of_headers, "not_a_gateway", None, LATER_S),
    "endless page": (endless_page, "not_a_gateway", None, LATER_S),
    "1 MB of reason": (
        raw(b"HTTP/1.1 503 " + b"x" * 1_000_000 + b"\r\n\r\n"), "not_a_gateway", None, LATER_S
    ),
    "a header of 1 MB": (
        raw(b"HTTP/1.1 503 No\r\nRetry-After: " + b"9" * 1_000_000 + b"\r\n\r\n"),
        "not_a_gateway", None, LATER_S,
    ),
    "no accept": (upgrade(without="Sec-WebSocket-Accept"), "not_a_gateway", None, LATER_S),
    "wrong accept": (upgrade(Sec_WebSocket_Accept="AAAA"), "not_a_gateway", None, LATER_S),
    "no subprotocol": (
        upgrade(without="Sec-WebSocket-Protocol"), "not_a_gateway", 1002, LATER_S
    ),
    "other subprotocol": (upgrade(Sec_WebSocket_Protocol="mqtt"), "not_a_gateway", None, LATER_S),
    "compression": (
        upgrade(Sec_WebSocket_Extensions="permessage-deflate"), "not_a_gateway", None, LATER_S
    ),
    # --- no message of ours
    "empty": (text(""), "protocol", 1008, LATER_S),
    "no JSON": (text("<html>"), "protocol", 1008, LATER_S),
    "no object": (text("[]"), "protocol", 1008, LATER_S),
    "no type": (text("{}"), "protocol", 1008, LATER_S),
    "nested": (text("[" * 16_000), "protocol", 1008, LATER_S),
    "wrong field": (text({"type": "challenge", "scram": 5}), "protocol", 1008, LATER_S),
    "unknown reason": (text({"type": "bye", "reason": "x"}), "protocol", 1008, LATER_S),
    "a wait of a year": (
        text({"type": "rejected", "reason": "throttled", "retry_after_s": 31_536_000}),
        "protocol", 1008, LATER_S,
    ),
    "too long": (text("x" * 16_385), "protocol", 1009, LATER_S),
    "flood": (flood, "protocol", 1009, LATER_S),
    "empty fragments": (empty_fragments, "protocol", 1009, LATER_S),
    "a name of 1 MB": (
        text({"type": "challenge", "scram": "x", "name": "x" * 1_000_000}),
        "protocol", 1009, LATER_S,
    ),
    "binary": (frame(Opcode.BINARY, b"{}"), "protocol", 1003, LATER_S),
    "no UTF-8": (frame(Opcode.TEXT, b'"\xff"'), "protocol", 1007, LATER_S),
    "compressed": (compressed, "protocol", 1002, LATER_S),
    # --- out of turn
    "welcome at once": (text(welcome(EARLIER_SIGNATURE)), "protocol", 1000, LATER_S),
    "push before welcome": (text(PUSH), "protocol", 1000, LATER_S),
    "push for a proof": (answering(**PUSH), "protocol", 1000, LATER_S),
    "status before welcome": (
        text({"type": "password_status", "password": "current", "server_time": at()}),
        "protocol", 1000, LATER_S,
    ),
    "two challenges": (
        answering(type="challenge", scram="r=x,s=AAAA,i=600000"), "protocol", 1000, LATER_S
    ),
    "refused unheard": (text({"type": "rejected", "reason": "credentials"}), "protocol", 1000, 6),
    "expired unheard": (text({"type": "rejected", "reason": "expired"}), "protocol", 1000, LATER_S),
    # --- what a false server would like to have
    "one iteration": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=1"), "protocol", 1000, LATER_S
    ),
    "599,999 iterations": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=599999"), "protocol", 1000, LATER_S
    ),
    "5,000,001 iterations": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=5000001"), "protocol", 1000, LATER_S
    ),
    "two counts": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=600000,i=1"), "protocol", 1000, LATER_S
    ),
    "10^9 iterations": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=1000000000"), "protocol", 1000, LATER_S
    ),
    "no salt": (challenging("r={nonce}x,s=,i=600000"), "protocol", 1000, LATER_S),
    "our nonce only": (
        challenging(f"r={{nonce}},s={SALT_TEXT},i=600000"), "protocol", 1000, LATER_S
    ),
    "replayed challenge": (
        challenging(f"r=earlier,s={SALT_TEXT},i=600000"), "protocol", 1000, LATER_S
    ),
    "replayed session": (replay, "protocol", 1000, LATER_S),
    "impostor": (answering(**welcome(EARLIER_SIGNATURE)), "impostor", 1000, LATER_S),
    "impostor of few words": (answering(**welcome("v=")), "impostor", 1000, LATER_S),
    "impostor with an old password": (
        answering(**welcome(EARLIER_SIGNATURE, password="old", valid_until=at(1))),
        "impostor", 1000, LATER_S,
    ),
    # --- sent away
    "disabled": (text({"type": "rejected", "reason": "disabled"}), "disabled", 1000, LATER_S),
    "blocked": (answering(type="rejected", reason="blocked"), "blocked", 1000, LATER_S),
    "version": (text({"type": "rejected", "reason": "version"}), "version", 1000, LATER_S),
    "throttled": (
        text({"type": "rejected", "reason": "throttled", "retry_after_s": 900}),
        "throttled", 1000, 900,
    ),
    "superseded": (text({"type": "bye", "reason": "superseded"}), "superseded", 1000, 300),
    "bye, disabled": (text({"type": "bye", "reason": "disabled"}), "disabled", 1000, LATER_S),
    "bye, blocked": (text({"type": "bye", "reason": "blocked"}), "blocked", 1000, LATER_S),
    "shutting down": (
        text({"type": "bye", "reason": "shutting_down", "retry_after_s": 86_400}),
        "shutting_down", 1000, 86_400,
    ),
    "closed, 1001": (closing(1001), "shutting_down", 1001, SOON_S),
    "closed, 1008": (closing(1008), "protocol", 1008, LATER_S),
    "closed, 1011": (closing(1011), "connection_lost", 1011, SOON_S),
    **{
        f"cut after {step}": (hanging_up(step), "connection_lost", None, SOON_S)
        for step in ("accept", "request", "upgrade", "hello", "challenge", "proof")
    },
}  # fmt: skip

FLOODS: dict[str, Script] = {
    "types of a later version": talking({"type": "later"}),
    "ends of the password": talking(
        *({"type": "password_status", "password": "old", "server_time": at(), "valid_until": at(n)}
          for n in range(1, 30))
    ),
    "pings whose answers are not read": unread_pongs,
}  # fmt: skip


def push(change_id: str, sealed: str, *, signed_by: str = PASSWORD, **more: Any) -> dict[str, Any]:
    """Return a push by the right server to a client that has logged in with `signed_by`."""
    signature = sign(signed_by, change_id, sealed)
    right = {**PUSH, "change_id": change_id, "sealed": sealed, "valid_until": at(9)}
    return {**right, "signature": signature, **more}


def box(device: dict[str, Any], **fields: Any) -> bytes:
    right = {"change_id": "a" * 32, "device_id": device["id"], "password": NEXT}
    return json.dumps({**right, **fields}).encode()


Boxed = Callable[[dict[str, Any]], str]
BOXES: dict[str, tuple[Boxed, str]] = {
    "another key": (
        lambda device: seal({"public_key": b64encode(bytes([9] * 32)).decode()}, box(device)),
        "unreadable",
    ),
    "another device": (lambda device: seal(device, box(device, device_id="b" * 32)), "unreadable"),
    "another change": (lambda device: seal(device, box(device, change_id="b" * 32)), "unreadable"),
    "one field more": (lambda device: seal(device, box(device, more=1)), "unreadable"),
    "no password": (lambda device: seal(device, box(device, password="")), "unreadable"),
    "1,025 characters": (
        lambda device: seal(device, box(device, password="x" * 1025)),
        "unreadable",
    ),
    "too big for a vault": (lambda device: seal(device, box(device, password="\\" * 800)), "vault"),
    "no JSON": (lambda device: seal(device, b"\xff" * 40), "unreadable"),
    "no box": (lambda _: "!" * 100, "unreadable"),
}
