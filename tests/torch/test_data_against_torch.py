"""utils.data and multiprocessing beside PyTorch's own: the same program runs with both libraries, and what it gives (or
raises, or warns of) has to be the same."""

import collections
import multiprocessing
import random
import re
import warnings
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
import minigrad.utils.data  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def forked():
    """Workers are forked on every Python: the data sets of these tests can't be pickled."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("fork", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


Point = collections.namedtuple("Point", ["x", "y"])


def plain(thing):
    """Tensors as dtype, shape and elements, so that those of both libraries compare."""
    if isinstance(thing, minigrad.Tensor | torch.Tensor):
        return "tensor", str(thing.dtype).rpartition(".")[2], tuple(thing.shape), thing.tolist()
    if isinstance(thing, dict | MappingProxyType):
        return {key: plain(value) for key, value in thing.items()}
    if isinstance(thing, collections.deque):
        return plain(list(thing))
    if isinstance(thing, list | tuple):
        kind = type(thing)
        return kind(*map(plain, thing)) if hasattr(thing, "_fields") else kind(map(plain, thing))
    if isinstance(thing, minigrad.utils.data.Subset | torch.utils.data.Subset):
        return list(thing.indices)
    return thing


def outcome(program, lib):
    """What a program gives with a library, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            result = plain(program(lib, lib.utils.data))
        except Exception as error:
            text = re.sub(r"object at 0x\w+|pid\(s\) \d+", "", str(error)).replace("minigrad", "torch")
            result = type(error).__name__, text
    told = [(w.category, re.sub(r"0x\w+", "", str(w.message)).replace("minigrad", "torch")) for w in seen
            if not issubclass(w.category, DeprecationWarning)]
    return result, told


def same(program):
    ours, theirs = outcome(program, minigrad), outcome(program, torch)
    assert ours == theirs
    return ours[0]


# --- data sets


class Squares:
    """A map-style data set without a base class."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i >= self.n:
            raise IndexError(i)
        return i * i


def stream(data, n, sized=False):
    """A stream of 0 … n-1."""

    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(n))

    class Sized(Stream):
        def __len__(self):
            return n

        def __repr__(self):
            return "Sized"

    return Sized() if sized else Stream()


DATASETS = {
    "base": lambda lib, data: data.Dataset()[0],
    "sum": lambda lib, data: [(data.TensorDataset(lib.arange(3)) + data.TensorDataset(lib.arange(2)))[i]
                              for i in (0, 3, -1, -5)],
    "sum out of range": lambda lib, data: (data.ConcatDataset([[1], [2]]))[-3],
    "concat none": lambda lib, data: data.ConcatDataset([]),
    "concat stream": lambda lib, data: data.ConcatDataset([stream(data, 2)]),
    "concat": lambda lib, data: (data.ConcatDataset([[1, 2], "abc"]).cumulative_sizes,
                                 len(data.ConcatDataset([[1, 2], "abc"]))),
    "cummulative": lambda lib, data: data.ConcatDataset([[1, 2]]).cummulative_sizes,
    "chain": lambda lib, data: list(stream(data, 2) + stream(data, 3)),
    "chain len": lambda lib, data: len(stream(data, 2, True) + stream(data, 3, True)),
    "chain of lists": lambda lib, data: list(data.ChainDataset([[1]])),
    "tensor sizes": lambda lib, data: data.TensorDataset(lib.arange(3), lib.arange(4)),
    "tensor": lambda lib, data: [data.TensorDataset(lib.arange(4), lib.arange(8).reshape(4, 2))[i]
                                 for i in (0, -1, slice(1, 3), [0, 2])],
    "tensor out of range": lambda lib, data: data.TensorDataset(lib.arange(4))[4],
    "stack": lambda lib, data: (data.StackDataset([1, 2], "ab")[1], data.StackDataset(n=[1, 2], c="ab")[0]),
    "stack items": lambda lib, data: (data.StackDataset([1, 2], "ab").__getitems__([1, 0]),
                                      data.StackDataset(n=[1, 2], c="ab").__getitems__([1, 0])),
    "stack both": lambda lib, data: data.StackDataset([1], a=[1]),
    "stack none": lambda lib, data: data.StackDataset(),
    "stack sizes": lambda lib, data: data.StackDataset([1], [1, 2]),
    "subset": lambda lib, data: (data.Subset("abcd", [3, 1])[0], data.Subset("abcd", [3, 1]).__getitems__([1, 0])),
    "subset list": lambda lib, data: data.Subset(lib.arange(5) * 2, [3, 1, 0])[[0, 2]],
    "split": lambda lib, data: data.random_split(range(10), [3, 7], generator=lib.Generator().manual_seed(42)),
    "split fractions": lambda lib, data: data.random_split(range(31), [0.3, 0.3, 0.4],
                                                           generator=lib.Generator().manual_seed(1)),
    "split to nothing": lambda lib, data: data.random_split(range(2), [0.9, 0.05, 0.05],
                                                            generator=lib.Generator().manual_seed(1)),
    "split wrong": lambda lib, data: data.random_split(range(10), [3, 8]),
    "split negative": lambda lib, data: data.random_split(range(10), [1.5, -0.5]),
    "split default": lambda lib, data: (lib.manual_seed(3), data.random_split(range(6), [2, 4]), lib.rand(1))[1:],
}


@pytest.mark.parametrize("program", DATASETS.values(), ids=DATASETS)
def test_datasets(program):
    same(program)


def test_subclass_of_subset():
    def program(lib, data):
        class Half(data.Subset):
            def __getitem__(self, i):
                return 0

        return Half([1, 2], [0])

    assert same(program)[0] == "NotImplementedError"


# --- samplers


def seeded(make):
    """A sampler's indices with a generator and without, twice, and the random numbers drawn afterwards."""
    def program(lib, data):
        generator = lib.Generator().manual_seed(5)
        lib.manual_seed(11)
        given, free = make(lib, data, generator), make(lib, data, None)
        return list(given), list(free), list(given), list(free), len(given), lib.rand(2), lib.rand(2,
                                                                                                  generator=generator)

    return program


