"""Stage: tests of recording. In: programs with an index that is out of range when it is computed. Out: an error that
names the line. Next: ``test_movement.py``."""

import inspect
import pickle

import numpy as np
import pytest

import minigrad
from minigrad import config, tensor
from minigrad.nn import functional


def line_here() -> int:
    return inspect.currentframe().f_back.f_lineno  # type: ignore[union-attr]


def setitem(x, i):
    x = x.clone()
    x[i] = 5.0
    return x


OPS = {
    "gather": lambda x, i: x.gather(0, i.reshape(1, 3)),
    "scatter": lambda x, i: x.scatter(0, i.reshape(1, 3), 1.0),
    "index_select": lambda x, i: x.index_select(0, i),
    "embedding": lambda x, i: functional.embedding(i, x),
    "getitem": lambda x, i: x[i],
    "getitem of a part": lambda x, i: x[:, 1:][i],
    "take": lambda x, i: x.take(i * 4),
    "index_put_": lambda x, i: x.clone().index_put_((i,), x[0]),
    "index_add": lambda x, i: x.index_add(0, i, x[:3]),
}


@pytest.mark.parametrize("device", ["CPU", "NUMPY"])
@pytest.mark.parametrize(("op", "line"), [
    *[(op, op.__code__.co_firstlineno) for op in OPS.values()], (setitem, setitem.__code__.co_firstlineno + 2)],
    ids=[*OPS, "setitem"])
def test_each_op_names_its_line(op, line, device):
    x = minigrad.arange(12.0, device=device).reshape(4, 3)
    made = op(x, tensor([0, 1, 99], device=device) + 0) + 1
    with pytest.raises(IndexError, match=f'out of range: .*, recorded at File "{__file__}", line {line}$'):
        made.tolist()


@pytest.mark.parametrize("tiers", [0, 1])
@pytest.mark.parametrize("rounds", [1, 3, 40])
def test_a_loop_that_is_replayed_names_it_too(rounds, tiers):
    """And the next step runs as if there had been none."""
    weight = minigrad.ones(4, 3, requires_grad=True)
    optimizer = minigrad.optim.SGD([weight], lr=0.5)
    with config(TIERS=tiers):
        for k in range(rounds + 2):
            with minigrad.inspect() as seen:
                index = tensor([0, 1, 1] if k != rounds else [0, 1, 9]) + 0
                rows = functional.embedding(index, weight)
                line = line_here() - 1
                loss = (rows * 0.01).sum()
                optimizer.zero_grad()
                if k == rounds:
                    with pytest.raises(IndexError, match=f'recorded at File "{__file__}", line {line}$'):
                        loss.backward()
                else:
                    loss.backward()
                    optimizer.step()
            assert seen.replayed or k in (0, rounds, rounds + 1)
    np.testing.assert_allclose(weight.detach()[:, 0], 1 - (rounds + 1) * np.array([0.005, 0.01, 0, 0]), atol=1e-5)


@pytest.mark.parametrize("rounds", [3, 40])
def test_a_value_that_is_replayed_names_it_too(rounds):
    x = minigrad.arange(8.0)
    for k in range(rounds + 2):
        found = x[tensor([k % 8 if k != rounds else 8]) + 0]
        line = line_here() - 1
        if k == rounds:
            with pytest.raises(IndexError, match=f'recorded at File "{__file__}", line {line}$'):
                found.item()
        else:
            assert found.item() == k % 8


@pytest.mark.parametrize("rounds", [0, 1, 6])
@pytest.mark.parametrize("tiers", [0, 1])
def test_a_function_under_jit_names_it_too(rounds, tiers):
    """Recorded, and run as a program; the next call is right."""
    @minigrad.jit
    def rows(weight, index):
        return (weight * 2)[index].sum()

    line, weight = rows.function.__code__.co_firstlineno + 2, minigrad.ones(5, 2)
    with config(TIERS=tiers):
        for k in range(rounds + 2):
            if k == rounds:
                with pytest.raises(IndexError, match=f'recorded at File "{__file__}", line {line}$'):
                    rows(weight, tensor([0, 9])).item()
            else:
                assert rows(weight, tensor([0, 4])).item() == 8


def test_the_one_of_several_lines_whose_shape_fits():
    x, y, index = minigrad.ones(4, 3), minigrad.ones(200), tensor([99]) + 0
    first = y[index]
    with pytest.raises(IndexError) as raised:
        (first + x[index]).tolist()
    assert str(raised.value).endswith(f", line {line_here() - 1}") and " or " not in str(raised.value)


def test_the_error_passes_to_another_process():
    with pytest.raises(IndexError) as raised:
        minigrad.ones(4)[tensor([4]) + 0].tolist()
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), str(copy), vars(copy)) == (raised.type, str(raised.value), {"shape": (4,), "placed": True})
    assert isinstance(type(copy)("in a worker"), IndexError)
