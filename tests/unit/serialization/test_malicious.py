"""Stage: tests. In: checkpoints that somebody damaged or made to do harm. Out: errors, and nothing else: no call, no
memory that the file does not have.
Next: ``test_replace.py``."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict
from typing import Any

import pytest

import minigrad
from minigrad import nn, serialization
from minigrad.serialization import restricted


def saved(obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    minigrad.save(obj, file, **options)
    file.seek(0)
    return file


def archive_of(pickled: bytes, **records: bytes) -> io.BytesIO:
    """A checkpoint with this pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", "3")
        for name, data in records.items():
            archive.writestr("a/data/" + name.strip("_"), data)
    file.seek(0)
    return file


def words(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


STORAGE = b"(" + words("storage") + named("torch", "FloatStorage") + words("0") + words("cpu") + b"K\1tQ"
ENCODED = named("_codecs", "encode") + words("ab")


class Call:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


called: list[Any] = []


def note(value: Any) -> Any:
    called.append(value)
    return value


@pytest.mark.parametrize("evil", [
    Call(os.system, "true"), Call(eval, "1"), Call(exec, "1"), Call(note, 1), Call(getattr, 1, "real"),
    Call(__import__, "os"), Call(map, Call(note, 2), [1]), Call(open, "/etc/passwd"),
    {"a": [minigrad.ones(1), Call(note, 3)]}, OrderedDict(x=Call(note, 4))],
    ids=["system", "eval", "exec", "own", "getattr", "import", "nested", "open", "in-a-list", "in-a-dictionary"])
def test_nothing_is_called(evil: Any) -> None:
    for old in (False, True):
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            minigrad.load(saved(evil, _use_new_zipfile_serialization=not old))
    assert called == []


def test_blocked_modules_stay_blocked() -> None:
    with serialization.safe_globals([os.system]), pytest.raises(pickle.UnpicklingError, match="posix is blocked"):
        minigrad.load(saved(Call(os.system, "true")))


def test_what_was_called_safe_is_called() -> None:
    with serialization.safe_globals([note]):
        assert minigrad.load(saved(Call(note, 5))) == 5
    assert called == [5]
    called.clear()
    with pytest.raises(pickle.UnpicklingError, match=r"add_safe_globals\(\[.*note\]\)"):
        minigrad.load(saved(Call(note, 5)))
    for wrong, kind in (((note, "a", "b"), ValueError), ((note, 3), TypeError)):
        with serialization.safe_globals([wrong]), pytest.raises(kind):  # type: ignore[list-item]
            minigrad.load(saved(1))


REFUSED = {
    "Tensor is no function": named("torch", "Tensor") + b"M\x10\x27\x85R.",
    "UntypedStorage is no function": named("torch.storage", "UntypedStorage") + b"J\xff\xff\xff\x7f\x85R.",
    "bytearray of a number": named("builtins", "bytearray") + b"J\xff\xff\xff\x7f\x85R.",
    "another encoding": ENCODED + words("zlib") + b"\x86R.",
    "an encoding of a program": ENCODED + words("os") + b"\x86R.",
    "a storage type is no function": named("torch", "FloatStorage") + b"K\1\x85R.",
    "new object of a dtype": named("torch", "float32") + b")\x81.",
    "new object of a function": named("torch._utils", "_rebuild_tensor_v2") + b")\x81.",
    "build a list": b"]}b.", "append to a dict": b"}K\1a.", "items of a list": b"]K\1K\1s.",
    "another instruction": b"0.",
    "empty stack": b".", "no such memo": b"h\7.", "reduce of data": b"K\1)R.", "no mark": b"t.",
    "arguments are no tuple": named("collections", "OrderedDict") + b"]R.",
    "state of an OrderedDict": named("collections", "OrderedDict") + b")RK\1b.",
    "a persistent id of another kind": b"(" + words("module") + b"K\1tQ.",
    "a persistent id of text": words("0") + b"Q.", "no storage": b"(" + words("storage") + b"K\1tQ.",
    "a function that makes no tensor": named("torch._tensor", "_rebuild_from_type_v2")
    + b"(" + named("torch", "Tensor") + named("torch", "Tensor") + b"K\2\x85}tR.",
    "an unhashable key": b"}]K\1s.", "an odd number of items": b"}(K\1u.", "text that is none": b"X\1\0\0\0\xff.",
    "a stack global": b"\x8c\2os\x8c\6system\x93.", "an extension": b"\x82\1.", "an instance": b"(ios\nsystem\n.",
    "an object": b"(" + named("os", "system") + b"o.",
    "a tensor on a tensor": named("torch._utils", "_rebuild_tensor") + b"(K\1K\0))tR.",
}


@pytest.mark.parametrize("name", REFUSED)
def test_pickles_that_are_refused(name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        minigrad.load(archive_of(b"\x80\2" + REFUSED[name], _0=b"1234"))


def window(shape: bytes, strides: bytes, offset: bytes) -> bytes:
    return (b"\x80\2" + named("torch._utils", "_rebuild_tensor_v2") + b"(" + STORAGE + offset + shape + strides
            + b"\x89}tR.")


@pytest.mark.parametrize(("shape", "strides", "offset", "error"), [
    (b"K\2\x85", b"K\1\x85", b"K\0", "out of bounds for storage of size 4"),
    (b"K\1\x85", b"K\1\x85", b"K\1", "out of bounds for storage"),
    (b"J\xff\xff\xff\x7f\x85", b"K\1\x85", b"K\0", "out of bounds for storage"),
    (b"K\1\x85", b"K\1\x85", b"J\xff\xff\xff\xff", "invalid storage offset -1"),
    (b"J\xff\xff\xff\xff\x85", b"K\1\x85", b"K\0", "negative dimension"),
    (b"K\1\x85", b"J\xff\xff\xff\xff\x85", b"K\0", "overflowed"),
    (b"K\1\x85", b")", b"K\0", r"unequal size length \(1\) and stride length \(0\)"),
    (b"\x8a\x08" + b"\xff" * 7 + b"\x3f\x8a\x08" + b"\xff" * 7 + b"\x3f\x86", b"K\0K\0\x86", b"K\0",
     "integer multiplication overflow"),
])
def test_windows_outside_the_storage(shape: bytes, strides: bytes, offset: bytes, error: str) -> None:
    for options in ({}, {"weights_only": False}):
        with pytest.raises(RuntimeError, match=error):
            minigrad.load(archive_of(window(shape, strides, offset), _0=b"1234"), **options)
    assert minigrad.load(archive_of(window(b"K\1\x85", b"K\1\x85", b"K\0"), _0=b"\0\0\0\0")).tolist() == [0]


def test_integers_have_no_gradient() -> None:
    pickled = window(b")", b")", b"K\0").replace(b"FloatStorage", b"IntStorage").replace(b"\x89}tR", b"\x88}tR")
    with pytest.raises(RuntimeError, match="only Tensors of floating point and complex dtype can require gradients"):
        minigrad.load(archive_of(pickled, _0=b"1234"))


def test_a_key_that_takes_forever_to_hash() -> None:
    """Each tuple has the one before twice: hashing the last takes 2 to the 60 steps."""
    pickled = b"\x80\2}K\1"
    for i in range(60):
        pickled += b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86"
    with pytest.raises(pickle.UnpicklingError, match="a key is too large"):
        minigrad.load(archive_of(pickled + b"K\1s."))
    deep = minigrad.load(archive_of(b"\x80\2" + b"K\1" + b"\x85" * 100_000 + b"."))  # as a value it does no harm
    assert isinstance(deep, tuple)


def test_memory_is_not_taken_on_a_claim() -> None:
    """Sizes that the file names, but does not have."""
    for count in (b"J\xff\xff\xff\x7f", b"\x8a\x06" + b"\xff" * 5 + b"\x7f"):
        pickled = b"\x80\2(" + words("storage") + named("torch", "DoubleStorage") + words("0") + words("cpu")
        pickled += count + b"tQ."
        with pytest.raises(RuntimeError, match="does not match expected size"):
            minigrad.load(archive_of(pickled, _0=b"1234"))
        old = io.BytesIO(b"".join([pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})])
                         + pickled[:-3] + b"NtQ." + pickle.dumps(["0"], 2))
        with pytest.raises(RuntimeError, match="unexpected EOF, expected"):
            minigrad.load(old)
    with pytest.raises(EOFError):
        minigrad.load(archive_of(b"\x80\2X\xff\xff\xff\xffabc"))


