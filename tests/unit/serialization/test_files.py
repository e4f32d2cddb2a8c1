"""Stage: tests. In: objects with tensors, and a file that PyTorch 2.13 made. Out: what save and load make of them.
Next: ``test_malicious.py``."""

from __future__ import annotations

import base64
import copy
import io
import pickle
import warnings
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad import nn, serialization
from minigrad.dtype import ALL

# A file of 2,841 bytes, compressed: {"whole", "view", "bias", "half", "count", "step", "epoch", "names"}.
PYTORCH = (
    'c-o~_&2QsG6rVV05?n~zU7+0p<$Fn?oBAVP-FBPG0&_5e*03n5gd*3Otu5R*&zZC=5>h49LJ<e}2M|Xt9MK+k{{{Ad_OLe&EaJck'
    'iQ6(`r>^Z)8nzu}oH&`^$D4WYIqO<FgHS$?9vPG90x~?)vUl-'
    'f+aN}%`>CTU1+*C(``j0Rip?<!*t1**L&_vBMU`58Vmm#)<>9Tq?X+72cY3bZ+Ld_Vip6G*0(x|%v5g@eKzP-'
    '04f0{|B@dZqimnl0teK|oX15PnElVJ`p&^aa(ua`O(pu^eo;Wg1*Kx2(Y`4?nKk(Yv!|k_ilkmXL>o88>NgbYQ(lF7kjrX8nQ3F='
    'm%2;ETPdTxnWweyW9l~TlIdx<)<OKp3b$HrGZrMf;o*5Eb*YJ!TOt8npv&ZDVdl9Co1V>=TcYOetwA2C22K3JncwUDWzV>hCzJeE'
    'Zc*)nY4Ce;C91sn*M)CJXtcJVuiq9{>tCT-'
    'Q;5Eiisb6Q8%K`rz1d2M$`)6ai{SJXQN1Tn!!&@h!rNQ~|*E{597q>(01z%f+D^xo}pfreWk!cHowm9(Jw>#7|4-'
    'x@chq51DkKis;V&T2#cD6(Ms!v~rS`b>D($CKav`Yl8>agsGguAY3!HSmg?>h7VdT{L%SS|YS&!F-'
    'CyK9*sm2tncuI2JNzMT4rLx|1wp?N=zE{1tuy5V{|25IeLuSc^>RVEVYzbP`}TYumGl8Lf8oOl-'
    '1PKXD4+cF$`yR(BkL{;P@_x~ByGBeQFgFk6dh&$E56l#P9wr&#avQkl%<+JD>5633N!OX+KwcjsgsY>=#4+XRu>ne+as$4yXfq-'
    '?tK`(3cMdv=9Kdv!H)8GB^{S5tKW`v`KxFb<jis&))srH@QOmF9C?>8opAECDr*OOGGe&!vx(_qTqK6qzk^!XQ%5?7X0W%WFVPe%'
    '?te8?PZ{__jRsx33Z!CKrwSyfif<sdy^W*)w|_w!$)_kRK{haSSZuAS9{%roU*f7rf0djIE;bkYF)@O#*^X$Sb+V9&0W-By*-'
    'V;T{JN<~}}#Ck=R1i7*#)ao@sE|<%7NvhN(p<1n0BvD#oF7GdbSfoCRzRMId8~Tj)#>q#VC;tZ|(a{Dt9Yg-hp<&%LNfK>hvoVs5'
    'G&-eoCV8TbXe!2YH^LJ(z$84{H3~8K#~GC9T}f=T1H`cpl2|c`jn;4+%N}s?j*-'
    'Mht1phdo5adVY_w|P*pIRaY&nUI=KVwrdoO|=a^BH&oQr|=92!w5>smIua9mdDD<N_`@qU{dq+#y3O=SH~xA@>bcw&!b1I)O;K3M'
    'x7ktKto')


def from_pytorch() -> io.BytesIO:
    return io.BytesIO(zlib.decompress(base64.b85decode(PYTORCH)))