SAMPLERS = {
    "sequential": lambda lib, data, g: data.SequentialSampler(range(5)),
    "random": lambda lib, data, g: data.RandomSampler(range(50), generator=g),
    "random more": lambda lib, data, g: data.RandomSampler(range(7), num_samples=18, generator=g),
    "random fewer": lambda lib, data, g: data.RandomSampler(range(7), num_samples=3, generator=g),
    "random with replacement": lambda lib, data, g: data.RandomSampler(range(7), True, 70, generator=g),
    "random one block": lambda lib, data, g: data.RandomSampler(range(7), True, 64, generator=g),
    "subset": lambda lib, data, g: data.SubsetRandomSampler([5, 6, 8, 1], generator=g),
    "weighted": lambda lib, data, g: data.WeightedRandomSampler([0.1, 2.0, 0.4, 0.0, 1.5], 40, generator=g),
    "weighted without": lambda lib, data, g: data.WeightedRandomSampler([0.1, 2.0, 0.4, 1.5], 3, False, generator=g),
    "batch": lambda lib, data, g: data.BatchSampler(data.RandomSampler(range(10), generator=g), 3, False),
    "batch drop": lambda lib, data, g: data.BatchSampler(data.SequentialSampler(range(10)), 3, True),
    "distributed": lambda lib, data, g: data.DistributedSampler(range(11), 3, 1, seed=2),
    "distributed drop": lambda lib, data, g: data.DistributedSampler(range(11), 3, 1, shuffle=False, drop_last=True),
    "distributed few": lambda lib, data, g: data.DistributedSampler(range(2), 5, 4, shuffle=False),
}


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_samplers(make):
    assert isinstance(same(seeded(make))[0], list)


def test_infinite_sampler_is_lazy():
    def program(lib, data):
        lib.manual_seed(0)
        indices = iter(data.RandomSampler(range(1000), replacement=True, num_samples=int(1e10)))
        return [next(indices) for _ in range(70)]

    same(program)


