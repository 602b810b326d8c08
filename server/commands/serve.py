"""`serve`: run the gateway on the main loop and the console in a thread, until SIGTERM or SIGINT.

With `--only` it runs one of the two, for several processes that share a PostgreSQL database. TLS
ends in a proxy, to which the server speaks plain HTTP and WebSocket.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import hashlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import django
import uvicorn
from django.core.management import call_command
from django.db import DatabaseError, connections

from protocol.messages import PATH
from server import config, logs, loop, metrics
from server.cluster import database
from server.config import Config, StartError
from server.console import http
from server.loop import bind
from server.supervised import supervised

log = logging.getLogger(__name__)

START_SECONDS = 30
STOP_SECONDS = 5
STOP_AT_LATEST_SECONDS = 30.0
"""After this time, a stop kills the process. No statement takes so long, but threads that wait for
a hanging database cannot be stopped."""
BACKLOG = 128
"""Connections of browsers that the kernel queues. When no file descriptor is left, asyncio retries
and logs this many times in a row; uvicorn's 2,048 would keep a core busy."""
RESERVED_FILES = 2_000
"""File descriptors that are kept free of clients: for the console, the database and files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`; each overrides the setting of its name."""
    parser.add_argument(
        "--only",
        dest="role",
        choices=["gateway", "console"],
        help="run one of them (both); several processes need PostgreSQL",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1); :: is IPv6 and IPv4")
    parser.add_argument("--port", help="of the console (8080); 0 takes a free one")
    parser.add_argument("--gateway-port", help="that clients connect to (8081); 0 likewise")
    parser.add_argument(
        "--behind-proxy",
        dest="trusted_proxies",
        metavar="NETWORK[,NETWORK]",
        help="addresses of the proxy that ends TLS, such as 127.0.0.1 or 10.0.0.0/8",
    )
    parser.add_argument("--public-url", help="where people reach the console, https://…")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code. Raise StartError."""
    settings = config.load(
        **{name: value for name, value in vars(arguments).items() if name != "command"}
    )
    check_exposure(settings)
    if settings.role != "both" and not settings.is_postgresql:
        raise StartError(
            f"--only {settings.role} needs a database that several processes can share: "
            "set `database` to postgresql://user@host/name"
        )
    with ExitStack() as stack:
        if settings.metrics:
            host, port = config.split_address(settings.metrics)
            with _naming_port(host, port, option="the setting `metrics`"):
                port = stack.enter_context(metrics.served(host, port))
            print(f"metrics  http://{host}:{port}/metrics", flush=True)
        listener = None
        if settings.runs_console:
            listener = listen(settings.host, settings.port, option="--port")
            settings = replace(settings, port=listener.getsockname()[1])
        prepare(settings)
        stack.callback(database.release)
        database.observe_pool()
        stack.enter_context(database.only_server(settings))
        if settings.runs_console:
            _compare_secret_key()
        with asyncio.Runner(loop_factory=loop.new_loop) as runner:
            return runner.run(_serve(settings, listener))


def _compare_secret_key() -> None:
    """Log a warning when the last console on this database had another secret key."""
    from django.conf import settings

    from server.console.models import ServerSecret

    mine = hashlib.sha256(b"coconowork.secret-key" + settings.SECRET_KEY.encode()).digest()
    row, _ = ServerSecret.objects.get_or_create(name="secret-key-digest", defaults={"value": mine})
    if bytes(row.value) != mine:
        log.warning(
            "the last console on this database had another secret key, so people are logged out: "
            "give all consoles the same file (setting secret_key_file)"
        )
        ServerSecret.objects.filter(pk=row.pk).update(value=mine)
    connections.close_all()


def allow_many_files() -> tuple[int, int]:
    """Raise the limit of file descriptors to the maximum; return it and the reserved number."""
    most = 1_000_000  # where there is no limit
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        most = limit if limit != resource.RLIM_INFINITY else most
    return most, min(RESERVED_FILES, most // 2)


def check_exposure(settings: Config) -> None:
    """Raise StartError when passwords would cross the network in clear text."""
    is_exposed = not config.is_loopback(settings.host)
    if is_exposed and not settings.trusted_proxies:
        raise StartError(
            f"other machines can reach {settings.host}, and this server does not encrypt. Put a "
            "proxy that ends TLS in front of it (docs/operations.md has nginx, haproxy and Caddy), "
            "and name the proxy's address with --behind-proxy or trusted_proxies; or listen on "
            "127.0.0.1"
        )
    if is_exposed and not settings.public_url:
        raise StartError("--public-url is needed: at which address do people reach the console?")
    if settings.public_url.startswith("https:") and not settings.trusted_proxies:
        raise StartError(
            "--public-url is https, which a proxy in front of this server provides: name the "
            "proxy's address with --behind-proxy or trusted_proxies, such as 127.0.0.1"
        )


def listen(host: str, port: int, *, option: str) -> socket.socket:
    """Return a bound socket. Raise StartError, which may name `option`, when that fails."""
    with _naming_port(host, port, option=option):
        return bind(host, port)


@contextmanager
def _naming_port(host: str, port: int, *, option: str) -> Iterator[None]:
    """Raise StartError for an OSError in the block; if the port is in use, name `option`."""
    try:
        yield
    except OSError as exc:
        text = f"cannot listen on {host} port {port}: {exc.strerror or exc}"
        if exc.errno == errno.EADDRINUSE:
            text = f"port {port} is in use by another program; choose one with {option}"
        raise StartError(text) from None


def prepare(settings: Config) -> None:
    """Set up logging, Django and the database. Raise StartError."""
    os.umask(0o077)  # database and secret key are for this user only
    config.use(settings)
    logs.set_up(settings.log_level)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if not settings.is_postgresql:
            settings.database_path.parent.mkdir(parents=True, exist_ok=True)
        database.check(settings)
        django.setup()
        with database.one_at_a_time(settings):
            call_command("migrate", verbosity=0, interactive=False)
            call_command("clearsessions")
    except OSError as exc:
        raise StartError(f"{exc.filename or settings.data_dir}: {exc.strerror}") from None
    except DatabaseError as exc:
        raise StartError(database.explain(exc, settings)) from None


@contextmanager
def console(
    listener: socket.socket, settings: Config, on_end: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Serve the pages from a thread until the block ends, and close `listener`.

    Call `prepare` first. `on_end` is called on the thread when it ends. Raise StartError when the
    console does not start within `START_SECONDS`.
    """
    most = min(http.MAX_CONNECTIONS, allow_many_files()[1] // 2)
    server = uvicorn.Server(
        uvicorn.Config(
            http.application(settings.trusted_proxies),
            loop="asyncio",
            http=http.protocol(settings.trusted_proxies, most),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the console reads them with the gateway's rule
            timeout_graceful_shutdown=STOP_SECONDS,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=http.MAX_HEAD_BYTES,
        )
    )

    def run() -> None:
        try:
            server.run(sockets=[listener])
        except SystemExit:
            log.error("the console could not start")  # noqa: TRY400 - uvicorn has said why
        finally:
            listener.close()
            on_end()

    thread = threading.Thread(target=run, name="console")
    thread.start()
    try:
        for _ in range(START_SECONDS * 20):
            thread.join(timeout=0.05)
            if server.started or not thread.is_alive():
                break
        if not server.started:
            raise StartError("the console did not start; the log says why")
        yield
    finally:
        server.should_exit = True  # running requests have a few seconds to finish
        thread.join()


async def _serve(settings: Config, listener: socket.socket | None) -> int:
    from server.console import importing
    from server.gateway.batcher import Unavailable
    from server.gateway.server import Gateway

    running, exit_codes = asyncio.get_running_loop(), asyncio.Queue[int]()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            running.add_signal_handler(number, exit_codes.put_nowait, 0)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: running.call_soon_threadsafe(exit_codes.put_nowait, 0))
    async with AsyncExitStack() as stack:
        said = []
        if listener is not None:
            on_end = partial(running.call_soon_threadsafe, exit_codes.put_nowait, 1)
            stack.enter_context(console(listener, settings, on_end))
            await stack.enter_async_context(supervised("imports", importing.work_for_ever))
            said.append(f"console  {settings.console_url}/")
        if settings.runs_gateway:
            # Stop the gateway first: its clients must not wait for the last request of a browser.
            files, reserved = allow_many_files()
            gateway = Gateway(settings, max_connections=files - reserved)
            try:
                with _naming_port(settings.host, settings.gateway_port, option="--gateway-port"):
                    await stack.enter_async_context(gateway)
            except (DatabaseError, Unavailable) as exc:
                raise StartError(database.explain(exc.__cause__ or exc, settings)) from None
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            said.append(f"gateway  ws://{host}:{gateway.port}{PATH}")
        loop.tune()
        print(*said, sep="\n", flush=True)
        code = await exit_codes.get()
        late = threading.Timer(STOP_AT_LATEST_SECONDS, _give_up)
        late.daemon = True
        late.start()
        return code


def _give_up() -> None:
    """End the process as a power cut would."""
    log.error("the server does not stop in time, perhaps because of the database; it is killed")
    os._exit(1)
