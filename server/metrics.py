"""Count what a process does for Prometheus, and serve the counts over HTTP.

Metrics count for one process, from its start. Labels have few, fixed values, never a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram, start_http_server

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600, 86_400)

waiting = Gauge("coconowork_waiting_clients", "Clients that wait on this gateway, logged in.")
connections = Gauge("coconowork_connections", "Open connections of clients, logged in or not.")
logins = Counter(
    "coconowork_logins",
    "Logins by outcome: `current` and `old` (accepted, by which password), or why it was refused.",
    ["outcome"],
)
console_logins = Counter(
    "coconowork_console_logins",
    "Logins of people at the console: `accepted`, `refused`, or `locked` (not looked at).",
    ["outcome"],
)
console_requests = Gauge("coconowork_console_requests", "Requests of browsers under way.")
console_request_seconds = Histogram(
    "coconowork_console_request_seconds",
    "How long requests of browsers took, by the class of their answer: `2xx` …",
    ["status"],
    buckets=_QUICK,
)
hashing = Gauge(
    "coconowork_hashing",
    "Passwords that wait to be hashed or are being hashed, of `people` or `imports`.",
    ["whose"],
)
import_lines = Counter(
    "coconowork_import_lines",
    "Users of imports: `created`, `changed`, or `refused` on their turn.",
    ["outcome"],
)
database_connections = Gauge(
    "coconowork_database_connections",
    "Connections to PostgreSQL: `used`, `free`, and requests `waiting` for one.",
    ["state"],
)
login_seconds = Histogram(
    "coconowork_login_seconds",
    "From `hello` to `welcome`, with the client's share.",
    buckets=_QUICK,
)
pushes_sent = Counter("coconowork_pushes_sent", "Changed passwords sent to a client, repeats too.")
push_seconds = Histogram(
    "coconowork_push_seconds",
    "From the user's order in the console to its sending to a client that waits.",
    buckets=_QUICK,
)
pushes_applied = Counter("coconowork_pushes_applied", "Pushed passwords that a client has proven.")
push_applied_seconds = Histogram(
    "coconowork_push_applied_seconds",
    "From the user's order in the console to the client's login with it.",
    buckets=_SLOW,
)
pushes_failed = Counter(
    "coconowork_pushes_failed", "Pushed passwords that a client could not take.", ["reason"]
)
pairings = Counter(
    "coconowork_pairings",
    "Codes for new PCs: `begun`, `delivered`, `expired`, or refused: `throttled`, `version`.",
    ["outcome"],
)
connections_refused = Counter(
    "coconowork_connections_refused",
    "Connections refused before a login: `stopping`, `too_many`, `too_many_unproven` …",
    ["reason"],
)
connections_cut = Counter(
    "coconowork_connections_cut",
    "Connections that the gateway ended: `slow_reader`, `silent`, `gave_way`, `protocol` …",
    ["reason"],
)
database_errors = Counter(
    "coconowork_database_errors", "Work that failed because of the database, by kind.", ["work"]
)
bus_reconnects = Counter(
    "coconowork_bus_reconnects", "Reconnects of the LISTEN connection, which wakes this gateway."
)
task_restarts = Counter(
    "coconowork_task_restarts",
    "Restarts of a task that had failed: `deadlines`, `sweeper` …",
    ["task"],
)


@contextmanager
def served(host: str, port: int) -> Iterator[int]:
    """Serve `http://host:port/metrics` from a thread; yield the port. Raise OSError."""
    server, thread = start_http_server(port, addr=host)
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
