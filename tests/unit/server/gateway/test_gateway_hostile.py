"""Clients that break the protocol; limits of connections; proxies that hide clients."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import string
from base64 import b64decode
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from websockets.exceptions import InvalidMessage, InvalidStatus

from protocol import messages
from server.addresses import Network
from server.console.models import User
from server.gateway import connection
from server.gateway.records import labels_of
from server.gateway.server import MANY_CLIENTS, Gateway
from tests.support.gateway_client import Client, raw
from tests.support.server_fixtures import P1, until, with_settings

OWN = Client(0).device
DEVICE = json.loads(messages.encode(messages.Hello(scram="x", device=OWN)))["device"]


def hello(scram: str = "n,,n=user,r=nonce", **device: str) -> str:
    return json.dumps({"type": "hello", "scram": scram, "device": DEVICE | device})


def pair(**device: str) -> str:
    return json.dumps({"type": "pair", "device": DEVICE | device})


def proof(final: str) -> str:
    return json.dumps({"type": "proof", "scram": final})


def odd(key: str) -> str:
    """Return another base64 text of the same key: its unused last bits differ."""
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    other = key[:42] + letters[letters.index(key[42]) + 1] + "="
    assert b64decode(other) == b64decode(key)
    return other


NOTICE = '{"type":"notice","warning":"shown","days_left":1}'
LOW_ORDER = {"id": "66687aadf862bd776c8fc18b8e9f8e20", "public_key": "A" * 43 + "="}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        *((text, 1008) for text in ("[" * 5000, '{"type":"later"}', NOTICE, proof("x"))),
        *((hello(first), 1008) for first in ("", "n,,n=a=b,r=x", "n" * 2049)),
        # A key of low order, another base64 spelling, and another device's id.
        *((begin(**LOW_ORDER), 1008) for begin in (hello, pair)),
        *((begin(public_key=odd(OWN.public_key)), 1008) for begin in (hello, pair)),
        *((begin(id=Client(0).device.id), 1008) for begin in (hello, pair)),
        (b"{}", 1003),
        (b'{"type":"\xff"}', 1007),
        ("x" * (messages.MAX_MESSAGE_BYTES + 1), 1009),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, str | bytes) else None,
)
async def test_garbage(gateway: Gateway, sent: str | bytes, code: int) -> None:
    """Each kind of garbage ends the connection with the code that the protocol names."""
    async with Client(gateway.port) as client:
        await client.socket.send(sent, text=True if code == 1007 else None)
        assert await client.closed() == code


@pytest.mark.parametrize(
    ("sent", "is_guess"),
    [
        (proof("x"), False),
        (proof("c=biws,r=wrong,p=AAAA"), False),  # a nonce of another connection
        (hello(), False),
        (proof("c=biws,r=NONCE,p=AAAA"), True),
    ],
)
async def test_malformed_proof(gateway: Gateway, user: User, sent: str, *, is_guess: bool) -> None:
    """A malformed client-final closes the connection, uncounted; a short proof is a guess."""
    async with Client(gateway.port) as client:
        _, challenge = await client.begin(user.username, P1)
        nonce = challenge.scram.split(",")[0].removeprefix("r=")
        await client.socket.send(sent.replace("NONCE", nonce))
        if is_guess:
            assert await client.receive() == messages.Rejected(reason="credentials")
        else:
            assert await client.closed() == 1008


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("\u202eevil\n\u0000PC\u200b " + "x" * 100, "evil PC " + "x" * 100),
        ("\x1b[31mred", "[31mred"),
        # A PC without a name gets one for pages and events.
        *((nothing, f"PC {OWN.id[:8]}") for nothing in ("", " \n", "\u202e\u200b")),
    ],
    ids=["long", "escape", "empty", "blank", "invisible"],
)
def test_text_of_the_peer_is_cleaned(sent: str, kept: str) -> None:
    """Control and direction characters in a PC's name reach no page and no log."""
    assert labels_of(msgspec.structs.replace(OWN, name=sent))["name"] == kept


