"""Two gateways and two consoles, in processes, on one PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest

from protocol import messages
from server.cluster.database import MAX_CONNECTIONS
from tests.support.gateway_client import Client
from tests.support.installation import P1, P2, P3, Cluster, Installation, Server
from tests.support.polling import eventually

_numbers = itertools.count(1)


@pytest.fixture
def username(cluster: Cluster) -> str:
    """Return the name of a new user."""
    name = f"user{next(_numbers)}"
    cluster.installation.add_user(name)
    return name


def change(console: Server, username: str, current: str, new: str) -> None:
    """Change the password on a console, as the user does."""
    with console.browser(username, current) as browser:
        browser.change_password(current, new)


def places(installation: Installation, username: str) -> dict[str, str]:
    """Return the gateway of each waiting device of the user, by device id."""
    rows = installation.query(
        "SELECT d.device_id, d.gateway FROM console_device d JOIN console_user u"
        " ON u.id = d.user_id WHERE u.username = %s AND d.waiting_since IS NOT NULL",
        username,
    )
    return {str(device): str(gateway) for device, gateway in rows}


async def test_push_reaches_whichever_gateway(cluster: Cluster, username: str) -> None:
    """A change on either console is pushed to PCs on both gateways, which prove it."""
    north, south = cluster.gateways
    async with Client(north.gateway) as one, Client(south.gateway) as other:
        passwords = itertools.pairwise([P1, P2, P3])
        for console, (current, new) in zip(cluster.consoles, passwords, strict=True):
            for client in (one, other):
                await client.log_in(username, current)
            change(console, username, current, new)
            for client in (one, other):
                await client.takes(username, new)
    outcomes = cluster.installation.query(
        "SELECT p.outcome FROM console_pendingchange p JOIN console_device d ON d.id = p.device_id"
        " JOIN console_user u ON u.id = d.user_id WHERE u.username = %s",
        username,
    )
    assert outcomes == [("applied",)] * 4


def test_session_holds_on_both_consoles(cluster: Cluster, username: str) -> None:
    """A user who has logged in on one console is logged in on the other."""
    with cluster.consoles[0].browser(username, P1) as browser:
        browser.console = cluster.consoles[1].console
        assert browser.get("/password/").status_code == 200


async def test_device_that_logs_in_elsewhere(cluster: Cluster, username: str) -> None:
    """A device that logs in on another gateway ends its older connection, and keeps its row."""
    north, south = cluster.gateways
    async with Client(north.gateway) as older, Client(south.gateway, key=older.key) as newer:
        await older.log_in(username, P1)
        assert places(cluster.installation, username) == {older.device.id: "north"}
        await newer.log_in(username, P1)
        assert await older.expect(messages.Bye) == messages.Bye(reason="superseded")
        assert await older.closed() == 1000
        async with Client(north.gateway) as after:
            # The gateway "north" writes in order, so its late "gone" was before this.
            await after.log_in(username, P1)
            found = places(cluster.installation, username)
            assert found == {newer.device.id: "south", after.device.id: "north"}
    await asyncio.to_thread(eventually, lambda: not places(cluster.installation, username))


async def test_new_pcs_on_both_gateways(cluster: Cluster, username: str) -> None:
    """A code leads to its PC from each console; each gateway serves its own PCs only."""
    async with AsyncExitStack() as stack:
        for gateway, console in zip(cluster.gateways, reversed(cluster.consoles), strict=True):
            pc = await stack.enter_async_context(Client(gateway.gateway))
            code = await pc.pair()
            with console.browser(username, P1) as browser:
                browser.send("/pcs/new/", code=code)
                browser.submit(current_password=P1)
                paired = await pc.expect(messages.Paired)
                assert pc.open(paired.sealed)["password"] == P1
                assert await pc.closed() == 1000
                newcomer = Client(gateway.gateway, key=pc.key)
                await (await stack.enter_async_context(newcomer)).log_in(username, P1)
                browser.wait_for_text("Connected")
        assert set(places(cluster.installation, username).values()) == {"north", "south"}


async def test_gateway_that_is_killed(cluster: Cluster, username: str) -> None:
    """Clients of a killed gateway move to the other one and get their push there."""
    installation, [_, south] = cluster.installation, cluster.gateways
    with installation.serving(ROLE="gateway", GATEWAY_NAME="doomed") as doomed:
        async with Client(doomed.gateway) as moves, Client(doomed.gateway) as stays:
            for client in (moves, stays):
                await client.log_in(username, P1)
            doomed.process.kill()
            for client in (moves, stays):
                assert await client.closed() == 1006
    change(cluster.consoles[0], username, P1, P2)
    async with Client(south.gateway, key=moves.key) as moved:
        assert (await moved.log_in(username, P1)).password == "old"
        await moved.takes(username, P2)
        waiting = {moved.device.id: "south", stays.device.id: "doomed"}
        assert places(installation, username) == waiting
        with cluster.consoles[1].browser(username, P2) as browser:
            assert browser.open("/").text.count(">Waiting<") == 2
            older = "UPDATE console_gateway SET seen_at = seen_at - interval '46 s' WHERE name = %s"
            installation.query(older, "doomed")
            assert browser.open("/").text.count(">Waiting<") == 1


def test_pages_share_connections(cluster: Cluster, username: str) -> None:
    """Many pages at once share a few database sessions of the process."""
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    with cluster.consoles[0].browser(username, P1) as browser:
        [(before,)] = cluster.installation.query(sessions)
        with ThreadPoolExecutor(30) as threads:
            answers = threads.map(lambda _: browser.get("/password/").status_code, range(90))
            assert set(answers) == {200}
    [(after,)] = cluster.installation.query(sessions)
    assert after <= before + MAX_CONNECTIONS


async def test_wake_ups_that_were_missed(cluster: Cluster, username: str) -> None:
    """A change that is committed while no gateway listens still reaches the clients."""
    async with Client(cluster.gateways[0].gateway) as client:
        await client.log_in(username, P1)
        # End all database sessions, and commit a change before any gateway listens again.
        cluster.installation.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        disable = "UPDATE console_user SET is_active = FALSE WHERE username = %s"
        cluster.installation.query(disable, username)
        assert await client.expect(messages.Bye) == messages.Bye(reason="disabled")