def test_epochs_of_distributed_sampler():
    def program(lib, data):
        sampler = data.DistributedSampler(range(11), 2, 0)
        first = list(sampler)
        sampler.set_epoch(3)
        return first, list(sampler), len(sampler), sampler.total_size

    same(program)


WRONG_SAMPLERS = {
    "random empty": lambda lib, data: data.RandomSampler([]),
    "random replacement": lambda lib, data: data.RandomSampler([1], replacement=1),
    "random samples": lambda lib, data: data.RandomSampler([1], num_samples=-1),
    "random samples float": lambda lib, data: data.RandomSampler([1], num_samples=2.0),
    "weighted samples": lambda lib, data: data.WeightedRandomSampler([1.0], True),
    "weighted replacement": lambda lib, data: data.WeightedRandomSampler([1.0], 1, 1),
    "weighted 2d": lambda lib, data: data.WeightedRandomSampler([[1.0, 2.0]], 1),
    "batch size": lambda lib, data: data.BatchSampler([1], 0, False),
    "batch size bool": lambda lib, data: data.BatchSampler([1], True, False),
    "batch drop": lambda lib, data: data.BatchSampler([1], 1, 1),
    "rank": lambda lib, data: data.DistributedSampler([1], 2, 2),
    "base": lambda lib, data: iter(data.Sampler()),
    "base len": lambda lib, data: len(data.Sampler()),
}


@pytest.mark.parametrize("program", WRONG_SAMPLERS.values(), ids=WRONG_SAMPLERS)
def test_wrong_samplers(program):
    assert isinstance(same(program)[0], str)


# --- collating


class Config(dict):
    """A mapping with more to it."""


class Fixed(tuple):
    """A sequence that can be made again."""

    __slots__ = ()


BATCHES = {
    "ints": lambda lib: [1, 2, 3],
    "bools": lambda lib: [True, False],
    "floats": lambda lib: [1.0, 2.5],
    "ints and floats": lambda lib: [1, 2.5],
    "strings": lambda lib: ["a", "b"],
    "bytes": lambda lib: [b"a", b"b"],
    "tensors": lambda lib: [lib.ones(2, 3), lib.zeros(2, 3)],
    "0-d tensors": lambda lib: [lib.tensor(1.0), lib.tensor(2.0)],
    "bool tensors": lambda lib: [lib.tensor([True]), lib.tensor([False])],
    "half tensors": lambda lib: [lib.ones(3, dtype=lib.bfloat16), lib.ones(3, dtype=lib.bfloat16)],
    "empty tensors": lambda lib: [lib.ones(0, 2), lib.ones(0, 2)],
    "mixed tensors": lambda lib: [lib.ones(2), lib.ones(2, dtype=lib.int64)],
    "views": lambda lib: [lib.arange(12).reshape(3, 4).t(), lib.arange(12).reshape(3, 4).t() * 2],
    "rows and columns": lambda lib: [lib.arange(9).reshape(3, 3)[1], lib.arange(9).reshape(3, 3)[:, 1]],
    "expanded": lambda lib: [lib.tensor([1, 2]).expand(3, 2), lib.tensor([3, 4]).expand(3, 2)],
    "arrays": lambda lib: [np.arange(3), np.arange(3) + 1],
    "float arrays": lambda lib: [np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)],
    "numpy numbers": lambda lib: [np.float32(1), np.float32(2)],
    "numpy ints": lambda lib: [np.int32(1), np.int32(2)],
    "numpy bools": lambda lib: [np.bool_(1), np.bool_(0)],
    "numpy doubles": lambda lib: [np.float64(1), np.float64(2)],
    "dicts": lambda lib: [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    "config": lambda lib: [Config(a=1), Config(a=2)],
    "proxy": lambda lib: [MappingProxyType({"a": 1}), MappingProxyType({"a": 2})],
    "tuples": lambda lib: [(1, lib.ones(2)), (2, lib.zeros(2))],
    "lists": lambda lib: [[1, 2.0], [3, 4.0]],
    "named": lambda lib: [Point(1, 2.0), Point(3, 4.0)],
    "nested": lambda lib: [{"a": (1, [2, Point("x", 3.0)])}, {"a": (4, [5, Point("y", 6.0)])}],
    "ranges": lambda lib: [range(2), range(2)],
    "deques": lambda lib: [collections.deque([1, 2]), collections.deque([3, 4])],
    "ordered": lambda lib: [collections.OrderedDict(b=1, a=2), collections.OrderedDict(b=3, a=4)],
    "empty": lambda lib: [],
    "object": lambda lib: [object()],
    "nothing": lambda lib: [None, None],
    "number and nothing": lambda lib: [1, None],
    "tensor and number": lambda lib: [lib.ones(2), 3],
    "float and string": lambda lib: [1.5, "a"],
    "ragged": lambda lib: [lib.ones(3), lib.ones(2)],
    "ragged deeper": lambda lib: [(lib.ones(3), 1), (lib.ones(3), 2), (lib.ones(3, 1), 2)],
    "ragged arrays": lambda lib: [np.ones(3), np.ones(4)],
    "uneven": lambda lib: [(1, 2), (1,)],
    "missing key": lambda lib: [{"a": 1}, {"b": 1}],
    "text array": lambda lib: [np.array(["a"]), np.array(["b"])],
    "object array": lambda lib: [np.array([None]), np.array([None])],
    "set": lambda lib: [{1}, {2}],
    "complex": lambda lib: [object, object],
}


