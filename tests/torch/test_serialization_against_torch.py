"""Stage: tests. In: checkpoints of PyTorch 2.13 and ours. Out: each opens the other's, and the files are the same
bytes. Skipped where torch is not installed. Next: ``tests/unit/serialization/test_files.py``."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import warnings
import zipfile
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import serialization  # noqa: E402

BOTH = (torch, minigrad)
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16",
          "float32", "float64")
Point = namedtuple("Point", "x y")


class Plain:
    """Something that only an unrestricted load makes."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.value == other.value


def values(of: Any, seed: int = 0) -> Any:
    """A nest of everything, made with one of the two packages."""
    a = of.arange(12.0).reshape(3, 4)
    return {
        "whole": a, "view": a[1:, 2:], "transposed": a.t(), "row": a[1], "expanded": of.ones(1, 3).expand(4, 3),
        "parameter": of.nn.Parameter(of.ones(2, 2)), "frozen": of.nn.Parameter(of.ones(2), requires_grad=False),
        "leaf": of.ones(3, requires_grad=True), "computed": of.ones(2, requires_grad=True) * 2,
        "empty": of.empty(0), "empty2": of.empty(2, 0, 3), "scalar": of.tensor(3.5), "size": of.Size([2, 3]),
        "dtype": of.float32, "device": of.device("cpu"), "device0": of.device("cpu", 0),
        "numbers": [1, -1, 255, 65536, 2**31, 2**70, -(2**40), 2.5, float("inf"), True, False, None, 1j],
        "text": ["x", "", "ü€😀", b"bytes", bytearray(b"array")], "set": {1, 2}, "tuple": (1, (2, (3,)), ()),
        "ordered": OrderedDict([("b", 1), ("a", of.zeros(1))]), "counter": Counter("aab"),
        "nested": [[{"deep": (of.ones(2, dtype=of.int64), [of.zeros(1)])}]],
        **{name: of.ones(2, dtype=getattr(of, name)) for name in DTYPES},
    }


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """Whether both are the same, one made of each package's tensors."""
    if isinstance(ours, minigrad.Tensor):
        assert isinstance(theirs, torch.Tensor), where
        assert type(ours).__name__ == type(theirs).__name__, where
        assert ours.dtype.name == str(theirs.dtype).removeprefix("torch."), where
        assert tuple(ours.shape) == tuple(theirs.shape) and ours.stride() == theirs.stride(), where
        assert ours.storage_offset() == theirs.storage_offset(), where
        assert ours.requires_grad == theirs.requires_grad, where
        assert ours.detach().tolist() == theirs.detach().tolist(), where
        return
    if isinstance(ours, dict):
        assert type(ours) is type(theirs) and list(ours) == list(theirs), where
        for key in ours:
            same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs) and type(ours).__name__ == type(theirs).__name__, where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif isinstance(ours, minigrad.dtype | minigrad.device):
        assert str(ours).replace("minigrad", "torch") == str(theirs), where
    else:
        assert type(ours) is type(theirs) and ours == theirs, (where, ours, theirs)


def saved(of: Any, obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    of.save(obj, file, **options)
    file.seek(0)
    return file


# --- what both write and read


@pytest.mark.parametrize("options", [{}, {"weights_only": False}], ids=["weights_only", "unrestricted"])
def test_each_opens_the_others(options: dict[str, Any]) -> None:
    theirs = saved(torch, values(torch))
    same(minigrad.load(theirs, **options), values(torch))
    ours = saved(minigrad, values(minigrad))
    same(values(minigrad), torch.load(ours, **options))
    same(minigrad.load(saved(minigrad, values(minigrad)), **options), values(torch))


def test_the_files_are_the_same_bytes(tmp_path: Path) -> None:
    """All but the 40 digits of an identity, and its checksum, which go by a hash of the C++ library."""
    files = []
    for of in BOTH:
        (tmp_path / of.__name__).mkdir()
        path = tmp_path / of.__name__ / "model.pt"
        of.save(values(of), path)
        files.append(path.read_bytes())
    theirs, ours = files
    assert len(theirs) == len(ours)
    different = [i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b]
    identity = ours.index(b"model/.data/serialization_id")
    digits = range(identity, identity + 200)
    assert all(i in digits or i > len(ours) - 300 for i in different) and len(different) <= 48, different
    archive = zipfile.ZipFile(io.BytesIO(ours))
    assert archive.testzip() is None
    assert len(archive.read("model/.data/serialization_id")) == 40


def test_other_alignments() -> None:
    from torch.utils.serialization import config

    with config.patch("save.storage_alignment", 4096):
        theirs = saved(torch, torch.ones(3))
    with minigrad.utils.serialization.config.patch("save.storage_alignment", 4096):
        ours = saved(minigrad, minigrad.ones(3))
    assert len(theirs.getvalue()) == len(ours.getvalue())
    assert torch.load(ours).tolist() == minigrad.load(theirs).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["a.pt", "a.tar.gz", "noending", "with space.bin", "ümlaut.pt", ".hidden", "a."])
