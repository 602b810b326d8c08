"""Two gateways and two consoles, as processes, on PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from protocol import messages
from server.cluster.database import MAX_CONNECTIONS
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import P1, P2, P3, Cluster, Installation
from tests.support.polling import eventually
from tests.support.postgres import Postgres

_numbers = itertools.count(1)


@pytest.fixture
def username(cluster: Cluster) -> str:
    """Return the name of a new user."""
    name = f"user{next(_numbers)}"
    cluster.installation.add_user(name)
    return name


async def changed(console: str, username: str, current: str, new: str) -> str:
    """Change the password as its user does. Return the text of the page."""

    def change() -> str:
        with Browser(console) as browser:
            assert browser.log_in(username, current)
            return str(browser.change_password(current, new).text)

    return await asyncio.to_thread(change)


def places(installation: Installation, username: str) -> dict[str, str]:
    """Return each waiting device of the user, with its gateway."""
    rows = installation.query(
        "SELECT d.device_id, d.gateway FROM console_device d JOIN console_user u"
        " ON u.id = d.user_id WHERE u.username = %s AND d.waiting_since IS NOT NULL",
        username,
    )
    return {str(device): str(gateway) for device, gateway in rows}


async def eventually_on_thread(check: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, check)


async def test_push_reaches_whichever_gateway(cluster: Cluster, username: str) -> None:
    """A change on either console is pushed to PCs on both gateways, and proven."""
    north, south = cluster.gateways
    async with Client(north.gateway) as one, Client(south.gateway) as other:
        passwords = itertools.pairwise([P1, P2, P3])
        for console, (current, new) in zip(cluster.consoles, passwords, strict=True):
            for client in (one, other):
                await client.log_in(username, current)
            text = await changed(console.console, username, current, new)
            assert "The password was changed" in text
            for client in (one, other):
                pushed = await client.expect(messages.PasswordChanged)
                assert client.open(pushed.sealed)["password"] == new
                assert (await client.log_in(username, new)).password == "current"
    outcomes = cluster.installation.query(
        "SELECT p.outcome FROM console_pendingchange p JOIN console_device d ON d.id = p.device_id"
        " JOIN console_user u ON u.id = d.user_id WHERE u.username = %s",
        username,
    )
    assert outcomes == [("applied",)] * 4


async def test_session_holds_on_both_consoles(cluster: Cluster, username: str) -> None:
    """A user who has logged in on one console is logged in on the other."""

    def visit() -> int:
        with Browser(cluster.consoles[0].console) as browser:
            assert browser.log_in(username, P1)
            browser.console = cluster.consoles[1].console
            return int(browser.get("/password/").status_code)

    assert await asyncio.to_thread(visit) == 200


async def test_device_that_logs_in_elsewhere(cluster: Cluster, username: str) -> None:
    """A device that logs in on another gateway ends its older connection, and keeps its row."""
    north, south = cluster.gateways
    older = Client(north.gateway)
    await older.__aenter__()
    await older.log_in(username, P1)
    assert places(cluster.installation, username) == {older.device.id: "north"}
    async with Client(south.gateway, key=older.key) as newer:
        await newer.log_in(username, P1)
        assert await older.expect(messages.Bye) == messages.Bye(reason="superseded")
        assert await older.closed() == 1000
        async with Client(north.gateway) as after:
            # What the northern gateway does arrives in order: the late "gone" was before this.
            await after.log_in(username, P1)
            found = await asyncio.to_thread(places, cluster.installation, username)
            assert found == {newer.device.id: "south", after.device.id: "north"}
    await eventually_on_thread(lambda: not places(cluster.installation, username))


async def test_gateway_that_is_killed(cluster: Cluster, username: str) -> None:
    """Clients of a killed gateway move to the other one and get their push there."""
    installation = cluster.installation
    _, south = cluster.gateways
    with installation.serving(ROLE="gateway", GATEWAY_NAME="doomed") as doomed:
        moves, stays = Client(doomed.gateway), Client(doomed.gateway)
        for client in (moves, stays):
            await client.__aenter__()
            await client.log_in(username, P1)
        doomed.process.kill()
        for client in (moves, stays):
            assert await client.closed() == 1006
    text = await changed(cluster.consoles[0].console, username, P1, P2)
    assert "The password was changed" in text
    async with Client(south.gateway, key=moves.key) as moved:
        assert (await moved.log_in(username, P1)).password == "old"
        pushed = await moved.expect(messages.PasswordChanged)
        assert moved.open(pushed.sealed)["password"] == P2
        assert (await moved.log_in(username, P2)).password == "current"
        assert await asyncio.to_thread(places, installation, username) == {
            moved.device.id: "south",
            stays.device.id: "doomed",
        }

        def shown() -> int:
            with Browser(cluster.consoles[1].console) as browser:
                assert browser.log_in(username, P2)
                return str(browser.open("/").text).count(">Waiting<")

        assert await asyncio.to_thread(shown) == 2
        older = "UPDATE console_gateway SET seen_at = seen_at - interval '46 s' WHERE name = %s"
        await asyncio.to_thread(installation.query, older, "doomed")
        assert await asyncio.to_thread(shown) == 1


async def test_drained_gateway(cluster: Cluster, username: str) -> None:
    """A gateway that is stopped tells its clients when to come back."""
    with cluster.installation.serving(ROLE="gateway", GATEWAY_NAME="leaving") as leaving:
        async with Client(leaving.gateway) as client:
            await client.log_in(username, P1)
            leaving.process.terminate()
            bye = await client.expect(messages.Bye)
            assert (bye.reason, bye.retry_after_s is not None) == ("shutting_down", True)
        assert await asyncio.to_thread(leaving.process.wait, 30) == 0
    assert places(cluster.installation, username) == {}
    assert cluster.installation.query("SELECT 1 FROM console_gateway WHERE name = 'leaving'") == []


async def test_wake_ups_that_were_missed(cluster: Cluster, username: str) -> None:
    """A change that is committed while no gateway listens still reaches the clients."""
    north, _ = cluster.gateways
    async with Client(north.gateway) as client:
        await client.log_in(username, P1)
        # All sessions of all nodes end, and the change is made before any gateway listens again.
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        disable = "UPDATE console_user SET is_active = FALSE WHERE username = %s"
        await asyncio.to_thread(cluster.installation.query, cut)
        await asyncio.to_thread(cluster.installation.query, disable, username)
        assert await client.expect(messages.Bye) == messages.Bye(reason="disabled")


async def test_database_that_is_restarted(
    cluster: Cluster, postgres: Postgres, username: str
) -> None:
    """Clients stay connected while the database restarts, and consoles recover."""
    north, _ = cluster.gateways
    console = cluster.consoles[0].console

    def ready() -> int:
        with Browser(console) as browser:
            return int(browser.get("/readyz").status_code)

    async with Client(north.gateway) as client:
        await client.log_in(username, P1)
        await asyncio.to_thread(postgres.stop)
        await eventually_on_thread(lambda: ready() == 503)
        await asyncio.to_thread(postgres.start)
        await eventually_on_thread(lambda: ready() == 200)
        assert "The password was changed" in await changed(console, username, P1, P2)
        pushed = await client.expect(messages.PasswordChanged)
        assert (await client.log_in(username, P2)).password == "current"
        assert client.open(pushed.sealed)["password"] == P2


async def test_pages_share_connections(cluster: Cluster, username: str) -> None:
    """Many pages at once share a few database sessions of the process."""
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )

    with Browser(cluster.consoles[0].console) as browser:
        assert browser.log_in(username, P1)
        [before] = cluster.installation.query(sessions)
        with ThreadPoolExecutor(30) as threads:
            answers = threads.map(lambda _: browser.get("/password/").status_code, range(90))
            assert set(answers) == {200}
    [after] = cluster.installation.query(sessions)
    assert after[0] <= before[0] + MAX_CONNECTIONS