def changed(data: bytes, name: bytes, at: int, form: str, value: int) -> bytes:
    """The archive with a number in the directory entry of ``name`` replaced."""
    out = bytearray(data)
    struct.pack_into(form, out, data.rindex(name) - 46 + at, value)
    return bytes(out)


def test_archives_that_lie() -> None:
    good = archive_of(window(b"K\1\x85", b"K\1\x85", b"K\0"), _0=b"1234").getvalue()
    for at, value in ((20, 1 << 30), (24, 1 << 30), (42, 1 << 30), (10, 12), (42, 7), (8, 1)):
        bad = changed(good, b"a/data/0", at, "<H" if at in (8, 10) else "<I", value)
        with pytest.raises(RuntimeError, match="PytorchStreamReader|records of the archive|match expected size"):
            minigrad.load(io.BytesIO(bad))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", window(b"K\1\x85", b"K\1\x85", b"K\0").replace(b"K\1tQ", b"J\0\0\0\x04tQ"))
        archive.writestr("a/version", "3")
        archive.writestr("a/data/0", b"1234")
    bomb = changed(packed.getvalue(), b"a/data/0", 24, "<I", 1 << 28)
    with pytest.raises(RuntimeError, match="invalid size"):
        minigrad.load(io.BytesIO(bomb))