def test_the_archives_folder(name: str, tmp_path: Path) -> None:
    names = []
    for of in BOTH:
        try:
            of.save(1, tmp_path / name)
        except RuntimeError:
            continue
        names.append(zipfile.ZipFile(tmp_path / name).namelist()[0])
    assert len(set(names)) == 1, names


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol: int) -> None:
    for writer, reader in ((torch, minigrad), (minigrad, torch)):
        file = saved(writer, {"x": writer.arange(3.0), "d": writer.float16}, pickle_protocol=protocol)
        loaded = reader.load(file, weights_only=False)
        assert loaded["x"].tolist() == [0, 1, 2] and loaded["d"] is reader.float16


def test_shared_memory_stays_shared() -> None:
    for writer, reader in ((torch, minigrad), (minigrad, torch), (minigrad, minigrad)):
        loaded = reader.load(saved(writer, values(writer)))
        loaded["view"].fill_(-1)
        assert loaded["whole"][1:, 2:].tolist() == [[-1, -1], [-1, -1]]
        assert loaded["transposed"].t().tolist() == loaded["whole"].tolist()
        assert loaded["row"].tolist() == loaded["whole"][1].tolist()
    tied = minigrad.nn.Linear(2, 2)
    loaded = torch.load(saved(minigrad, [tied.weight, tied.weight, tied.weight.detach()]))
    assert loaded[0] is loaded[1] and loaded[0].data_ptr() == loaded[2].data_ptr()


def test_a_view_saves_all_of_its_memory() -> None:
    sizes = [len(saved(of, of.zeros(10000)[:2]).getvalue()) for of in BOTH]
    assert sizes[0] == sizes[1] > 40000


def test_legacy_format() -> None:
    def fitting(of: Any) -> Any:  # of dtypes without a storage class PyTorch can't read its own files
        return {k: v for k, v in values(of).items() if not k.startswith(("uint16", "uint32", "uint64"))}

    for options in ({}, {"weights_only": False}):
        theirs = saved(torch, fitting(torch), _use_new_zipfile_serialization=False)
        same(minigrad.load(theirs, **options), fitting(torch))
        ours = saved(minigrad, fitting(minigrad), _use_new_zipfile_serialization=False)
        same(fitting(minigrad), torch.load(ours, **options))