def saved(obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    minigrad.save(obj, file, **options)
    file.seek(0)
    return file


def check(loaded: Any) -> None:
    assert loaded["whole"].tolist() == [[0, 1, 2], [3, 4, 5]] and loaded["view"].tolist() == [[4, 5]]
    assert type(loaded["bias"]) is nn.Parameter and loaded["bias"].tolist() == [0.5, -1.5]
    assert loaded["bias"].requires_grad and loaded["bias"].is_leaf
    assert loaded["half"].dtype is minigrad.bfloat16 and loaded["half"].tolist() == [1.5]
    assert loaded["count"].dtype is minigrad.uint16 and loaded["count"].tolist() == [7, 65535]
    assert loaded["step"].item() == 3 and loaded["epoch"] == 4 and loaded["names"] == ["x", None, 2.5]
    loaded["view"].add_(10)
    assert loaded["whole"].tolist() == [[0, 1, 2], [3, 14, 15]]


@pytest.mark.parametrize("options", [{}, {"weights_only": False}, {"map_location": "cpu"}], ids=str)
def test_a_file_of_pytorch(options: dict[str, Any], tmp_path: Path) -> None:
    check(minigrad.load(from_pytorch(), **options))
    path = tmp_path / "x.pt"
    path.write_bytes(from_pytorch().getvalue())
    check(minigrad.load(path, **options))
    check(minigrad.load(str(path), mmap=True, **options))


def test_what_is_saved_comes_back_in_the_same_bytes() -> None:
    """All but the identity of the archive: PyTorch's file, loaded and saved, is that file."""
    before = from_pytorch().getvalue()
    after = saved(minigrad.load(from_pytorch())).getvalue()
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 48
    assert zipfile.ZipFile(io.BytesIO(after)).testzip() is None


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_round_trip(old: bool) -> None:
    for dtype in ALL:
        x = minigrad.ones(2, 3, dtype=dtype)
        loaded = minigrad.load(saved(x, _use_new_zipfile_serialization=not old))
        assert loaded.dtype is dtype and loaded.tolist() == x.tolist()
    for x in (minigrad.empty(0), minigrad.zeros(2, 0), minigrad.tensor(2.5), minigrad.arange(6).reshape(2, 3).t(),
              minigrad.ones(1).expand(4), minigrad.arange(10)[3:8:2]):
        loaded = minigrad.load(saved(x, _use_new_zipfile_serialization=not old))
        assert loaded.tolist() == x.tolist() and loaded.stride() == x.stride()


def test_a_parameter_of_all_its_memory_is_no_view() -> None:
    """A training loop replays steps on plain leaves; a view of flat memory would cost it that."""
    layer = nn.Linear(3, 2)
    loaded = minigrad.load(saved([layer.weight.detach()[1:], layer.weight]))
    assert loaded[1]._view is None and loaded[1]._storage.lazy.shape == (2, 3)
    loaded[0].zero_()
    assert loaded[1][1].tolist() == [0, 0, 0]


def test_pending_tensors_are_computed_in_one_run() -> None:
    with minigrad.inspect() as seen:
        saved({"a": minigrad.ones(3) + 1, "b": minigrad.ones(3) * 4})
    assert len(seen.kernels) == 1


def test_history_and_hooks_are_left_out() -> None:
    x = minigrad.ones(2, requires_grad=True)
    x.register_hook(lambda g: g)
    with pytest.warns(UserWarning, match="backward hook .* on tensor will not be serialized"):
        file = saved([x, x * 2])
    leaf, computed = minigrad.load(file)
    assert computed.is_leaf and computed.requires_grad and leaf._hooks is None


class Kept(minigrad.Tensor):
    """A subclass with an attribute."""


def test_subclasses_and_attributes() -> None:
    x = minigrad.ones(2)
    x.__class__, x.note = Kept, "n"
    with serialization.safe_globals([Kept]):
        loaded = minigrad.load(saved(x))
    assert type(loaded) is Kept and loaded.note == "n"
    with pytest.raises(pickle.UnpicklingError, match="Kept was not an allowed global"):
        minigrad.load(saved(x))


def test_text_that_looks_like_a_name() -> None:
    """Names are replaced in the pickle, and only names."""
    obj = {"text": "cminigrad.dtype\nfloat32\n", "dtype": minigrad.float32}
    for protocol in (2, 4):
        loaded = minigrad.load(saved(obj, pickle_protocol=protocol), weights_only=False)
        assert loaded == obj and loaded["dtype"] is minigrad.float32
    assert b"ctorch\nfloat32\n" in saved(obj).getvalue()


def test_functions() -> None:
    file = saved([minigrad.tanh, nn.functional.relu, nn.init.zeros_, len])
    assert b"torch\ntanh" in file.getvalue() and b"torch.nn.functional\nrelu" in file.getvalue()
    assert minigrad.load(file, weights_only=False) == [minigrad.tanh, nn.functional.relu, nn.init.zeros_, len]


def test_whole_modules() -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval()
    file = saved(layers)
    assert b"torch.nn.modules.linear\nLinear" in file.getvalue()
    loaded = minigrad.load(file, weights_only=False)
    x = minigrad.ones(1, 2)
    assert loaded(x).tolist() == layers(x).tolist() and not loaded.training
    file.seek(0)
    assert serialization.get_unsafe_globals_in_checkpoint(file) == [
        "torch.nn.modules.activation.ReLU", "torch.nn.modules.container.Sequential", "torch.nn.modules.linear.Linear"]


def test_a_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    def started() -> Any:
        minigrad.manual_seed(3)
        layer = nn.Linear(4, 2)
        return layer, minigrad.optim.Adam(layer.parameters(), lr=0.05)

    def trained(layer: Any, optimizer: Any, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (layer(minigrad.randn(8, 4)) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    layer, optimizer = started()
    whole = trained(layer, optimizer, 6)
    layer, optimizer = started()
    first = trained(layer, optimizer, 3)
    minigrad.save({"layer": layer.state_dict(), "optimizer": optimizer.state_dict(), "rng": minigrad.get_rng_state()},
                  tmp_path / "run.pt")
    minigrad.manual_seed(99)
    layer = nn.Linear(4, 2)
    optimizer = minigrad.optim.Adam(layer.parameters(), lr=0.9)
    loaded = minigrad.load(tmp_path / "run.pt")
    layer.load_state_dict(loaded["layer"])
    optimizer.load_state_dict(loaded["optimizer"])
    minigrad.set_rng_state(loaded["rng"])
    assert first + trained(layer, optimizer, 3) == whole


def test_mapped_files(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    minigrad.save({"x": minigrad.arange(4.0), "e": minigrad.empty(0)}, path)
    before = path.read_bytes()
    x = minigrad.load(path, mmap=True)["x"]
    x.mul_(2)
    assert (x + 1).tolist() == [1, 3, 5, 7] and path.read_bytes() == before
    with serialization.set_default_mmap_options(serialization.options.MAP_SHARED):
        x = minigrad.load(path, mmap=True)["x"]
        x.mul_(2)
        assert minigrad.load(path)["x"].tolist() == [0, 2, 4, 6]
    assert serialization.get_default_mmap_options() == serialization.options.MAP_PRIVATE
    with pytest.raises(ValueError, match="expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got 77"):
        serialization.set_default_mmap_options(77)
    with pytest.raises(ValueError, match="f must be a file path"):
        minigrad.load(io.BytesIO(before), mmap=True)


def test_options() -> None:
    with serialization.skip_data():
        file = saved(minigrad.ones(3))
        with pytest.raises(RuntimeError, match="Cannot use skip_data=True"):
            saved(1, _use_new_zipfile_serialization=False)
    assert minigrad.load(file).tolist() == [0, 0, 0]
    serialization.set_crc32_options(False)
    try:
        assert minigrad.load(saved(minigrad.ones(3))).tolist() == [1, 1, 1] and not serialization.get_crc32_options()
    finally:
        serialization.set_crc32_options(True)
    assert serialization.get_default_load_endianness() is None
    config = minigrad.utils.serialization.config
    with config.patch({"save.storage_alignment": 4096, "load.mmap": True}):
        file = saved(minigrad.ones(3))
        assert file.getvalue().index(minigrad.ones(3).numpy().tobytes()) % 4096 == 0
        with pytest.raises(ValueError, match="f must be a file path"):
            minigrad.load(file)
    file.seek(0)
    assert minigrad.load(file).tolist() == [1, 1, 1] and config.save.storage_alignment == 64
    with pytest.raises(AttributeError, match="save.nothing does not exist"), config.patch("save.nothing", 1):
        pass
    with config.patch("save.storage_alignment", 0), pytest.raises(ValueError, match="aligned to 1 to 32767 bytes"):
        saved(1)


def test_places() -> None:
    seen = []

    def place(storage: Any, location: str) -> Any:
        seen.append((type(storage).__name__, location, storage.nbytes()))
        return storage

    x = minigrad.load(saved(minigrad.ones(3)), map_location=place)
    assert x.tolist() == [1, 1, 1] and seen == [("UntypedStorage", "cpu", 12)]
    there = minigrad.load(saved(minigrad.ones(3)), map_location="numpy")
    assert there.device.type == "numpy" and there.tolist() == [1, 1, 1]
    back = minigrad.load(saved(there))
    assert back.device.type == "numpy"
    assert minigrad.load(saved(there), map_location={"numpy": "cpu"}).device.type == "cpu"
    with pytest.raises(RuntimeError, match=r"don't know how to restore data location .* \(tagged with moon\)"):
        minigrad.load(saved(x), map_location="moon")
    with pytest.raises(RuntimeError, match="map_location should give a storage or None, got int"):
        minigrad.load(saved(x), map_location=lambda storage, location: 3)


def test_registered_places() -> None:
    from minigrad.serialization import locations

    before = list(locations._registry)
    serialization.register_package(1, lambda s: "here" if s.nbytes() == 20 else None,
                                   lambda s, name: s if name == "here" else None)
    try:
        file = saved(minigrad.ones(5))
        assert b"here" in file.getvalue() and minigrad.load(file).tolist() == [1] * 5
        assert serialization.location_tag(minigrad.ones(1).untyped_storage()) == "cpu"
    finally:
        locations._registry[:] = before


def test_generators() -> None:
    g = minigrad.Generator("cpu").manual_seed(4)
    minigrad.randn(5, generator=g)
    again = [pickle.loads(pickle.dumps(g)), copy.deepcopy(g), minigrad.load(saved(g), weights_only=False)]
    state = minigrad.load(saved(g.get_state()))
    assert state.shape == (5056,) and state.dtype is minigrad.uint8
    numbers = minigrad.rand(3, generator=g).tolist()
    for other in again:
        assert minigrad.rand(3, generator=other).tolist() == numbers
    with pytest.raises(TypeError, match="expected a torch.ByteTensor, but got list"):
        g.set_state([1])


def test_state_dicts_keep_their_metadata() -> None:
    loaded = minigrad.load(saved(nn.Linear(1, 1).state_dict()))
    assert type(loaded) is OrderedDict and loaded._metadata == {"": {"version": 1}}


def test_arguments() -> None:
    for call, kind, words in (
            (lambda: minigrad.save(1, 5), AttributeError, "expected 'f' to be string, path, or a file-like object"),
            (lambda: minigrad.load(5), AttributeError, "You can only torch.load from a file that is seekable"),
            (lambda: minigrad.load("/nowhere/x"), FileNotFoundError, "nowhere"),
            (lambda: minigrad.load(saved(1), pickle_module=pickle, weights_only=True), RuntimeError,
             "Can not safely load weights when explicit pickle_module is specified"),
            (lambda: minigrad.save([(x := minigrad.ones(2)), x.view(minigrad.int32)], io.BytesIO()), RuntimeError,
             "view the same data as different types"),
            (lambda: minigrad.save(lambda: 1, io.BytesIO()), (pickle.PicklingError, AttributeError),
             "Can't (pickle|get) local object|[Cc]an't pickle .*lambda"),
            (lambda: minigrad.load("x.safetensors", map_location={}), RuntimeError, "with dict map_location"),
            (lambda: minigrad.load(saved(1), map_location="meta"), NotImplementedError, "meta")):
        with pytest.raises(kind, match=words):
            call()
    with pytest.warns(UserWarning, match="pickle_load_args only works"):
        minigrad.load(saved(1), encoding="ascii")


def test_storages() -> None:
    x = minigrad.arange(4.0)
    storage = x.untyped_storage()
    assert storage is x[1:].untyped_storage() and storage.nbytes() == 16 and storage.data_ptr() == x.data_ptr()
    storage[3] = 64
    assert x[0].item() == 2 and storage[:4].tolist() == [0, 0, 0, 64]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        typed = x.storage()
    typed[1] = 7
    assert x.tolist() == [2, 7, 2, 3] and isinstance(typed, minigrad.FloatStorage) and typed.size() == 4
    assert not isinstance(typed, minigrad.LongStorage) and minigrad.is_storage(typed) and not minigrad.is_storage(x)
    assert minigrad.empty(0).set_(storage, 1, (2,), (2,)).tolist() == [7, 3]
    both = copy.deepcopy([x, storage])
    both[1].fill_(0)
    assert both[0].tolist() == [0, 0, 0, 0] and x[0].item() == 2
    again = pickle.loads(pickle.dumps([x, storage]))
    again[1].fill_(0)
    assert again[0].tolist() == [0, 0, 0, 0]
    for call, kind, words in (
            (lambda: storage[99], IndexError, "index 99 out of range"),
            (lambda: minigrad.empty(0).set_(storage, 0, (9,), (1,)), RuntimeError, "out of bounds for storage"),
            (lambda: minigrad.empty(0).set_(storage, -1, (1,), (1,)), RuntimeError, "invalid storage offset -1"),
            (lambda: minigrad.empty(0).set_(storage, 0, (2, 2), (1,)), RuntimeError, "unequal size length"),
            (lambda: minigrad.empty(0, dtype=minigrad.int32).set_(x), RuntimeError, "Could not set tensor of type"),
            (lambda: storage[::2], RuntimeError, "only a step of 1 is supported")):
        with pytest.raises(kind, match=words):
            call()
