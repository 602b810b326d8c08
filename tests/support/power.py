"""Power cuts: every state that a disk may have while a program writes, from its system calls.

`record` runs a program under strace. `Disk` replays the calls and yields each state that a power
cut may leave: a name is durable once its directory was synced, content once its file was synced.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,open,creat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat"
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@dataclass(frozen=True)
class Call:
    """One system call that has succeeded. `texts` are its strings, `number` its first handle."""

    name: str
    texts: tuple[bytes, ...]
    number: int
    result: int
    flags: str


def record(program: str, directory: Path) -> list[Call]:
    """Run `python -c program directory`. Return its system calls on files in `directory`."""
    trace = directory.parent / "trace"
    subprocess.run(
        ["strace", "-f", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace)]
        + [sys.executable, "-c", program, str(directory)],
        check=True,
        timeout=60,
    )
    return list(_about(directory, _parse(trace.read_text())))


def _parse(trace: str) -> Iterator[Call]:
    for line in trace.splitlines():
        found = _LINE.match(line)
        if found is None or found[3].startswith("-"):
            continue
        name, arguments, result = found.groups()
        assert not any(more for _, more in _TEXT.findall(arguments)), "cut short by strace"
        texts = tuple(
            bytes.fromhex(text.replace("\\x", "")) for text, _ in _TEXT.findall(arguments)
        )
        number = re.match(r"\d+", arguments)
        yield Call(name, texts, int(number[0]) if number else -1, int(result), arguments)


def _about(directory: Path, calls: Iterator[Call]) -> Iterator[Call]:
    """Yield the calls with a path in the directory, or with a file that is open there."""
    inside = str(directory).encode()
    handles: set[int] = set()
    for call in calls:
        ours = any(text == inside or text.startswith(inside + b"/") for text in call.texts[:2])
        if call.name in {"openat", "open", "creat"}:
            (handles.add if ours else handles.discard)(call.result)
            if ours:
                yield call
        elif ours or call.number in handles:
            yield call


@dataclass
class _File:
    content: bytes = b""
    synced: bytes = b""


@dataclass
class Disk:
    """One directory. `names` is what programs see, and `sure` what survives a power cut."""

    directory: Path
    files: list[_File] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    sure: dict[str, int] = field(default_factory=dict)
    changes: list[dict[str, int]] = field(default_factory=list)
    """What `names` was after each change since `sure`."""
    _handles: dict[int, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, directory: Path) -> Disk:
        """Return the directory as it is, with everything durable."""
        disk = cls(directory)
        for path in sorted(directory.iterdir()):
            disk.names[path.name] = len(disk.files)
            disk.files.append(_File(path.read_bytes(), path.read_bytes()))
        disk.sure = dict(disk.names)
        return disk

    def apply(self, call: Call) -> None:
        """Change the disk as the call does."""
        paths = [self._name(text) for text in call.texts]
        match call.name:
            case "openat" | "open" | "creat":
                self._open(paths[0], call)
            case "write" | "pwrite64":
                index = self._handles[call.number]
                assert index is not None
                self.files[index].content += call.texts[0][: call.result]
            case "fsync" | "fdatasync":
                index = self._handles[call.number]
                if index is None:
                    self.sure, self.changes = dict(self.names), []
                else:
                    self.files[index].synced = self.files[index].content
            case "rename" | "renameat" | "renameat2":
                self.names[str(paths[1])] = self.names.pop(str(paths[0]))
                self.changes.append(dict(self.names))
            case _:
                self.names.pop(str(paths[0]), None)
                self.changes.append(dict(self.names))

    def _open(self, name: str | None, call: Call) -> None:
        if name is None:
            self._handles[call.result] = None
            return
        if name not in self.names:
            self.names[name] = len(self.files)
            self.files.append(_File())
            self.changes.append(dict(self.names))
        elif "O_TRUNC" in call.flags:
            self.files[self.names[name]].content = b""
        self._handles[call.result] = self.names[name]

    def _name(self, path: bytes) -> str | None:
        """Return the file's name, or None for the directory itself."""
        inside = Path(path.decode())
        return None if inside == self.directory else inside.name

    def after_a_cut(self) -> Iterator[dict[str, bytes]]:
        """Yield each content, by name, that the directory may have after a power cut."""
        for names in [self.sure, *self.changes]:
            for contents in self._contents():
                yield {name: contents[index] for name, index in names.items()}

    def _contents(self) -> Iterator[list[bytes]]:
        """Yield for unsynced files what was synced, nothing, a part, zeros, and everything."""
        yield [file.synced for file in self.files]
        for keep in (lambda b: b[:0], lambda b: b[: len(b) // 2], lambda b: bytes(len(b)), bytes):
            yield [f.content if f.content == f.synced else keep(f.content) for f in self.files]

    def as_killed(self) -> dict[str, bytes]:
        """Return the files when only the process is killed."""
        return {name: self.files[index].content for name, index in self.names.items()}


def put(state: dict[str, bytes], directory: Path) -> None:
    """Make these files the only ones of a directory."""
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, content in state.items():
        (directory / name).write_bytes(content)
