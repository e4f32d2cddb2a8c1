import os
import shutil
import stat
import time

import pytest

from minigrad import config
from minigrad.runtime import cache


def files(folder):
    return sorted(p.name for p in (folder / "objects").iterdir())


def test_what_is_stored_is_loaded(cache_dir):
    assert cache.load("a") is None
    cache.store("a", b"code")
    assert cache.load("a") == b"code" and files(cache_dir) == ["a"]
    cache.store("a", b"other")
    assert cache.load("a") == b"other"


def test_setting_cache_0_reads_and_writes_nothing(cache_dir):
    cache.store("a", b"code")
    with config.config(CACHE=0):
        assert cache.load("a") is None
        cache.store("b", b"code")
    assert files(cache_dir) == ["a"]


def test_files_are_private(cache_dir):
    cache.store("a", b"code")
    assert stat.S_IMODE((cache_dir / "objects").stat().st_mode) == 0o700
    assert stat.S_IMODE((cache_dir / "objects" / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:10], lambda data: data[:-1], lambda data: data + b"x",
    lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b"x" + data[1:], lambda data: b"\x7fELF" * 20,
    lambda data: data[:30] + b"?" + data[31:]])
def test_a_damaged_entry_is_not_trusted_and_can_be_written_again(cache_dir, damage):
    cache.store("a", b"some code")
    path = cache_dir / "objects" / "a"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load("a") is None and not path.exists()
    cache.store("a", b"some code")
    assert cache.load("a") == b"some code"


def test_the_entry_of_another_key_is_not_trusted(cache_dir):
    cache.store("a", b"some code")
    shutil.copy(cache_dir / "objects" / "a", cache_dir / "objects" / "b")
    assert cache.load("b") is None


def test_a_folder_in_the_place_of_an_entry_is_harmless(cache_dir):
    (cache_dir / "objects" / "a").mkdir(parents=True)
    (cache_dir / "objects").chmod(0o700)
    assert cache.load("a") is None
    cache.store("a", b"code")
    assert cache.load("a") is None and files(cache_dir) == ["a"]


def test_a_file_in_the_place_of_the_folder_is_harmless(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CACHE", "1")
    for place in ("file", "file/below", "nul\0byte", "x" * 5000):
        with config.config(CACHE_DIR=str(tmp_path / place)):
            cache.store("a", b"code")
            assert cache.load("a") is None


def test_a_folder_that_others_may_write_is_not_used(cache_dir):
    cache.store("a", b"code")
    (cache_dir / "objects").chmod(0o777)
    assert cache.load("a") is None
    cache.store("b", b"code")
    assert files(cache_dir) == ["a"]


def test_a_read_only_folder_is_harmless(cache_dir, monkeypatch):
    cache.store("a", b"code")
    folder = cache_dir / "objects"
    folder.chmod(0o500)
    try:
        cache.store("b", b"code")  # root may write all the same
        assert cache.load("a") == b"code"

        def refuse(*arguments, **named):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(cache.tempfile, "mkstemp", refuse)
        monkeypatch.setattr(cache.os, "unlink", refuse)
        cache.store("c", b"code")
        assert cache.load("c") is None
        (folder / "a").chmod(0o600)
        (folder / "a").write_bytes(b"damaged")
        assert cache.load("a") is None
    finally:
        folder.chmod(0o700)


def test_a_full_disk_leaves_nothing_behind(cache_dir, monkeypatch):
    cache.store("a", b"code")

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", refuse)
    cache.store("b", b"code")
    assert files(cache_dir) == ["a"]


def test_without_a_home_folder_it_is_harmless(python):
    assert python("""
import os
for name in ("HOME", "XDG_CACHE_HOME", "CACHE_DIR"):
    os.environ.pop(name, None)
os.environ["XDG_CACHE_HOME"] = "/proc/none"
from minigrad.runtime import cache
cache.store("a", b"code")
print(cache.load("a"))
""", CACHE="1") == "None\n"


def test_pruning_removes_the_oldest(cache_dir):
    for i in range(8):
        cache.store(f"key{i}", bytes(1000))
        os.utime(cache_dir / "objects" / f"key{i}", (1000 + i, 1000 + i))
    (cache_dir / "objects" / ".new-crashed").write_bytes(b"half")
    os.utime(cache_dir / "objects" / ".new-crashed", (1000, 1000))
    (cache_dir / "objects" / ".new-writing").write_bytes(b"half")
    cache.prune(str(cache_dir / "objects"), 20_000)
    assert len(files(cache_dir)) == 9
    cache.prune(str(cache_dir / "objects"), 6000)
    assert files(cache_dir) == [".new-writing", "key4", "key5", "key6", "key7"]


def test_a_hit_keeps_an_old_entry_young(cache_dir):
    cache.store("a", b"code")
    path = cache_dir / "objects" / "a"
    os.utime(path, (1000, 1000))
    assert cache.load("a") == b"code" and time.time() - path.stat().st_mtime < 60


def test_keys_tell_parts_apart():
    assert len({cache.key_of("ab", "c"), cache.key_of("a", "bc"), cache.key_of("abc"), cache.key_of("abc", "")}) == 4


def test_keys_change_with_minigrads_source(monkeypatch):
    before = cache.key_of("a")
    monkeypatch.setattr(cache, "source_state", lambda: "changed")
    assert cache.key_of("a") != before


def test_pruning_counts_entries_too(cache_dir):
    for i in range(8):
        cache.store(f"key{i}", b"small")
        os.utime(cache_dir / "objects" / f"key{i}", (1000 + i, 1000 + i))
    cache.prune(str(cache_dir / "objects"), 1 << 20, 8)
    assert len(files(cache_dir)) == 8
    cache.prune(str(cache_dir / "objects"), 1 << 20, 7)
    assert files(cache_dir) == [f"key{i}" for i in range(3, 8)]