async def test_nothing_secret_is_logged(
    gateway: Gateway, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has no payload, nonce, proof, verifier or user name, even at DEBUG."""
    caplog.set_level(logging.DEBUG)
    async with Client(gateway.port, logger=logging.getLogger("quiet")) as client:
        logging.getLogger("quiet").setLevel(logging.WARNING)
        scram, challenge = await client.begin(user.username, P1)
        await client.prove(scram, challenge)
        await client.expect(messages.Welcome)
        await client.socket.send("garbage that is secret")
        await client.closed()
    assert "logged in" in caplog.text
    for secret in (P1, str(scram.c_nonce), challenge.scram[-60:], user.username, "garbage"):
        assert secret not in caplog.text
    assert user.password.split("$")[3] not in caplog.text


async def refused(client: Client) -> Any:
    """Try to connect. Return the HTTP response of the refusal."""
    with pytest.raises(InvalidStatus) as caught:
        await client.__aenter__()
    return caught.value.response


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(("of_all", "of_logins"), [(2, 9), (9, 2)])
async def test_connections_per_address(of_all: int, of_logins: int) -> None:
    """Above the limit of a /64 the gateway answers 429 with Retry-After, until one closes."""
    limits = {"connections_per_address": of_all, "logins_per_address": of_logins}
    settings = with_settings(trusted_proxies=(ip_network("127.0.0.0/8"),), **limits)

    def pc(address: str) -> Client:
        return Client(gateway.port, additional_headers={"X-Forwarded-For": address})

    async with Gateway(settings) as gateway:
        async with pc("2001:db8::1"), pc("2001:db8::2"), pc("2001:db8:0:1::1"):
            response = await refused(pc("2001:db8::3"))
            assert response.status_code == 429
            assert int(response.headers["Retry-After"]) > 0

        await until(lambda: not gateway._registry.connections)
        async with pc("2001:db8::3"):
            pass


async def test_who_keeps_waiting_gives_way(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit, a new connection replaces its address's oldest one without a login.

    A PC that shows a code is not replaced: it waits for its user.
    """
    async with Gateway(with_settings(logins_per_address=2)) as gateway, AsyncExitStack() as stack:
        silent, slow = [await stack.enter_async_context(Client(gateway.port)) for _ in range(2)]
        await slow.begin(user.username, P1)
        await refused(Client(gateway.port))  # both are too new to be replaced
        monkeypatch.setattr(connection, "GIVE_WAY_SECONDS", 0)
        newcomers = []
        for leaves in (silent, slow):
            newcomers.append(await stack.enter_async_context(Client(gateway.port)))
            bye = await leaves.expect(messages.Bye)
            assert (bye.reason, await leaves.closed()) == ("shutting_down", 1013)
        for newcomer in newcomers:
            await newcomer.log_in(user.username, P1)
        for _ in range(2):
            await (await stack.enter_async_context(Client(gateway.port))).pair()
        await refused(Client(gateway.port))


async def test_who_sends_no_request_gives_way(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit, a new connection replaces the oldest one that has sent no request."""
    settings = with_settings(logins_per_address=1)
    async with Gateway(settings) as gateway, raw(gateway.port) as (reader, _):
        with pytest.raises((InvalidMessage, OSError)):
            await Client(gateway.port).__aenter__()
        monkeypatch.setattr(connection, "GIVE_WAY_SECONDS", 0)
        async with Client(gateway.port) as newcomer:
            await newcomer.log_in(user.username, P1)
            assert await reader.read() == b""


@pytest.mark.parametrize(
    ("trusted", "hint"), [([], "trusted_proxies"), ([ip_network("127.0.0.0/8")], "X-Forwarded-For")]
)
async def test_all_clients_behind_one_address(
    database: None, caplog: pytest.LogCaptureFixture, trusted: list[Network], hint: str
) -> None:
    """The log names, once, an address with many clients: perhaps a proxy that is not trusted."""
    settings = with_settings(trusted_proxies=trusted)
    async with Gateway(settings) as gateway, AsyncExitStack() as stack:
        await stack.enter_async_context(raw(gateway.port))  # no client: no upgrade
        for _ in range(MANY_CLIENTS):
            await gateway.sweep()
            assert "clients come from" not in caplog.text
            await stack.enter_async_context(Client(gateway.port))
        for _ in range(3):
            await gateway.sweep()
    [line] = [each for each in caplog.messages if "clients come from" in each]
    assert f"all {MANY_CLIENTS} clients come from 127.0.0.1" in line
    assert hint in line


@pytest.mark.usefixtures("database")
async def test_silent_tcp_client_does_not_hold_the_stop() -> None:
    """A connection that sends nothing delays the gateway's stop only briefly."""
    async with asyncio.timeout(20):
        async with Gateway() as gateway:
            silent = socket.create_connection(("127.0.0.1", gateway.port))
        silent.close()
