"""Stage: tests. In: writes that are interrupted. Out: the file that was there, whole.
Next: ``test_safe.py``."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad.runtime import folder
from minigrad.serialization.replace import replacing


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    minigrad.save({"step": 1, "w": minigrad.ones(3)}, path)
    return path


def whole(path: Path) -> bool:
    """The old object is there, and nothing else."""
    return minigrad.load(path)["step"] == 1 and os.listdir(path.parent) == [path.name]


class Fails:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("while it was pickled")


def test_an_error_in_a_reducer(old: Path) -> None:
    for new_format in (True, False):
        with pytest.raises(ZeroDivisionError):
            minigrad.save({"step": 2, "bad": Fails()}, old, _use_new_zipfile_serialization=new_format)
        assert whole(old)


def test_a_full_disk(old: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            minigrad.save({"step": 2, "w": minigrad.zeros(100_000)}, old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.errno == errno.EFBIG and whole(old)


def test_a_disk_that_fails_at_the_end(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        minigrad.save({"step": 2}, old)
    assert whole(old)


def test_ctrl_c(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad.serialization.archive import ArchiveWriter

    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ArchiveWriter, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        minigrad.save({"step": 2}, old)
    assert whole(old)


def test_a_kill(old: Path) -> None:
    """The next process removes what this one has written; what is being written stays, and what is not ours."""
    foreign, alike = [old.parent / f".{old.name}.{end}" for end in ("notes", "notes.tmp")]
    for kept in (foreign, alike):
        kept.mkdir()
        (kept / "mine").touch()
    program = ("import minigrad, os, signal, sys; from minigrad.serialization.archive import ArchiveWriter\n"
               "ArchiveWriter.close = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
               "minigrad.save({'step': 2}, sys.argv[1])")
    done = subprocess.run([sys.executable, "-c", program, str(old)], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert minigrad.load(old)["step"] == 1 and len(os.listdir(old.parent)) == 4
    with replacing(old) as file:
        minigrad.save({"step": 3}, old)
        assert minigrad.load(old)["step"] == 3
        minigrad.save({"step": 4}, file)
    assert minigrad.load(old)["step"] == 4 and {*os.listdir(old.parent)} == {
        old.name, foreign.name, alike.name}
    assert os.listdir(alike) == ["mine"]


def test_a_long_name(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 250 + ".pt"), tmp_path / ("ü" * 120 + ".pt")):
        minigrad.save({"step": 1}, path)
        assert whole(path)
        path.unlink()


@pytest.mark.parametrize("moment", ["made", "opened"])
def test_two_that_begin_at_once(old: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One takes the other's new folder for one that was left, before it is locked."""
    plain, lock, made = folder.tempfile.mkdtemp, folder.fcntl.flock, []

    def remove() -> None:
        monkeypatch.setattr(folder.fcntl, "flock", lock)
        folder.remove_left(str(old.parent), f".{old.name}.", ".tmp")

    def mkdtemp(*arguments: str) -> str:
        made.append(plain(*arguments))
        if moment == "made" and len(made) == 1:
            remove()
        return made[-1]

    def flock(*arguments: int) -> None:
        remove()
        lock(*arguments)

    monkeypatch.setattr(folder.tempfile, "mkdtemp", mkdtemp)
    if moment == "opened":
        monkeypatch.setattr(folder.fcntl, "flock", flock)
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    minigrad.save({"step": 1}, old)
    assert len(made) == 2 and whole(old)
    assert before == (len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0)


def test_mode_and_links_are_kept(old: Path, tmp_path: Path) -> None:
    old.chmod(0o640)
    link = tmp_path / "link.pt"
    link.symlink_to(old.name)
    minigrad.save({"step": 2}, link)
    assert link.is_symlink() and minigrad.load(old)["step"] == 2 and stat.S_IMODE(old.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling.pt"
    dangling.symlink_to("later.pt")
    minigrad.save({"step": 3}, dangling)
    assert dangling.is_symlink() and minigrad.load(tmp_path / "later.pt")["step"] == 3
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "later.pt").stat().st_mode) == 0o666 & ~mask


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Parent directory .*/nowhere does not exist"):
        minigrad.save(1, tmp_path / "nowhere" / "x.pt")
    with pytest.raises(RuntimeError, match="Is a directory"):
        minigrad.save(1, tmp_path)
    minigrad.save(1, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_file_object_is_written_through() -> None:
    class Short(io.BytesIO):
        """Takes a few bytes at a time, as a socket does."""

        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:100])

    for new_format in (True, False):
        file = Short()
        minigrad.save(minigrad.arange(300), file, _use_new_zipfile_serialization=new_format)
        file.seek(0)
        assert minigrad.load(file).tolist() == list(range(300))


@pytest.mark.parametrize("room", range(4))
def test_without_file_descriptors(old: Path, room: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + room, hard))
    try:
        with contextlib.suppress(OSError):
            minigrad.save({"step": 1}, old)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert whole(old)
