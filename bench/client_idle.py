"""The client at rest.

It waits at a real server over TLS, and nothing happens for five minutes.
Private memory is what would be free without the process; resident memory includes shared
libraries. Wake-ups are voluntary context switches of all threads. A keepalive, every 20 s, takes
two: the ping and the pong. The baseline is an interpreter that has imported websockets and
truststore, and under Wine pystray, and sleeps. Under Wine, libraries that Windows shares between
programs count as private, and each call to Wine's server is a context switch.
"""

from __future__ import annotations

from bench import desk
from bench.report import Figure, Size

BASELINE = desk.BASELINE
SETTLE_S = 20


def run(size: Size) -> list[Figure]:
    with desk.linux_desk() as linux, desk.bare_process(linux.client.environ) as bare:
        linux.start()
        assert linux.client.pid is not None
        figures = _watch("Linux", size, bare, linux.client.pid)
    if not size.short:
        with desk.windows_desk() as windows:
            bare = windows.launch_bare()
            windows.start()
            figures += _watch("Wine", size, bare, windows.pid("coconowork-client.exe"))
            windows.quit()
    return figures


def _watch(where: str, size: Size, bare: int, client: int) -> list[Figure]:
    desk.watch([client], size.pick(SETTLE_S, 1))  # what the start has left over
    floor, costs = desk.watch([bare, client], size.pick(300, 3))
    return [Figure(f"{where}: {what}", [value], [floor[what]]) for what, value in costs.items()]
