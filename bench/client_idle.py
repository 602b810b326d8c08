"""Measure the client at rest.

The client waits at a real server over TLS, and nothing happens for five minutes. Private memory is
the memory that would be free without the process; resident memory includes shared libraries.
Wake-ups are voluntary context switches of all threads. A keepalive, every 20 s, takes two of them:
the ping and the pong. The baseline is an interpreter that has imported websockets and truststore,
and sleeps. Linux only: Wine counts shared libraries as private.
"""

from __future__ import annotations

from bench import desk
from bench.report import Figure, Size

BASELINE = desk.BASELINE
SETTLE_S = 20


def run(size: Size) -> list[Figure]:
    with desk.linux_desk() as client, desk.bare_process(client.environ) as bare:
        desk.start(client)
        assert client.pid is not None
        desk.watch([client.pid], size.pick(SETTLE_S, 1))  # let work of the start end
        floor, costs = desk.watch([bare, client.pid], size.pick(300, 3))
    return [Figure(what, [value], [floor[what]]) for what, value in costs.items()]