def test_legacy_views_and_files(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save(values(torch), path, _use_new_zipfile_serialization=False)
    same(minigrad.load(path), values(torch))
    loaded = minigrad.load(path)
    loaded["view"].zero_()
    assert loaded["whole"][1, 2].item() == 0


def old_tar(path: Path) -> None:
    """The format of the first PyTorch, written by hand."""
    import struct

    storages, tensors, objects = io.BytesIO(), io.BytesIO(), io.BytesIO()
    data = np.arange(6, dtype=np.float32)
    pickle.dump(1, storages, 2)

    class Named(pickle._Pickler):  # type: ignore[name-defined]
        def persistent_id(self, obj: Any) -> Any:
            return obj.value if isinstance(obj, Plain) else None

        def save_global(self, obj: Any, name: Any = None) -> None:
            self.write(pickle.GLOBAL + b"torch\nFloatStorage\n")

    Named(storages, 2).dump((1, "cpu", Plain))
    storages.write(struct.pack("<q", 6) + data.tobytes())
    pickle.dump([(2, 1, 2, 4)], storages, 2)
    pickle.dump(2, tensors, 2)
    for key, storage, shape, strides, offset in ((10, 1, (2, 3), (3, 1), 0), (11, 1, (2,), (2,), 1)):
        Named(tensors, 2).dump((key, storage, Plain))
        n = len(shape)
        tensors.write(struct.pack(f"<ii{2 * n + 1}q", n, 0, *shape, *strides, offset))
    Named(objects, 2).dump({"a": Plain(10), "b": Plain(11)})
    with tarfile.open(path, "w:") as tar:
        for name, part in (("storages", storages), ("tensors", tensors), ("pickle", objects)):
            info = tarfile.TarInfo(name)
            info.size = part.tell()
            part.seek(0)
            tar.addfile(info, part)


def test_tar(tmp_path: Path) -> None:
    path = tmp_path / "first.pt"
    old_tar(path)
    theirs, ours = (of.load(path, weights_only=False) for of in BOTH)
    same(ours, theirs)
    ours["a"][0, 1] = 9
    assert ours["b"].tolist() == [9, 3]
    messages = set()
    for of in BOTH:
        with pytest.raises(RuntimeError) as caught:
            of.load(path)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_big_endian_and_no_byte_order() -> None:
    x = {"x": torch.arange(4.0), "i": torch.arange(3, dtype=torch.int16), "b": torch.tensor([True])}
    archive = zipfile.ZipFile(saved(torch, x))
    for order in (b"big", None):
        changed = io.BytesIO()
        with zipfile.ZipFile(changed, "w") as out:
            for name in archive.namelist():
                if not name.endswith("byteorder"):
                    out.writestr(name, archive.read(name))
                elif order:
                    out.writestr(name, order)
        loaded = []
        for of in BOTH:
            changed.seek(0)
            loaded.append({k: v.numpy().tobytes() for k, v in of.load(changed).items()})
        assert loaded[0] == loaded[1]
        if order is None:
            theirs = _with_endianness(torch, torch.serialization, changed)
            assert theirs == _with_endianness(minigrad, serialization, changed) != loaded[0]


def _with_endianness(of: Any, module: Any, file: io.BytesIO) -> Any:
    before = module.get_default_load_endianness()
    module.set_default_load_endianness(module.LoadEndianness.BIG)
    try:
        file.seek(0)
        return {k: v.numpy().tobytes() for k, v in of.load(file).items()}
    finally:
        module.set_default_load_endianness(before)


def test_compressed_archives() -> None:
    source = zipfile.ZipFile(saved(torch, {"x": torch.arange(4.0)}))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            out.writestr(name, source.read(name))
    for of in BOTH:
        packed.seek(0)
        assert of.load(packed)["x"].tolist() == [0, 1, 2, 3]


def test_an_archive_in_the_middle_of_a_file() -> None:
    first, second = saved(torch, {"a": torch.ones(2)}).getvalue(), saved(torch, {"b": torch.ones(3)}).getvalue()
    file = io.BytesIO(first + second)
    file.seek(len(first))
    same(minigrad.load(file), {"b": torch.ones(3)})


def test_mmap(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(values(torch), path)
    before = path.read_bytes()
    loaded = minigrad.load(path, mmap=True)
    same(loaded, torch.load(path, mmap=True))
    loaded["view"].fill_(-1)
    assert loaded["whole"][1, 2].item() == -1 and path.read_bytes() == before
    minigrad.save(values(minigrad), path)
    with serialization.set_default_mmap_options(serialization.options.MAP_SHARED):
        loaded = minigrad.load(path, mmap=True)
        loaded["whole"].add_(1)
        assert loaded["row"].tolist() == [5, 6, 7, 8]
    assert torch.load(path)["whole"].tolist() == (torch.arange(12.0).reshape(3, 4) + 1).tolist()


def test_skip_data(tmp_path: Path) -> None:
    for of, module in ((torch, torch.serialization), (minigrad, serialization)):
        with module.skip_data():
            of.save({"x": of.ones(3)}, tmp_path / f"{of.__name__}.pt")
    theirs, ours = (zipfile.ZipFile(tmp_path / f"{of.__name__}.pt") for of in BOTH)
    assert [n.partition("/")[2] for n in theirs.namelist()] == [n.partition("/")[2] for n in ours.namelist()]
    assert torch.load(tmp_path / "minigrad.pt")["x"].shape == (3,)
    torch.save({"x": torch.ones(3)}, tmp_path / "full.pt")
    with serialization.skip_data():
        assert minigrad.load(tmp_path / "full.pt")["x"].tolist() == [0, 0, 0]


# --- attributes, subclasses, whole modules


def test_attributes_of_tensors() -> None:
    for writer, reader in ((torch, minigrad), (minigrad, torch)):
        t, p = writer.ones(2), writer.nn.Parameter(writer.ones(1))
        t.note, p.note = "a", 3
        loaded = reader.load(saved(writer, [t, p, t]))
        assert loaded[0].note == "a" and loaded[1].note == 3 and loaded[0] is loaded[2]
        assert isinstance(loaded[1], reader.nn.Parameter)


def test_named_results() -> None:
    for writer, reader in ((torch, minigrad), (minigrad, torch)):
        loaded = reader.load(saved(writer, writer.tensor([[1.0, 3.0, 2.0]]).max(1)), weights_only=False)
        assert type(loaded).__name__ == "max" and loaded.values.item() == 3 and loaded.indices.item() == 1


def model(of: Any) -> Any:
    return of.nn.Sequential(of.nn.Linear(3, 4), of.nn.ReLU(), of.nn.LayerNorm(4), of.nn.Flatten(), of.nn.Linear(4, 2))


def test_whole_modules() -> None:
    x = [[1.0, -2.0, 0.5]]
    for writer, reader in ((torch, minigrad), (minigrad, torch), (minigrad, minigrad)):
        made = model(writer)
        made[0].weight.requires_grad_(False)
        made.eval()
        made.register_buffer("extra", writer.ones(1), persistent=False)
        loaded = reader.load(saved(writer, made), weights_only=False)
        assert repr(loaded) == repr(made) and not loaded.training and not loaded[0].weight.requires_grad
        assert list(loaded.state_dict()) == list(made.state_dict()) and loaded.extra.item() == 1
        assert np.allclose(loaded(reader.tensor(x)).tolist(), made(writer.tensor(x)).tolist(), atol=1e-6)
        loaded.train()
        loaded[0].register_forward_hook(lambda module, args, output: output * 0)
        loaded(reader.tensor(x)).sum().backward()
        assert loaded[4].bias.grad.tolist() == [1, 1]


@pytest.mark.parametrize(("name", "arguments", "shape"), [
    ("Conv2d", (2, 3, 3), (1, 2, 5, 5)), ("ConvTranspose1d", (2, 3, 3), (1, 2, 5)), ("BatchNorm2d", (2,), (2, 2, 3, 3)),
    ("GroupNorm", (2, 4), (2, 4, 3)), ("InstanceNorm2d", (2,), (2, 2, 3, 3)), ("RMSNorm", (4,), (2, 4)),
    ("Dropout", (0.5,), (2, 4)), ("LSTM", (3, 4, 2), (5, 2, 3)), ("GRU", (3, 4), (5, 2, 3)),
    ("LSTMCell", (3, 4), (2, 3)),
    ("Softmax", (1,), (2, 3)), ("ZeroPad2d", (1,), (1, 1, 2, 2)), ("Unfold", (2,), (1, 2, 4, 4)),
    ("MaxPool2d", (2,), (1, 1, 4, 4)), ("AdaptiveAvgPool2d", (1,), (1, 1, 4, 4)), ("PReLU", (), (3,)),
    ("GELU", (), (3,)),
    ("TransformerEncoderLayer", (4, 2, 8), (3, 1, 4)),
])
def test_whole_layers(name: str, arguments: Any, shape: Any) -> None:
    if not hasattr(minigrad.nn, name):
        pytest.skip(f"there is no nn.{name} yet")
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    for writer, reader in ((torch, minigrad), (minigrad, torch)):
        made = getattr(writer.nn, name)(*arguments).eval()
        loaded = reader.load(saved(writer, made), weights_only=False)
        assert repr(loaded) == repr(made) and list(loaded.state_dict()) == list(made.state_dict())
        results = [layer(of.from_numpy(x)) for layer, of in ((made, writer), (loaded, reader))]
        results = [r[0] if isinstance(r, tuple) else r for r in results]
        assert np.allclose(*[r.detach().tolist() for r in results], atol=1e-5)


def test_safe_globals_name_modules() -> None:
    classes = [minigrad.nn.Sequential, minigrad.nn.Linear, minigrad.nn.ReLU, minigrad.nn.LayerNorm, minigrad.nn.Flatten]
    file = saved(torch, model(torch))
    unsafe = serialization.get_unsafe_globals_in_checkpoint(file)
    file.seek(0)
    assert set(unsafe) == set(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    file.seek(0)
    with serialization.safe_globals(classes):
        loaded = minigrad.load(file)
    assert repr(loaded) == repr(model(torch))
    assert serialization.get_safe_globals() == []


def test_state_dicts_and_optimizers() -> None:
    def trained(of: Any, layer: Any, kind: str, steps: int, **options: Any) -> Any:
        optimizer = getattr(of.optim, kind)(layer.parameters(), lr=0.1, **options)
        return optimizer, [step(of, layer, optimizer) for _ in range(steps)]

    def step(of: Any, layer: Any, optimizer: Any) -> float:
        optimizer.zero_grad()
        loss = (layer(of.tensor([[1.0, 2.0, 3.0]])) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    for kind, options in (("SGD", {"momentum": 0.9}), ("Adam", {}), ("AdamW", {"weight_decay": 0.1})):
        for writer, reader in ((torch, minigrad), (minigrad, torch)):
            first = writer.nn.Linear(3, 2)
            optimizer, _ = trained(writer, first, kind, 3, **options)
            file = saved(writer, {"model": first.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})
            loaded = reader.load(file)
            second = reader.nn.Linear(3, 2)
            second.load_state_dict(loaded["model"])
            other = getattr(reader.optim, kind)(second.parameters(), lr=0.5, **options)
            other.load_state_dict(loaded["optimizer"])
            a = [step(writer, first, optimizer) for _ in range(3)]
            b = [step(reader, second, other) for _ in range(3)]
            assert np.allclose(a, b, rtol=1e-4), (kind, a, b)


# --- random state


def test_generator_states() -> None:
    for writer, reader in ((torch, minigrad), (minigrad, torch)):
        g = writer.Generator().manual_seed(5)
        writer.randn(7, generator=g)
        writer.rand(700, generator=g)
        file = saved(writer, {"state": g.get_state(), "generator": g})
        loaded = reader.load(file, weights_only=False)
        assert loaded["state"].shape == (5056,) and loaded["state"].tolist() == g.get_state().tolist()
        other = reader.Generator()
        other.set_state(loaded["state"])
        numbers = writer.rand(3, generator=g).tolist()
        assert reader.rand(3, generator=other).tolist() == numbers
        assert reader.rand(3, generator=loaded["generator"]).tolist() == numbers
    assert minigrad.load(saved(torch, torch.get_rng_state())).tolist() == torch.get_rng_state().tolist()


# --- places


def test_map_location() -> None:
    seen: list[Any] = []

    def of_both(of: Any) -> Any:
        def place(storage: Any, location: str) -> Any:
            seen.append((location, type(storage).__name__, storage.nbytes()))
            return storage

        return place

    for of in BOTH:
        for where in ("cpu", of.device("cpu"), {"cpu": "cpu"}, {"cuda:0": "cpu"}, of_both(of), lambda s, loc: None):
            assert of.load(saved(torch, {"x": torch.ones(2)}), map_location=where)["x"].tolist() == [1, 1]
    assert seen[0] == seen[1]


def relocated(file: io.BytesIO, place: str) -> io.BytesIO:
    archive, out = zipfile.ZipFile(file), io.BytesIO()
    with zipfile.ZipFile(out, "w") as changed:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith("data.pkl"):
                data = data.replace(b"X\3\0\0\0cpu", b"X" + len(place).to_bytes(4, "little") + place.encode())
            changed.writestr(name, data)
    out.seek(0)
    return out


@pytest.mark.parametrize("place", ["cuda:0", "cuda", "somewhere", "mps"])
def test_a_place_that_is_not_here(place: str) -> None:
    if torch.cuda.is_available() or minigrad.cuda.is_available():
        pytest.skip("it is here")
    file = relocated(saved(torch, {"x": torch.ones(2)}), place)
    said = []
    for of in BOTH:
        file.seek(0)
        with pytest.raises((RuntimeError, AttributeError)) as caught:
            of.load(file)
        said.append(str(caught.value))
        for where in ("cpu", {place: "cpu"}):
            file.seek(0)
            assert of.load(file, map_location=where)["x"].tolist() == [1, 1]
    if place.startswith("cuda") or place == "somewhere":
        assert said[0] == said[1]


# --- errors: type and words


def load_error(of: Any, data: Any, **options: Any) -> tuple[str, str]:
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:
            of.load(file, **options)
    return type(caught.value).__name__, str(caught.value)


def rezipped(edit: Any) -> bytes:
    archive, out = zipfile.ZipFile(saved(torch, {"x": torch.arange(6.0)})), io.BytesIO()
    with zipfile.ZipFile(out, "w") as changed:
        for name in archive.namelist():
            data = edit(name.partition("/")[2], archive.read(name))
            if data is not None:
                changed.writestr(name, data)
    return out.getvalue()


def only(which: str, change: Any) -> bytes:
    return rezipped(lambda name, data: change(data) if name == which else data)


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


GOOD = saved(torch, {"x": torch.arange(6.0)}).getvalue()
OLD = saved(torch, {"x": torch.arange(6.0)}, _use_new_zipfile_serialization=False).getvalue()
BAD = {
    "nothing": b"", "four bytes": b"PK\3\4", "half": GOOD[:300], "no end": GOOD[:-10], "foreign": b'{"a": 1}',
    "a proto": b"\x80\2}", "no data": only("data/0", lambda d: None), "short data": only("data/0", lambda d: d[:8]),
    "long data": only("data/0", lambda d: d + b"1234"), "no pickle": only("data.pkl", lambda d: None),
    "order": only("byteorder", lambda d: b"middle"), "cut pickle": only("data.pkl", lambda d: d[:2]),
    "unended pickle": only("data.pkl", lambda d: d[:-1]), "empty pickle": only("data.pkl", lambda d: b""),
    "no version": only("version", lambda d: None), "old, cut data": OLD[:-8], "old, cut pickle": OLD[:60],
    "system": saved(torch, Call(os.system, "true")).getvalue(), "eval": saved(torch, Call(eval, "1")).getvalue(),
    "exec": saved(torch, [Call(exec, "1")]).getvalue(), "class": saved(torch, Plain(1)).getvalue(),
    "nested": saved(torch, {"a": [torch.ones(1), Call(map, Call(eval, "1"), [1])]}).getvalue(),
    "array": saved(torch, np.ones(2)).getvalue(), "getattr": saved(torch, Call(getattr, 1, "real")).getvalue(),
    "old system": saved(torch, Call(os.system, "true"), _use_new_zipfile_serialization=False).getvalue(),
    "protocol 4": saved(torch, {"x": 1}, pickle_protocol=4).getvalue(),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, tmp_path: Path) -> None:
    theirs, ours = (load_error(of, BAD[name]) for of in BOTH)
    assert ours == theirs
    path = tmp_path / "bad.pt"
    path.write_bytes(BAD[name])
    if name != "a proto":
        assert load_error(minigrad, path)[0] == load_error(torch, path)[0]


@pytest.mark.parametrize("name", ["half", "no data", "short data", "cut pickle", "old, cut data", "foreign"])
def test_bad_files_unrestricted(name: str) -> None:
    theirs, ours = (load_error(of, BAD[name], weights_only=False) for of in BOTH)
    assert ours == theirs


def test_torchscript_is_refused() -> None:
    archive, out = zipfile.ZipFile(io.BytesIO(GOOD)), io.BytesIO()
    with zipfile.ZipFile(out, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, archive.read(name))
        changed.writestr("archive/constants.pkl", b"x")
    assert load_error(minigrad, out.getvalue()) == load_error(torch, out.getvalue())
    with pytest.raises(NotImplementedError, match="TorchScript"):
        minigrad.load(io.BytesIO(out.getvalue()), weights_only=False)


@pytest.mark.parametrize(("f", "options"), [
    (5, {}), (GOOD, {"mmap": True}), (OLD, {"mmap": True}), (GOOD, {"pickle_module": pickle, "weights_only": True}),
    (GOOD, {"map_location": "nowhere"}), ("/nowhere/x.pt", {}), ("/tmp", {}),
], ids=["number", "mmap of bytes", "mmap of an old file", "pickle_module", "map_location", "no file", "a folder"])
def test_wrong_arguments_of_load(f: Any, options: Any) -> None:
    said = []
    for of in BOTH:
        with pytest.raises(Exception) as caught:
            of.load(io.BytesIO(f) if isinstance(f, bytes) else f, **options)
        said.append((type(caught.value).__name__, str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize("arguments", [
    (1, 5), (1, "/nowhere/x.pt"), (lambda: 1, io.BytesIO()),
    ([1], Plain(1)),
])
def test_wrong_arguments_of_save(arguments: Any) -> None:
    said = []
    for of in BOTH:
        with pytest.raises(Exception) as caught:
            of.save(*arguments)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


def test_one_memory_as_two_dtypes() -> None:
    said = []
    for of in BOTH:
        x = of.arange(4.0)
        with pytest.raises(RuntimeError) as caught:
            of.save([x, x.view(of.int32)], io.BytesIO())
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("variable", ["TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"])
def test_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(torch, Plain(3))
    monkeypatch.setenv(variable, "1")
    for of in BOTH:
        file.seek(0)
        if "NO" in variable:
            with pytest.warns(UserWarning, match="forcing weights_only=False"):
                assert of.load(file) == Plain(3)
        else:
            with pytest.raises(pickle.UnpicklingError):
                of.load(file, weights_only=False)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    assert load_error(minigrad, GOOD) == load_error(torch, GOOD)


# --- storages


def test_storages() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for theirs, ours in zip(_facts(torch), _facts(minigrad), strict=True):
            assert ours == theirs


def _facts(of: Any) -> Any:
    x = of.arange(4.0)
    bytes_, typed = x.untyped_storage(), x.storage()
    yield bytes_.nbytes(), bytes_.size(), len(bytes_), bytes_.tolist(), str(bytes_.device), bytes_.element_size()
    yield typed.size(), typed.nbytes(), typed.tolist(), str(typed.dtype).rpartition(".")[2], typed.element_size()
    yield x[1:].untyped_storage() is bytes_, x[1:].untyped_storage().data_ptr() == x.data_ptr(), repr(bytes_)
    yield repr(typed), typed[1], bytes_[6], bytes_[4:8].tolist(), typed.type(), typed.pickle_storage_type()
    bytes_[3] = 64
    yield x.tolist(), of.empty(0).untyped_storage().data_ptr(), of.is_storage(bytes_), of.is_storage(x)
    yield of.empty(0).set_(bytes_, 1, (2,), (2,)).tolist(), of.empty(0).set_(typed).tolist()
    yield of.UntypedStorage([1, 2]).tolist(), of.FloatStorage([1, 2]).tolist(), of.UntypedStorage(3).nbytes()
    yield isinstance(typed, of.FloatStorage), isinstance(typed, of.LongStorage), bytes_.is_cuda
    clone = bytes_.clone()
    clone.fill_(0)
    yield clone.tolist(), x.tolist(), of.UntypedStorage.from_buffer(b"ab", dtype=of.uint8).tolist()
    for wrong in (lambda: bytes_[99],
                  lambda: of.empty(0).set_(bytes_, 0, (2, 2), (1,)),
                  lambda: of.empty(0).set_(bytes_, -1, (2,), (1,)),
                  lambda: of.empty(0, dtype=of.int32).set_(x)):
        try:
            wrong()
        except Exception as error:
            yield type(error).__name__, str(error).partition("(")[0]
        else:
            yield "no error"


def test_tensors_saved_as_storages() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for writer, reader in ((torch, minigrad), (minigrad, torch)):
            x = writer.arange(3.0)
            loaded = reader.load(saved(writer, [x, x.storage()]))
            loaded[0][0] = 5
            assert loaded[1].tolist() == [5, 1, 2]


# --- safetensors


def test_safetensors(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.torch")
    from minigrad.serialization import safe

    def tensors(of: Any) -> Any:
        return {**{name: of.ones(2, 3, dtype=getattr(of, name)) for name in DTYPES}, "scalar": of.tensor(2.0),
                "empty": of.empty(0, 2), "odd": of.ones(3, dtype=of.uint8)}

    theirs.save_file(tensors(torch), tmp_path / "t.safetensors", {"a": "b"})
    safe.save_file(tensors(minigrad), tmp_path / "m.safetensors", {"a": "b"})
    assert (tmp_path / "t.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    same(safe.load_file(tmp_path / "t.safetensors"), theirs.load_file(tmp_path / "m.safetensors"))
    same(minigrad.load(tmp_path / "t.safetensors"), torch.load(tmp_path / "t.safetensors"))
    loaded = safe.load((tmp_path / "t.safetensors").read_bytes())
    same({name: loaded[name] for name in sorted(loaded)}, dict(sorted(tensors(torch).items())))
    with safe.safe_open(tmp_path / "t.safetensors", framework="pt") as f:
        assert f.metadata() == {"a": "b"} and f.get_slice("float16")[:, 1:].tolist() == [[1, 1], [1, 1]]
        assert f.get_slice("bfloat16").get_shape() == [2, 3] and f.get_tensor("bfloat16").dtype is minigrad.bfloat16


def test_safetensors_errors(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.torch")
    from minigrad.serialization import safe

    path = tmp_path / "x.safetensors"
    wrong = (lambda of: {"a": of.ones(2, 3).t()}, lambda of: {"a": 3}, lambda of: [of.ones(1)],
             lambda of: (lambda x: {"a": x, "b": x})(of.ones(2)), lambda of: (lambda x: {"a": x[:2], "b": x[1:]})(
                 of.ones(3)))
    for make in wrong:
        said = []
        for module, of in ((theirs, torch), (safe, minigrad)):
            with pytest.raises(Exception) as caught:
                module.save_file(make(of), path)
            text = str(caught.value).replace("{'b', 'a'}", "{'a', 'b'}").replace("minigrad.tensor", "torch")
            said.append((type(caught.value).__name__, text))
        assert said[0] == said[1]
    assert not path.exists()
    for module, of in ((theirs, torch), (safe, minigrad)):
        x = of.ones(4)
        module.save_file({"a": x[:2], "b": x[2:]}, path)
        assert module.load_file(path)["b"].tolist() == [1, 1]
    for data in (b"", b"abc", b"\xff" * 20):
        path.write_bytes(data)
        kinds = set()
        for module in (theirs, safe):
            with pytest.raises(Exception) as caught:
                module.load_file(path)
            kinds.add((type(caught.value).__name__, str(caught.value)))
        assert len(kinds) == 1


def test_safetensors_models(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.torch")
    from minigrad.serialization import safe

    def tied(of: Any) -> Any:
        layers = of.nn.Sequential(of.nn.Linear(2, 2), of.nn.Linear(2, 2))
        layers[1].weight = layers[0].weight
        return layers

    for (writer, w), (reader, r) in (((theirs, torch), (safe, minigrad)), ((safe, minigrad), (theirs, torch))):
        first, second = tied(w), tied(r)
        writer.save_model(first, tmp_path / "model.safetensors")
        missing, unexpected = reader.load_model(second, str(tmp_path / "model.safetensors"))
        assert not missing and not unexpected
        assert second[1].weight.tolist() == first[0].weight.tolist()
        assert second[1].bias.tolist() == first[1].bias.tolist()
