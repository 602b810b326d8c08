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
    seconds, settle_s = size.pick(300, 3), size.pick(SETTLE_S, 1)
    with desk.linux_desk() as linux, desk.bare_process(linux.client.environ) as bare:
        pid, _ = linux.start()
        linux.wait_for_standby()
        desk.watch([pid], settle_s)  # what the start has left over
        figures = _figures("Linux", *desk.watch([bare, pid], seconds))
    if not size.short:
        with desk.windows_desk() as windows:
            bare = windows.launch_bare()
            windows.start()
            pid = windows.pid("coconowork-client.exe")
            desk.watch([pid], settle_s)
            figures += _figures("Wine", *desk.watch([bare, pid], seconds))
            windows.quit()
    return figures


def _figures(where: str, bare: dict[str, float], client: dict[str, float]) -> list[Figure]:
    return [
        Figure(what=f"{where}: {what}", values=[value], baseline=[bare[what]])
        for what, value in client.items()
    ]
