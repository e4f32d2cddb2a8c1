"""Stage: tests of utils. In: data sets, samplers and loaders in one process. Out: PyTorch's numbers for a seed (the
constants are PyTorch 2.13's), and what batches share with the data: nothing.
Next: ``test_workers.py``."""

from __future__ import annotations

import random

import numpy as np
import pytest

import minigrad
from minigrad import Generator
from minigrad.tensor.batch import rows, stacked
from minigrad.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from minigrad.utils.data._utils.worker import numpy_seed


def test_orders_are_those_of_pytorch():
    minigrad.manual_seed(7)
    loader = DataLoader(list(range(10)), batch_size=4, shuffle=True)
    assert [b.tolist() for b in loader] == [[3, 2, 7, 8], [6, 1, 5, 9], [0, 4]]
    assert [b.tolist() for b in loader] == [[1, 3, 5, 2], [8, 9, 6, 7], [4, 0]]
    assert minigrad.rand(1).item() == 0.36531615257263184


def test_samplers_are_those_of_pytorch():
    generator = Generator().manual_seed(5)
    assert list(RandomSampler(range(7), num_samples=10, generator=generator)) == [1, 0, 4, 2, 6, 5, 3, 1, 6, 5]
    assert list(RandomSampler(range(7), True, 10, generator=generator)) == [4, 2, 3, 2, 4, 5, 6, 5, 3, 1]
    assert list(SubsetRandomSampler([5, 6, 8, 1], generator=generator)) == [5, 6, 8, 1]
    weights = [0.1, 2.0, 0.4, 0.0, 1.5]
    assert list(WeightedRandomSampler(weights, 10, generator=generator)) == [4, 1, 1, 1, 4, 4, 1, 4, 4, 4]
    assert list(WeightedRandomSampler([0.1, 2.0, 0.4, 1.5], 3, False, generator=generator)) == [3, 1, 0]
    assert list(DistributedSampler(range(11), 3, 1, seed=2)) == [8, 1, 2, 9]
    parts = random_split(range(11), [0.3, 0.3, 0.4], generator=Generator().manual_seed(1))
    assert [list(part) for part in parts] == [[0, 10, 2, 3], [7, 6, 4], [8, 1, 9, 5]]


class Draws(Dataset):
    """Numbers from the three random sources of a program."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return random.random(), np.random.rand(), float(minigrad.rand(1))


def test_random_numbers_of_workers_are_those_of_pytorch():
    assert numpy_seed(0x123456789ABCDEF, 3).tolist() == [1333163270, 322820141, 3876486631, 305334004]
    minigrad.manual_seed(0)
    found = [[v.item() for v in batch] for batch in DataLoader(Draws(), num_workers=2)]
    assert found == [[0.21315340548154382, 0.8371640508861415, 0.7821398973464966],
                     [0.7733861492043289, 0.6702704958690073, 0.6938178539276123]]


def test_endless_sampler_draws_when_asked():
    loader = DataLoader(range(5), batch_size=3, sampler=RandomSampler(range(5), True, int(1e10)))
    assert len(loader) == 3333333334 and next(iter(loader)).shape == (3,)


# --- batches read at once, and sample by sample


class Counting(TensorDataset):
    """A data set that says which samples it made itself."""

    def __init__(self, *tensors):
        super().__init__(*tensors)
        self.made = []

    def __getitem__(self, index):
        self.made.append(index)
        return super().__getitem__(index)


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: Subset(d, [3, 1, -1]), lambda d: StackDataset(d, [0] * 4)])
def test_both_ways_to_a_batch_agree(wrap):
    x, y = minigrad.arange(12).reshape(3, 4).t(), minigrad.tensor([1.5, 2.5, 3.5, 4.5])
    quick = list(DataLoader(wrap(TensorDataset(x, y)), batch_size=2))
    counting = Counting(x, y)
    slow = list(DataLoader(wrap(counting), batch_size=2))
    assert len(counting.made) == len(wrap(counting))
    assert repr(quick) == repr(slow)


def test_a_sample_out_of_range():
    with pytest.raises(IndexError, match="index 4 is out of bounds for dimension 0 with size 4"):
        list(DataLoader(TensorDataset(minigrad.arange(4)), batch_size=2, sampler=[0, 4]))


def test_rows_and_stacked_leave_to_others_what_is_not_data():
    taped = minigrad.ones(3, 2, requires_grad=True)
    assert rows(taped, [0, 1]) is None and stacked([taped[0], taped[1]]) is None
    with minigrad.no_grad():
        assert rows(taped, [0, 1]).tolist() == [[1.0, 1.0]] * 2
    assert rows(minigrad.ones(3), [3]) is None and rows(minigrad.ones(3), [-4]) is None
    assert rows(minigrad.arange(3), [-1, 0]).tolist() == [2, 0]
    assert stacked([minigrad.ones(2), minigrad.ones(3)]) is None
    assert stacked([minigrad.ones(2), minigrad.arange(2)]) is None
    assert stacked([minigrad.ones(2), np.ones(2)]) is None
    assert stacked([minigrad.ones(2) + i for i in range(3)]).tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    x = minigrad.arange(6).reshape(2, 3)
    assert stacked([x.t(), x.t() + 1]).tolist() == [[[0, 3], [1, 4], [2, 5]], [[1, 4], [2, 5], [3, 6]]]
    assert stacked([x[0], x[:, 1:].reshape(-1)[:3]]).tolist() == [[0, 1, 2], [1, 2, 4]]


def test_batches_share_nothing_with_the_data():
    array = np.arange(4.0)
    x = minigrad.from_numpy(array)
    batch, = next(iter(DataLoader(TensorDataset(x), batch_size=4)))
    array[0] = 9
    batch.add_(1)
    assert batch.tolist() == [1.0, 2.0, 3.0, 4.0] and array.tolist() == [9.0, 1.0, 2.0, 3.0]
    samples = [minigrad.ones(2), minigrad.ones(2)]
    together = default_collate(samples)
    samples[0].zero_()
    assert together.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_a_subclass_makes_its_own_samples():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            return super().__getitem__(index)[0] * 2

    assert next(iter(DataLoader(Doubled(minigrad.arange(3)), batch_size=3))).tolist() == [0, 2, 4]


def test_pin_memory_warns():
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found"):
        assert next(iter(DataLoader([1, 2], pin_memory=True))).tolist() == [1]


def test_too_many_workers():
    with pytest.warns(UserWarning, match="This DataLoader will create 5000 worker processes in total. Our suggested "):
        DataLoader([1], num_workers=5000)


def test_a_distributed_sampler_has_to_be_told():
    with pytest.raises(RuntimeError, match="Requires distributed package to be available"):
        DistributedSampler(range(3))


def test_iterators_are_not_pickled():
    import pickle

    with pytest.raises(NotImplementedError, match="cannot be pickled"):
        pickle.dumps(iter(DataLoader([1])))
    assert next(iter(pickle.loads(pickle.dumps(DataLoader([1]))))).tolist() == [1]


def test_a_training_loop_is_replayed():
    """The batches are ordinary data: the step that reads them is one that ran before."""
    x, y = minigrad.rand(32, 4), minigrad.rand(32, 1)
    model = minigrad.nn.Linear(4, 1)
    optimizer = minigrad.optim.SGD(model.parameters(), lr=0.1)

    def epoch():
        for a, b in DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            ((model(a) - b) ** 2).mean().backward()
            optimizer.step()

    for _ in range(5):
        epoch()
    with minigrad.inspect() as seen:
        epoch()
    assert seen.replayed == 8 and not seen.recorded
