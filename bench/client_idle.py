"""The client at rest.

It waits at a real server over TLS, with its icon in a tray, and nothing happens. Memory is private
(what would be free without it) and resident (with shared libraries). Wake-ups are voluntary
context switches of all threads: each keepalive, every 20 s, takes two, the ping and the pong. The
baseline's `import websockets` loads nothing yet: what its client and TLS take once they are used is
told by itself.

Wine adds its own: libraries that Windows shares between programs count as private there, the theme
of windows and the list of root certificates are in the process, and each call to Wine's server is a
context switch. Added one after the other to the baseline, the client under Wine is made of (MiB):
websockets' client, asyncio and TLS 11.7, of it 6.0 images of OpenSSL; msgspec and PyNaCl 2.5;
pywin32 1.8; four threads at 1.1, whatever their stack, 4.4; the heap of Wine's Unix side (root
certificates, X11) 4.7; images for certificates and rights (crypt32, rsaenh, netapi32, secur32,
gnutls) 1.7; the client's own modules, its windows and its packing 5.0. So the 12 MiB cannot be
reached there.
"""

from __future__ import annotations

from bench import desk
from bench.report import Figure, Size

BASELINE = desk.BASELINE
ROOM_MIB = 12.0


def run(size: Size) -> list[Figure]:
    """Watch both side by side."""
    seconds = size.pick(300, 3)
    with (
        desk.linux_desk() as linux,
        desk.bare_process(linux.client.environ) as bare,
        desk.bare_process(linux.client.environ, desk.USED) as used,
    ):
        pid, _ = linux.start()
        linux.wait_for_standby()
        linux.wait_for_icon(0)
        desk.Cost.watch([pid], size.pick(20, 1))  # what starting has left is done by then
        found = desk.Cost.watch([bare, used, pid], seconds)
        figures = _figures("Linux", *found)
    if not size.short:
        with desk.windows_desk() as windows:
            bare, used = windows.launch_bare(), windows.launch_bare(desk.USED)
            since = windows.log_length
            windows.start()
            windows.wait_for_line("-> standby:", since=since)
            pid = windows.pid("coconowork-client.exe")
            desk.Cost.watch([pid], 20)
            figures += _figures("Wine", *desk.Cost.watch([bare, used, pid], seconds))
            windows.quit()
    return figures


def _figures(where: str, bare: desk.Cost, used: desk.Cost, client: desk.Cost) -> list[Figure]:
    def figure(what: str, unit: str, value: float, baseline: float, **more: float | bool) -> Figure:
        return Figure(what=f"{where}: {what}", value=value, unit=unit, baseline=baseline, **more)  # type: ignore[arg-type] # figures' own fields

    over = client.private_mib - bare.private_mib
    return [
        figure("private memory", "MiB", client.private_mib, bare.private_mib),
        figure("resident memory", "MiB", client.resident_mib, bare.resident_mib),
        Figure(
            what=f"{where}: private memory above the baseline",
            value=max(over, 0.0),
            unit="MiB",
            must=ROOM_MIB,
            headline=True,
        ),
        Figure(
            what=f"{where}: of that, what using websockets and TLS takes by itself",
            value=max(used.private_mib - bare.private_mib, 0.0),
            unit="MiB",
        ),
        figure(
            "wake-ups a minute", "", client.wake_ups_a_minute, bare.wake_ups_a_minute,
            headline=True,
        ),
        figure("CPU", "s/hour", client.cpu_s_an_hour, bare.cpu_s_an_hour, headline=True),
        figure("disk writes", "B/hour", client.written_bytes_an_hour, bare.written_bytes_an_hour),
        figure("threads", "", client.threads, bare.threads),
        figure("handles", "", client.handles, bare.handles),
    ]  # fmt: skip