@pytest.mark.parametrize("make", BATCHES.values(), ids=BATCHES)
def test_default_collate(make):
    same(lambda lib, data: data.default_collate(make(lib)))


@pytest.mark.parametrize("make", BATCHES.values(), ids=BATCHES)
def test_default_convert(make):
    if make(minigrad) and type(make(minigrad)[0]) is object:
        pytest.skip("an object equals only itself")
    same(lambda lib, data: data.default_convert(make(lib)))


def test_collate_keeps_types():
    for name in ("config", "named", "lists", "deques", "proxy", "ranges", "ordered"):
        kinds = [type(lib.utils.data.default_collate(BATCHES[name](lib))) for lib in (minigrad, torch)]
        assert kinds[0] is kinds[1], name


def test_collate_with_gradients():
    def program(lib, data):
        xs = [lib.ones(2, requires_grad=True), lib.ones(2)]
        batch = data.default_collate(xs)
        batch.sum().backward()
        return batch.requires_grad, xs[0].grad, type(batch.grad_fn).__name__

    same(program)


def test_collate_functions_of_the_program():
    def program(lib, data):
        def collate_tensor(batch, *, collate_fn_map=None):
            return [t.shape[0] for t in batch]

        def collate_set(batch, *, collate_fn_map=None):
            return sorted(set.union(*batch))

        collate = data._utils.collate.collate
        batch = [(lib.ones(1), 1, {3}), (lib.ones(2), 2, {1})]
        with_map = {lib.Tensor: collate_tensor, set: collate_set, int: lambda b, *, collate_fn_map=None: sum(b)}
        known = data._utils.collate.default_collate_fn_map
        known[set] = collate_set
        try:
            default = data.default_collate([(1, {3}), (2, {1})])
        finally:
            del known[set]
        return collate(batch, collate_fn_map=with_map), default

    same(program)


# --- loaders in one process


def pairs(lib, data):
    """Ten samples of two tensors."""
    return data.TensorDataset(lib.arange(20).reshape(10, 2), lib.arange(10))


def loaded(**options):
    """A whole round, then another, of a loader with the options."""
    def program(lib, data):
        lib.manual_seed(7)
        made = options.copy()
        dataset = made.pop("dataset", pairs)
        for name in ("sampler", "batch_sampler", "generator", "collate_fn"):
            if callable(made.get(name)):
                made[name] = made[name](lib, data)
        loader = data.DataLoader(dataset(lib, data), **made)
        first, second = list(loader), list(loader)
        return first, second, len(loader), lib.rand(1)

    return program


