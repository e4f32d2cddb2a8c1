import os
import shutil
import stat
import time

import pytest

from minigrad import config
from minigrad.runtime import cache, folder
from minigrad.runtime.folder import private


def files(folder):
    """Names in the cache folder, the secret's apart."""
    return sorted({p.name for p in (folder / "objects").iterdir()} - {cache.SECRET})


def prune(folder, limit, entries=cache.ENTRIES):
    with private(str(folder), cache.FOLDER, create=False) as opened:
        cache.prune(opened, limit, entries)


KEYS = [f"{i:064x}" for i in range(8)]


@pytest.fixture
def eight(cache_dir):
    """Eight entries, the first used longest ago, 1000 bytes each and a few."""
    for i, key in enumerate(KEYS):
        cache.store(key, bytes(1000))
        os.utime(cache_dir / "objects" / key, (1000 + i, 1000 + i))
    return cache_dir


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
    lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:]])
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
    monkeypatch.setenv("MINIGRAD_CACHE", "1")
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
    objects, system = cache_dir / "objects", os.open
    objects.chmod(0o500)
    try:
        cache.store("b", b"code")  # root may write all the same
        assert cache.load("a") == b"code"

        def refuse(*arguments, **named):
            raise PermissionError(13, "Permission denied")

        def refuse_writing(name, flags, *arguments, **named):
            return refuse() if flags & os.O_CREAT else system(name, flags, *arguments, **named)

        monkeypatch.setattr(folder.os, "open", refuse_writing)
        monkeypatch.setattr(folder.os, "unlink", refuse)
        cache.store("c", b"code")
        assert cache.load("c") is None
        (objects / "a").chmod(0o600)
        (objects / "a").write_bytes(b"damaged")
        assert cache.load("a") is None
    finally:
        objects.chmod(0o700)


def test_a_full_disk_leaves_nothing_behind(cache_dir, monkeypatch):
    cache.store("a", b"code")

    def refuse(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "replace", refuse)
    cache.store("b", b"code")
    assert files(cache_dir) == ["a"]


def test_without_a_home_folder_it_is_harmless(python):
    assert python("""
import os
for name in ("HOME", "XDG_CACHE_HOME", "MINIGRAD_CACHE_DIR"):
    os.environ.pop(name, None)
os.environ["XDG_CACHE_HOME"] = "/proc/none"
from minigrad.runtime import cache, folder
from minigrad.runtime.folder import private
cache.store("a", b"code")
print(cache.load("a"))
""", MINIGRAD_CACHE="1") == "None\n"


def test_pruning_removes_the_oldest(eight):
    writing, crashed = (eight / "objects" / f".new-{digit * 16}" for digit in "ab")
    for path in (writing, crashed):
        path.write_bytes(b"half")
        path.chmod(0o600)
    os.utime(crashed, (1000, 1000))
    prune(eight, 20_000)
    assert files(eight) == [writing.name, *KEYS]
    prune(eight, 6000)
    assert files(eight) == [writing.name, *KEYS[4:]]


def test_stores_prune_as_likely_as_they_fill_the_folder(cache_dir, monkeypatch):
    monkeypatch.setattr(cache, "limit", lambda: 1 << 20)
    keys = [f"{i << 22:08x}{i:056x}" for i in range(1024)]
    assert [sum(cache._is_due(key, size) for key in keys) for size in (0, 1 << 11, 1 << 14)] == [2, 130, 1024]
    seen = []
    monkeypatch.setattr(cache, "prune", lambda folder, limit: seen.append(limit))
    for key in keys[::64]:
        cache.store(key, b"code")
    assert seen == [1 << 20]


def test_pruning_counts_entries_too(eight):
    prune(eight, 1 << 20, 8)
    assert files(eight) == KEYS
    prune(eight, 1 << 20, 7)
    assert files(eight) == KEYS[3:]


@pytest.mark.parametrize("name", ["photo.jpg", "f" * 63, "F" * 64, "f" * 64, ".new-draft", ".new-" + "f" * 15])
def test_pruning_leaves_what_is_not_an_entry(eight, name):
    """By its name, or (64 digits) by its contents."""
    foreign = eight / "objects" / name
    foreign.write_bytes(b"somebody's")
    foreign.chmod(0o600)
    os.utime(foreign, (0, 0))
    prune(eight, 0)
    assert files(eight) == [name]