def test_archives_with_odd_names() -> None:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data in (("a/data.pkl", b"\x80\2K\1."), ("a/data.pkl", b"\x80\2K\2."), ("a/version", b"3")):
            archive.writestr(name, data)
    with pytest.raises(RuntimeError, match="two records 'data.pkl'"):
        minigrad.load(io.BytesIO(file.getvalue()))
    pickled = b"\x80\2(" + words("storage") + named("torch", "FloatStorage") + words("../version")
    pickled += words("cpu") + b"K\1tQ."
    with pytest.raises(RuntimeError, match="failed locating file data/../version"):
        minigrad.load(archive_of(pickled))
    for names, error in ((["data.pkl"], "not in a subdirectory"), (["a/x"], "Expected hasRecord"), ([], "")):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        data = file.getvalue()
        with pytest.raises((RuntimeError, pickle.UnpicklingError), match=error if names else "Unsupported operand 80"):
            minigrad.load(io.BytesIO(data))


def test_versions_and_byte_orders() -> None:
    def with_record(name: str, data: bytes) -> io.BytesIO:
        source, out = zipfile.ZipFile(saved(minigrad.ones(1))), io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for other in source.namelist():
                archive.writestr(other, data if other.endswith("/" + name) else source.read(other))
        out.seek(0)
        return out

    with pytest.raises(RuntimeError, match="file with version 99, but the maximum supported version for reading is 10"):
        minigrad.load(with_record("version", b"99"))
    with pytest.raises(RuntimeError, match="Couldn't parse the version x"):
        minigrad.load(with_record("version", b"x"))
    with pytest.raises(RuntimeError, match="minimum supported version"):
        minigrad.load(with_record("version", b"0"))
    with pytest.raises(ValueError, match="Unknown endianness type: middle"):
        minigrad.load(with_record("byteorder", b"middle"))
    assert minigrad.load(with_record("byteorder", b"big")).view(minigrad.int32).item() == 0x803F


NEST = {"a": (x := minigrad.arange(6.0).reshape(2, 3)), "v": x[1:, 1:], "p": nn.Parameter(minigrad.ones(2)),
        "u": minigrad.ones(2, dtype=minigrad.uint16), "e": minigrad.empty(0), "c": Counter("aab"),
        "s": minigrad.Size([1]), "l": [1, 2.5, "x", None, True, {1, 2}, (1,), b"ab", 2**70, 1j, bytearray(b"q")],
        "o": OrderedDict(a=1)}
KINDS = (RuntimeError, EOFError, pickle.UnpicklingError, NotImplementedError, ValueError, AssertionError)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_damaged_anywhere(old: bool) -> None:
    """Cut at any place and changed at random ones: an error of a kind that is expected, or an object."""
    data = saved(NEST, _use_new_zipfile_serialization=not old).getvalue()
    draw = random.Random(0)
    begin = data.index(b"\x80\2}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cut in draw.sample(range(len(data)), 60):
            with pytest.raises(KINDS):
                minigrad.load(io.BytesIO(data[:cut]))
        for _ in range(500):
            bad = bytearray(data)
            for _ in range(draw.choice((1, 1, 3))):
                at = draw.randrange(begin, begin + 900) if draw.random() < 0.8 else draw.randrange(len(bad))
                bad[at] = draw.choice((draw.randrange(256), bad[at] ^ 1 << draw.randrange(8)))
            try:
                minigrad.load(io.BytesIO(bytes(bad)))
            except KINDS:
                continue


def test_the_machine_knows_what_save_writes() -> None:
    file = io.BytesIO(zipfile.ZipFile(saved(NEST)).read("archive/data.pkl"))
    assert "torch._utils._rebuild_tensor_v3" in restricted.globals_in(file)
    assert serialization.get_unsafe_globals_in_checkpoint(saved(NEST)) == []
    for bad, error in ((io.BytesIO(b"hello"), "Expected input to be a checkpoint returned by torch.save"),):
        with pytest.raises(ValueError, match=error):
            serialization.get_unsafe_globals_in_checkpoint(bad)


@pytest.mark.parametrize("name", ["_rebuild_qtensor", "_rebuild_nested_tensor",
                                  "_rebuild_meta_tensor_no_storage", "_rebuild_wrapper_subclass"])
def test_what_is_not_here_is_named(name: str) -> None:
    with pytest.raises(NotImplementedError, match=name):
        minigrad.load(archive_of(b"\x80\2" + named("torch._utils", name) + b")R."))
    with pytest.raises(NotImplementedError, match="unknown"):
        layout = named("torch.serialization", "_get_layout") + words("torch.unknown")
        minigrad.load(archive_of(b"\x80\2" + layout + b"\x85R."))


def test_unknown_names_of_pytorch() -> None:
    missing = archive_of(b"\x80\2" + named("torch.somewhere", "Thing") + b".")
    with pytest.raises(AttributeError, match="the checkpoint needs torch.somewhere.Thing, which minigrad has not"):
        minigrad.load(missing, weights_only=False)