LOADERS = {
    "plain": {},
    "batches": {"batch_size": 4},
    "shuffle": {"batch_size": 4, "shuffle": True},
    "drop last": {"batch_size": 4, "shuffle": True, "drop_last": True},
    "larger than the data": {"batch_size": 100},
    "no batches": {"batch_size": None},
    "generator": {"batch_size": 4, "shuffle": True, "generator": lambda lib, data: lib.Generator().manual_seed(9)},
    "sampler": {"batch_size": 3, "sampler": lambda lib, data: data.SubsetRandomSampler([1, 5, 7, 2])},
    "weighted": {"batch_size": 3, "sampler": lambda lib, data: data.WeightedRandomSampler(list(range(10)), 10)},
    "list as sampler": {"batch_size": 3, "sampler": lambda lib, data: [3, 1, 2, -1]},
    "batch sampler": {"batch_sampler": lambda lib, data: [[0, 1], [5], [-1, 2]]},
    "batch sampler of a sampler": {"batch_sampler": lambda lib, data: data.BatchSampler(
        data.RandomSampler(range(10)), 4, True)},
    "collate": {"batch_size": 4,
                "collate_fn": lambda lib, data: lambda batch: [int(x.sum()) + int(y) for x, y in batch]},
    "squares": {"dataset": lambda lib, data: Squares(7), "batch_size": 3},
    "list": {"dataset": lambda lib, data: [1.5, 2.5, 3.5], "batch_size": 2, "shuffle": True},
    "tensor": {"dataset": lambda lib, data: lib.arange(6).reshape(3, 2), "batch_size": 2},
    "array": {"dataset": lambda lib, data: np.arange(6.0).reshape(3, 2), "batch_size": 2},
    "subset": {"dataset": lambda lib, data: data.Subset(data.TensorDataset(lib.arange(9)), [8, 1, 3, 3]),
               "batch_size": 3, "shuffle": True},
    "subset of a subset": {"dataset": lambda lib, data: data.Subset(
        data.Subset(data.TensorDataset(lib.arange(9)), [8, 1, 3, 3]), [2, 0, 1]), "batch_size": 2},
    "split": {"dataset": lambda lib, data: data.random_split(data.TensorDataset(lib.arange(9)), [5, 4])[0],
              "batch_size": 2, "shuffle": True},
    "concat": {"dataset": lambda lib, data: data.ConcatDataset([data.TensorDataset(lib.arange(3)),
                                                                data.TensorDataset(lib.arange(4))]), "batch_size": 2},
    "stack": {"dataset": lambda lib, data: data.StackDataset(x=data.TensorDataset(lib.arange(3)), y=[1, 2, 3]),
              "batch_size": 2},
    "stream": {"dataset": lambda lib, data: stream(data, 7, True), "batch_size": 3},
    "stream drop": {"dataset": lambda lib, data: stream(data, 7, True), "batch_size": 3, "drop_last": True},
    "stream one by one": {"dataset": lambda lib, data: stream(data, 3, True), "batch_size": None},
    "stream without len": {"dataset": lambda lib, data: stream(data, 3)},
    "empty": {"dataset": lambda lib, data: []},
    "empty shuffle": {"dataset": lambda lib, data: [], "shuffle": True},
    "empty stream": {"dataset": lambda lib, data: stream(data, 0, True)},
    "out of range": {"sampler": lambda lib, data: [10]},
    "pinned": {"pin_memory": True, "batch_size": 4},
    "pinned on": {"pin_memory": True, "pin_memory_device": "cuda", "batch_size": 4},
    "views": {"dataset": lambda lib, data: data.TensorDataset(lib.arange(20).reshape(2, 10).t()[::2]), "batch_size": 2},
    "pending": {"dataset": lambda lib, data: data.TensorDataset(lib.arange(10).float() * 2 + 1), "batch_size": 4},
    "0-d": {"dataset": lambda lib, data: data.TensorDataset(lib.arange(0), lib.ones(0, 3)), "batch_size": 4},
    "ragged": {"dataset": lambda lib, data: [lib.ones(3), lib.ones(2)], "batch_size": 2},
}


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_loaders(options):
    same(loaded(**options))