def test_pruning_goes_through_no_link(tmp_path, cache_dir):
    """Neither one in the place of the folder nor one in it."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / KEYS[0]).write_bytes(cache.MAGIC + bytes(5000))
    os.utime(outside / KEYS[0], (0, 0))
    cache_dir.mkdir(mode=0o700)
    (cache_dir / "objects").symlink_to(outside)
    cache.store(KEYS[1], b"code")
    assert cache.load(KEYS[1]) is None and [p.name for p in outside.iterdir()] == [KEYS[0]]
    (cache_dir / "objects").unlink()
    cache.store(KEYS[1], b"code")
    (cache_dir / "objects" / KEYS[2]).symlink_to(outside / KEYS[0])
    prune(cache_dir, 0)
    assert [p.name for p in outside.iterdir()] == [KEYS[0]] and files(cache_dir) == [KEYS[2]]


def test_a_hit_keeps_an_old_entry_young(cache_dir):
    cache.store("a", b"code")
    path = cache_dir / "objects" / "a"
    os.utime(path, (1000, 1000))
    assert cache.load("a") == b"code" and time.time() - path.stat().st_mtime < 60


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_jumps(eight, years):
    """Entries of a time that is still to come are not kept before all others, nor for ever."""
    ahead = time.time() + years * 365 * 86400
    half = eight / "objects" / f".new-{'a' * 16}"
    half.write_bytes(b"half")
    half.chmod(0o600)
    for name in (half.name, KEYS[6], KEYS[7]):
        os.utime(eight / "objects" / name, (ahead, ahead))
    assert cache.load(KEYS[7]) and abs((eight / "objects" / KEYS[7]).stat().st_mtime - time.time()) < 60
    for i, key in enumerate(KEYS[:6]):
        os.utime(eight / "objects" / key, (time.time() - 100 + i,) * 2)
    prune(eight, 7000)
    assert files(eight) == sorted([*KEYS[2:6], KEYS[7]])


def test_keys_tell_parts_apart():
    assert len({cache.key_of("ab", "c"), cache.key_of("a", "bc"), cache.key_of("abc"), cache.key_of("abc", "")}) == 4


def test_keys_change_with_minigrads_source(monkeypatch):
    before = cache.key_of("a")
    monkeypatch.setattr(cache, "source_state", lambda: "changed")
    assert cache.key_of("a") != before


@pytest.mark.parametrize("replace", [
    pytest.param(os.mkfifo, id="a pipe"),
    pytest.param(lambda path: os.symlink("/dev/zero", path), id="a device"),
    pytest.param(lambda path: (path.write_bytes(bytes(10)), os.truncate(path, cache.LARGEST + 1)), id="too large"),
    pytest.param(lambda path: os.symlink(path.parent / KEYS[1], path), id="a link"),
])
def test_only_regular_files_are_read(cache_dir, replace):
    cache.store(KEYS[0], b"code")
    cache.store(KEYS[1], b"code")
    path = cache_dir / "objects" / KEYS[0]
    path.unlink()
    replace(path)
    assert cache.load(KEYS[0]) is None
    cache.store(KEYS[0], b"other")
    assert cache.load(KEYS[0]) == b"other" and path.is_file() and not path.is_symlink()


def test_a_file_that_is_too_large_is_not_read(cache_dir, monkeypatch):
    cache.store(KEYS[0], b"code")
    monkeypatch.setattr(cache, "LARGEST", (cache_dir / "objects" / KEYS[0]).stat().st_size)
    assert cache.load(KEYS[0]) == b"code"
    monkeypatch.setattr(cache, "LARGEST", cache.LARGEST - 1)
    assert cache.load(KEYS[0]) is None


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_an_entry_that_others_may_write_is_not_trusted(cache_dir, mode):
    cache.store(KEYS[0], b"code")
    (cache_dir / "objects" / KEYS[0]).chmod(mode)
    assert cache.load(KEYS[0]) is None and files(cache_dir) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("given", ["objects", f"objects/{KEYS[0]}", f"objects/{cache.SECRET}"])
def test_what_belongs_to_somebody_else_is_not_trusted(cache_dir, given):
    cache.store(KEYS[0], b"code")
    os.chown(cache_dir / given, 12345, 12345)
    assert cache.load(KEYS[0]) is None


def test_what_another_secret_signed_is_not_trusted(cache_dir):
    """An entry copied from another user's folder, or written by hand."""
    cache.store(KEYS[0], b"code")
    secret = cache_dir / "objects" / cache.SECRET
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600 and len(secret.read_bytes()) == 32
    secret.write_bytes(bytes(32))
    assert cache.load(KEYS[0]) is None
    secret.write_bytes(b"short")
    cache.store(KEYS[0], b"code")
    assert cache.load(KEYS[0]) == b"code" and len(secret.read_bytes()) == 32


def test_a_folder_that_others_may_rename_is_not_used(cache_dir, recwarn):
    cache.store(KEYS[0], b"code")
    cache_dir.chmod(0o777)
    for _ in range(2):
        assert cache.load(KEYS[0]) is None
    cache.store(KEYS[1], b"code")
    cache_dir.chmod(0o1777)  # sticky: others may add files, not rename ours
    assert cache.load(KEYS[0]) == b"code" and cache.load(KEYS[1]) is None
    assert [str(w.message).split(":")[0] for w in recwarn] == ["compiled kernels are not kept on disk"]


def test_processes_that_start_together_agree_on_the_secret(cache_dir, monkeypatch):
    """Another one makes a secret between this one's look and its own."""
    secrets, random = [], os.urandom

    def ask():
        with private(str(cache_dir), cache.FOLDER, create=True) as opened:
            secrets.append(cache._secret(opened, create=True))

    def interrupted(size):
        monkeypatch.setattr(os, "urandom", random)
        ask()
        return random(size)

    monkeypatch.setattr(os, "urandom", interrupted)
    ask()
    assert len(secrets) == 2 and len(set(secrets)) == 1 and files(cache_dir) == []


def test_a_killed_compilation_is_cleaned_up(tmp_path, monkeypatch):
    """Its folder goes when the next process starts to compile; one that is in use stays, and so does all else."""
    monkeypatch.setattr(folder.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(folder, "_looked", False)
    killed, foreign = tmp_path / "minigrad-cc-k1lled_0", tmp_path / "minigrad-results"
    for path in (killed, foreign):
        path.mkdir(mode=0o700)
        (path / "kernels.c").write_text("")
    with folder.scratch() as busy:
        monkeypatch.setattr(folder, "_looked", False)
        with folder.scratch() as second:
            assert {p.name for p in tmp_path.iterdir()} == {"minigrad-results", *map(os.path.basename, (busy, second))}
    assert [p.name for p in tmp_path.iterdir()] == ["minigrad-results"]
