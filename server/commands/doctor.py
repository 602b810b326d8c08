"""`doctor`: check what the server needs, and print what is wrong and how to fix it.

The command changes nothing, and works while server or database are down. Each step has a deadline.
The output holds no secret, so it can be given to others.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from importlib import metadata

from server import config
from server.addresses import is_trusted
from server.commands.serve import check_exposure
from server.config import Config, ConfigError, StartError
from server.doctor import address, machine, tables
from server.doctor.step import Facts, Step, run_step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for other ports and the report's file."""
    parser.add_argument("--port", help="of the console, unless it is that of the settings")
    parser.add_argument("--gateway-port", help="of the gateway, likewise")
    parser.add_argument("--output", metavar="FILE", help="write the report to a new file, too")


def run(arguments: argparse.Namespace) -> int:
    """Print the report. Return 1 when there is a fault, else 0. Raise StartError."""
    faults, lines = [], list(_heading())
    print(*lines, sep="\n", flush=True)
    for step in _examine(arguments):
        said = [f"{step.name}: {step.outcome}", *step.lines]
        print(*said, sep="\n", flush=True)
        lines += said
        faults += [step.name] if step.outcome == "FAULT" else []
    lines.append(f"Faults: {', '.join(faults)}" if faults else "No fault was found.")
    print(lines[-1])
    if arguments.output:
        _write(arguments.output, lines)
    return 1 if faults else 0


def _heading() -> Iterator[str]:
    try:
        version = metadata.version("coconowork")
    except metadata.PackageNotFoundError:
        version = "of a checkout"
    yield f"coconowork-server {version}, Python {platform.python_version()}, {platform.platform()}"
    now, me = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", machine.user_name()
    yield f"on {platform.node()}, {now}, as {me}"
    file = os.environ.get(config.PREFIX + "CONFIG")
    yield f"settings: {file or 'no file'}"
    names = sorted(name for name in os.environ if name.startswith(config.PREFIX))
    yield f"in the environment: {', '.join(names) or 'nothing'}"


def _examine(arguments: argparse.Namespace) -> Iterator[Step]:
    try:
        settings = config.load(port=arguments.port, gateway_port=arguments.gateway_port)
    except ConfigError as exc:
        step = Step("Settings")
        step.fault(str(exc), "correct it; docs/server.md explains each setting")
        yield step
        return
    facts = Facts(settings)
    for name, work in _STEPS.items():
        yield run_step(name, work, facts)


def _settings(step: Step, facts: Facts) -> None:
    """Note the settings that differ from the defaults, and check them as `serve` does."""
    for each in fields(Config):
        value = getattr(facts.settings, each.name)
        if value != each.default:
            step.note(f"{each.name} = {machine.shown(each.name, value)}")
    if not facts.settings.public_url:
        step.warn(
            "public_url is not set, so people reach the console from this machine only",
            "set it to the address that the proxy has, such as https://coconowork.example",
        )
    if is_trusted(address.STRANGER, facts.settings.trusted_proxies):
        step.fault(
            "trusted_proxies has addresses of strangers, who can then choose the address that "
            "limits, log and audit trail have of them",
            "name the addresses of the proxies only",
        )
    try:
        check_exposure(facts.settings)
    except StartError as exc:
        step.fault(f"the server refuses to start: {exc}", "change that setting")


_STEPS = {
    "Settings": _settings,
    "Files": machine.files,
    "Disk": machine.disk,
    "Database": tables.examine,
    "Services": machine.services,
    "Certificate": address.certificate,
    "Proxy to the console": address.console,
    "Proxy to the gateway": address.gateway,
    "Clock": address.clock,
}
"""The steps by name, in the order in which they run."""


def _write(name: str, lines: list[str]) -> None:
    """Write the report and the versions of all packages to a new file. Raise StartError."""
    packages = sorted(f"{each.name} {each.version}" for each in metadata.distributions())
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join([*lines, "", "Packages:", *packages, ""]))
    except OSError as exc:
        raise StartError(f"{name}: {exc.strerror}") from None
    print(f"{name}: the report, and the versions of all packages")