WRONG = {
    "workers": {"num_workers": -1},
    "timeout": {"timeout": -1},
    "prefetch": {"prefetch_factor": 2},
    "prefetch negative": {"prefetch_factor": -2, "num_workers": 1},
    "persistent": {"persistent_workers": True},
    "sampler and shuffle": {"sampler": [1], "shuffle": True},
    "batch sampler and size": {"batch_sampler": [[1]], "batch_size": 2},
    "batch sampler and sampler": {"batch_sampler": [[1]], "sampler": [1]},
    "batch sampler and drop": {"batch_sampler": [[1]], "drop_last": True},
    "no batches and drop": {"batch_size": None, "drop_last": True},
    "batch size": {"batch_size": 0},
    "batch size float": {"batch_size": 2.0},
    "context": {"multiprocessing_context": "fork"},
    "unknown context": {"multiprocessing_context": "thread", "num_workers": 1},
    "no context": {"multiprocessing_context": 3, "num_workers": 1},
}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_wrong_options(options):
    assert isinstance(same(lambda lib, data: data.DataLoader([1, 2], **options))[0], str)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}])
def test_wrong_options_for_streams(options):
    assert isinstance(same(lambda lib, data: data.DataLoader(stream(data, 2), **options))[0], str)


@pytest.mark.parametrize("name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset",
                                  "persistent_workers", "num_workers", "collate_fn"])
def test_attributes_that_stay(name):
    same(lambda lib, data: setattr(data.DataLoader([1, 2]), name, 1))


def test_attributes():
    def program(lib, data):
        loader = data.DataLoader([1, 2], batch_size=2, num_workers=1)
        return [getattr(loader, name) for name in (
            "batch_size", "num_workers", "prefetch_factor", "pin_memory", "pin_memory_device", "timeout",
            "worker_init_fn", "multiprocessing_context", "drop_last", "generator", "persistent_workers", "in_order",
            "_auto_collation", "_dataset_kind")]

    same(program)


def test_signatures():
    import inspect

    for name in ("DataLoader", "RandomSampler", "WeightedRandomSampler", "BatchSampler", "SubsetRandomSampler",
                 "DistributedSampler", "random_split", "ConcatDataset", "StackDataset", "Subset", "default_collate"):
        ours, theirs = (inspect.signature(getattr(lib.utils.data, name)) for lib in (minigrad, torch))
        assert [(p.name, p.kind) for p in ours.parameters.values()] == [
            (p.name, p.kind) for p in theirs.parameters.values()], name


def test_names():
    missing = [name for name in torch.utils.data.__all__ if not hasattr(minigrad.utils.data, name)]
    pipes = {"DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe", "argument_validation", "functional_datapipe",
             "guaranteed_datapipes_determinism", "non_deterministic", "runtime_validation",
             "runtime_validation_disabled"}
    assert set(missing) == pipes


def test_too_many_samples():
    def program(lib, data):
        class Short(data.IterableDataset):
            def __len__(self):
                return 2

            def __iter__(self):
                return iter(range(4))

            def __repr__(self):
                return "Short"

        loader = data.DataLoader(Short(), batch_size=1)
        return len(loader), list(loader)

    _, told = outcome(program, minigrad)
    assert len(told) == 2 and same(program)


def test_loader_where_rows_need_gradients():
    def program(lib, data):
        x = lib.ones(4, 2, requires_grad=True)
        for batch, in data.DataLoader(data.TensorDataset(x * 2), batch_size=2):
            batch.sum().backward()
            return batch.requires_grad, x.grad, type(batch.grad_fn).__name__
        return None

    same(program)


