"""The real client on a PC with faults: its disk, files, keyring and clock."""

from __future__ import annotations

import errno
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.core.saved_state import SavedState
from agent.state_file import StateFile
from demo.private_keyring import PrivateKeyring
from tests.support.certificates import Authority
from tests.support.disks import needs_root, small_disk
from tests.support.fake_gateway import PASSWORD, FakeGateway, at, honest
from tests.support.loop_thread import LoopThread
from tests.support.own_keyring import lock_keyring, started_keyring
from tests.support.pc import Pc, as_seen
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring


@pytest.fixture
def address(servers: LoopThread) -> str:
    """Return the address of an honest gateway."""
    return servers.host(FakeGateway().running())


# --- the disk


def fill(disk: Path) -> Path:
    """Fill the disk. Return the file whose removal makes room."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError) as caught:  # noqa: PT011, PT012 - see below
        while True:
            file.write(bytes(4096))
    assert caught.value.errno == errno.ENOSPC
    return ballast


@needs_root
def test_a_full_disk_and_a_read_only_one(
    tmp_path: Path, new_pc: Callable[..., Pc], address: str
) -> None:
    """On a full or read-only disk the client works, saves later, and stays the only client."""
    with small_disk(tmp_path / "pc-0", "512k") as disk:
        pc = new_pc(address)
        pc.paths.config_file.unlink()
        ballast = fill(disk)
        code, said = pc.login()
        assert code == 1
        assert "The password is right and has been stored." in said
        assert "The settings cannot be saved\nMake room on the disk" in said
        pc.start()
        pc.says("logged_out")
        assert pc.login()[0] == 1
        pc.says("standby")
        assert "[The settings cannot be saved] Make room on the disk" in pc.told()
        assert "settings not saved: No space left on device, next try in 60 s" in pc.told()
        ballast.unlink()
        pc.log_in()
        pc.kill()

        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        pc.start()
        pc.says("standby")
        code, said = pc.command("run")
        assert code == 0
        assert "already" in said
        assert "no log file at" in pc.told()
        assert "Traceback" not in pc.told()
        assert pc.command("quit")[0] == 0
        pc.wait_for_end()


# --- damaged files


def test_damaged_files_at_the_start(new_pc: Callable[..., Pc], address: str) -> None:
    """The client renames damaged settings and state, tells the user, and works."""
    pc = new_pc(address, LANG="ja_JP.UTF-8")
    StateFile(pc.paths.state_dir).save(pc.identity, SavedState(clock_offset_s=5.0))
    pc.start()
    pc.says("standby")
    pc.kill()
    [state], config = pc.paths.state_dir.glob("*.json"), pc.paths.config_file
    for file in (config, state):
        file.write_bytes(bytes(200))
    pc.start()
    pc.says("standby")
    told = (
        f"[設定を読み込めません] {config}、1行目: TOML として正しくありません。"
        "このファイルの名前を client.toml.broken に変更し、前回の正しい設定で動作を続けます。"
    )
    assert re.sub(r"\s", "", told) in re.sub(r"\s", "", pc.told())
    assert config.with_name("client.toml.broken").read_bytes() == bytes(200)
    assert state.with_suffix(".broken").read_bytes() == bytes(200)
    assert f"{state.name} is broken; set aside" in pc.log()
    pc.check()


# --- the keyring


def test_a_keyring_that_goes_and_comes_back(
    keyring: PrivateKeyring, new_pc: Callable[..., Pc], address: str
) -> None:
    """Without a keyring, `status` says what to do at a start; a waiting client waits on."""
    pc = new_pc(address, **keyring.environment)
    for take_away, reason, hint in (
        (keyring.stop_service, "vault_missing", "起動"),
        (lock_keyring, "vault_locked", "ロック"),
    ):
        pc.quit()
        take_away()
        pc.start()
        status = pc.says("retrying", reason)
        assert hint in as_seen(status, "ja")[2]
        assert f"trouble: {reason}" in pc.log()
        keyring.stop_service()
        keyring.start_service()  # unlocked, as after a sign-in
        pc.says("standby", within_s=60)

    keyring.stop_service()
    pc.tell("reconnect")
    pc.says("standby")
    code, said = pc.command("update-password", answer=PASSWORD)
    assert code == 1
    assert "The password store of this PC is not available." in said
    pc.says("standby")
    keyring.start_service()
    code, said = pc.command("update-password", answer=PASSWORD)
    assert code == 0, said
    assert pc.stored().password == PASSWORD
    pc.check()


@needs_root
def test_a_keyring_whose_disk_is_full(
    tmp_path: Path, new_pc: Callable[..., Pc], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that cannot be stored is refused, and the old one is kept."""
    with small_disk(tmp_path / "disk", "256k") as disk, started_keyring(disk, monkeypatch) as own:
        pc = new_pc(address, **own.environment)
        pc.start()
        pc.says("standby")
        before, ballast = pc.stored(), fill(disk)
        code, said = pc.command("update-password", answer=PASSWORD)
        assert code == 1
        assert "The password store of this PC has failed." in said
        pc.says("standby")
        own.stop_service()
        own.start_service()
        assert pc.stored() == before
        ballast.unlink()
        code, said = pc.command("update-password", answer=PASSWORD)
        assert code == 0, said
        pc.check()
        pc.quit()


# --- the clock

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.mark.skipif(FAKETIME is None, reason="not on this machine: faketime (.ci/packages test)")
def test_a_clock_that_jumps(servers: LoopThread, new_pc: Callable[..., Pc], tmp_path: Path) -> None:
    """A wrong clock changes no days left and no login; a refused certificate's text names it."""
    authority = Authority(tmp_path / "authority")
    gateway = FakeGateway(honest({PASSWORD: "old"}, valid_until=at(30)))
    tls = authority.context("localhost", days=(-1, 4000))
    server = servers.host(gateway.running(tls=tls)).replace("127.0.0.1", "localhost")
    file = tmp_path / "clock"
    file.write_text("+0d\n")
    pc = new_pc(
        server,
        SSL_CERT_FILE=str(authority.file),
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(file),
        FAKETIME_CACHE_DURATION="1",  # without a cache the start is slow
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        NO_FAKE_STAT="1",  # without this, imports are slow
    )

    def jump(days: int) -> None:
        """Set the clock off by `days`. The client logs each question for its status."""
        new = file.with_suffix(".new")
        new.write_text(f"{days:+d}d\n")
        new.replace(file)
        year = str((datetime.now(UTC) + timedelta(days=days)).year)
        eventually(lambda: pc.status() and pc.log().splitlines()[-1].startswith(year))

    def has_30_days() -> None:
        # On a busy machine the keyring may exceed its deadline, whatever the clock.
        assert pc.says("standby_old_password", within_s=100)["days_left"] == 30

    pc.start()
    has_30_days()
    before = len(pc.troubles())
    jump(3650)
    has_30_days()
    pc.tell("reconnect")
    eventually(lambda: len(gateway.hellos) == 2)
    has_30_days()
    jump(-3650)
    has_30_days()
    pc.tell("reconnect")
    status = pc.says("retrying", "certificate")
    assert "このPCの日付と時刻を確認し" in "".join(as_seen(status, "ja"))
    jump(0)
    pc.tell("reconnect")
    has_30_days()
    assert {each[0] for each in pc.troubles()[before:]} == {"certificate"}
    pc.check()