def test_batches_are_copies():
    def program(lib, data):
        x = lib.arange(4.0)
        batch = next(iter(data.DataLoader(data.TensorDataset(x), batch_size=2)))[0]
        batch.add_(10)
        x[1] = 7
        return batch, x, next(iter(data.DataLoader(data.TensorDataset(x), batch_size=2)))

    same(program)


# --- loaders with worker processes


class Numbers:
    """Random numbers of a worker, from all three sources."""

    def __init__(self, lib, n=6):
        self.lib, self.n = lib, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return i, random.random(), np.random.rand(), float(self.lib.rand(1)), self.lib.randint(0, 1000, (2,))


WORKERS = {
    "one": {"num_workers": 1, "batch_size": 3},
    "two": {"num_workers": 2, "batch_size": 3, "shuffle": True},
    "three": {"num_workers": 2, "prefetch_factor": 5, "batch_size": 2},
    "persistent": {"num_workers": 2, "batch_size": 3, "shuffle": True, "persistent_workers": True},
    "generator": {"num_workers": 1, "batch_size": 4, "shuffle": True,
                  "generator": lambda lib, data: lib.Generator().manual_seed(9)},
    "no batches": {"num_workers": 1, "batch_size": None},
    "random": {"num_workers": 2, "dataset": lambda lib, data: Numbers(lib), "batch_size": 2},
    "random persistent": {"num_workers": 2, "dataset": lambda lib, data: Numbers(lib), "batch_size": 2,
                          "persistent_workers": True},
    "stream": {"num_workers": 2, "dataset": lambda lib, data: stream(data, 5, True), "batch_size": 2},
    "stream persistent": {"num_workers": 2, "dataset": lambda lib, data: stream(data, 5, True), "batch_size": 2,
                          "persistent_workers": True},
    "empty": {"num_workers": 1, "dataset": lambda lib, data: []},
    "large": {"num_workers": 1, "dataset": lambda lib, data: data.TensorDataset(lib.arange(60000).reshape(4, 15000)),
              "batch_size": 2},
    "ragged": {"num_workers": 1, "dataset": lambda lib, data: Ragged(lib), "batch_size": 2},
}


class Ragged:
    """Samples of different lengths."""

    def __init__(self, lib):
        self.lib = lib

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return self.lib.ones(3 - i)


@pytest.mark.parametrize("options", WORKERS.values(), ids=WORKERS)
def test_workers(options):
    ours, theirs = outcome(loaded(**options), minigrad), outcome(loaded(**options), torch)
    if isinstance(ours[0][0], str):  # a traceback, and PyTorch says there that it can't resize a storage
        assert "stack expects each tensor to be equal size, but got [3] at entry 0 and [2] at entry 1" in ours[0][1]
        ours, theirs = ((kind, text.splitlines()[0]) for (kind, text), _ in (ours, theirs))
    assert ours == theirs


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_start_methods(method):
    same(lambda lib, data: list(data.DataLoader(data.TensorDataset(lib.arange(20000).reshape(2, 10000)), batch_size=2,
                                                num_workers=1, multiprocessing_context=method)))


def test_worker_info_and_init():
    def program(lib, data):
        class Info(data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, i):
                info = data.get_worker_info()
                return info.id, info.num_workers, info.seed, self.start, info.dataset is self

        def init(worker_id):
            info = data.get_worker_info()
            info.dataset.start = 10 * worker_id

        lib.manual_seed(3)
        return list(data.DataLoader(Info(), num_workers=2, worker_init_fn=init)), data.get_worker_info()

    same(program)


def test_divided_stream():
    def program(lib, data):
        class Divided(data.IterableDataset):
            def __iter__(self):
                info = data.get_worker_info()
                return iter(range(info.id, 9, info.num_workers))

        loader = data.DataLoader(Divided(), batch_size=2, num_workers=2)
        return list(loader), list(loader)

    same(program)


def test_text_of_worker_info():
    def program(lib, data):
        return repr(data._utils.worker.WorkerInfo(id=1, num_workers=2, seed=3, dataset=[4]))

    same(program)


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyError("key"), IndexError("at")], ids=repr)
def test_exception_in_worker(error):
    def program(lib, data):
        class Failing(data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, i):
                if i == 2:
                    raise error
                return i

        return list(data.DataLoader(Failing(), num_workers=1))

    (kind, ours), (kind_of_theirs, theirs) = (outcome(program, lib)[0] for lib in (minigrad, torch))
    assert kind == kind_of_theirs
    assert ours.splitlines()[:2] == theirs.splitlines()[:2]
    assert ours.splitlines()[-3:] == theirs.splitlines()[-3:]


def test_wraps_exceptions_alike():
    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(a, b)

    class Spoken(Exception):
        message = "told"

        def __init__(self, message):
            super().__init__(message)

    from torch._utils import ExceptionWrapper

    from minigrad.utils.data._utils import worker

    for make in (lambda: Odd(1, 2), lambda: Spoken("x"), lambda: KeyError("k"), lambda: ValueError("v")):
        seen = []
        for wrapper in (worker.ExceptionWrapper, ExceptionWrapper):
            try:
                raise make()
            except Exception:
                wrapped = wrapper(where="in a test")
            with pytest.raises(Exception) as caught:
                wrapped.reraise()
            seen.append((caught.type, str(caught.value)))
        assert seen[0] == seen[1]


# --- multiprocessing


def test_names_of_multiprocessing():
    import torch.multiprocessing as theirs

    import minigrad.multiprocessing as ours

    assert {name for name in theirs.__all__ if not hasattr(ours, name)} == set()
    for name in ("spawn", "start_processes", "ProcessContext", "ProcessRaisedException", "ProcessExitedException"):
        assert hasattr(ours, name)
    assert ours.get_all_sharing_strategies() == theirs.get_all_sharing_strategies()


def test_sharing_strategy():
    def program(lib, data):
        lib.multiprocessing.set_sharing_strategy("by_post")

    assert outcome(program, minigrad)[0][0] == outcome(program, torch)[0][0] == "AssertionError"


def test_shared_tensors():
    def program(lib, data):
        mp = lib.multiprocessing
        x, y = lib.zeros(3).share_memory_(), lib.zeros(3)

        def work(queue):
            x.add_(1)
            got = queue.get()
            got.mul_(5)
            queue.task_done()

        context = mp.get_context("fork")
        queue = context.JoinableQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        sent = lib.ones(2)
        queue.put(sent)
        queue.join()
        process.join()
        return x, y, sent, x.is_shared(), y.is_shared(), sent.is_shared(), process.exitcode

    same(program)


def test_tensors_on_a_tape_stay():
    def program(lib, data):
        from multiprocessing.reduction import ForkingPickler

        return ForkingPickler.dumps(lib.ones(2, requires_grad=True) * 2)

    assert same(program)[0] == "RuntimeError"


def test_errors_of_spawn():
    def program(lib, data):
        return lib.multiprocessing.start_processes(_fail, args=("text",), nprocs=1, start_method="fork")

    ours, theirs = (outcome(program, lib)[0] for lib in (minigrad, torch))
    assert ours[0] == theirs[0] == "ProcessRaisedException"
    assert ours[1].splitlines()[:4] == theirs[1].splitlines()[:4]
    assert ours[1].splitlines()[-1] == theirs[1].splitlines()[-1] == "ValueError: text"


def _fail(i, text):
    raise ValueError(text)


def test_exit_codes_of_spawn():
    def program(lib, data):
        return lib.multiprocessing.start_processes(exit_with, args=(3,), nprocs=1, start_method="fork")

    assert same(program)[0] == "ProcessExitedException"


def exit_with(i, code):
    raise SystemExit(code)


def test_pinning_by_the_batch_itself():
    class Batch(SimpleNamespace):
        def pin_memory(self):
            return "pinned"

    def program(lib, data):
        return data._utils.pin_memory.pin_memory([Batch(), (Batch(), 1), {"a": Batch()}, "text", Point(Batch(), 2)])

    same(program)
