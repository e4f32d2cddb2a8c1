"""Sequential, ModuleList, ModuleDict and ParameterList as containers."""

from collections import OrderedDict

import pytest

import minigrad
from minigrad import nn


def test_sequential():
    net = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.ReLU()))
    assert list(net.state_dict()) == ["a.weight", "a.bias"]
    assert net.a is net[0]
    assert net[-1] is net.b
    assert len(net) == 2
    assert list(net) == [net.a, net.b]
    assert net(minigrad.ones(1, 2)).shape == (1, 3)
    net[1] = nn.Tanh()
    assert isinstance(net.b, nn.Tanh)
    assert list(net[:1].state_dict()) == ["a.weight", "a.bias"]
    assert nn.Sequential()(3) == 3
    with pytest.raises(IndexError, match="index 5 is out of range"):
        net[5]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.Sequential(1)


@pytest.mark.parametrize("kind", [nn.ModuleList, lambda parts: nn.Sequential(*parts)])
def test_rows_change_like_lists(kind):
    first, second, third = nn.ReLU(), nn.Tanh(), nn.Linear(2, 2)
    row = kind([first, third])
    row.insert(1, second)
    assert list(row) == [first, second, third]
    assert list(row.state_dict()) == ["2.weight", "2.bias"]
    del row[0]
    assert list(row.state_dict()) == ["1.weight", "1.bias"]
    assert row.pop(-1) is third
    row.append(third).extend([first])
    assert list(row) == [second, third, first]
    assert third in row
    del row[1:]
    assert list(row) == [second]
    row += kind([first])
    assert list(row + kind([third])) == [second, first, third]


def test_sequential_times():
    net = nn.Sequential(nn.ReLU(), nn.Tanh()) * 2
    assert len(net) == 4
    with pytest.raises(ValueError, match="Non-positive multiplication factor 0"):
        net * 0


def test_module_list():
    row = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    assert [name for name, _ in row.named_children()] == ["0", "1", "2"]
    assert list(row[1:]) == [row[1], row[2]]
    assert repr(row) == "ModuleList(\n  (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)\n)"
    assert repr(nn.ModuleList()) == "ModuleList()"
    with pytest.raises(TypeError, match="ModuleList.extend should be called with an iterable, but got ReLU"):
        row.extend(nn.ReLU())


def test_module_dict():
    table = nn.ModuleDict({"a": nn.ReLU()})
    table.update([("b", nn.Linear(2, 2))])
    assert list(table) == list(table.keys()) == ["a", "b"]
    assert table.b is table["b"]
    assert len(table) == 2
    assert "a" in table
    assert list(table.values()) == [table.a, table.b]
    assert isinstance(table.pop("a"), nn.ReLU)
    assert "a" not in table
    del table["b"]
    assert dict(table.items()) == {}
    with pytest.raises(KeyError):
        table["x"]
    with pytest.raises(TypeError, match="ModuleDict.update should be called with an iterable of key/value pairs"):
        nn.ModuleDict(3)


def test_parameter_list():
    row = nn.ParameterList([minigrad.ones(2, 2), nn.Parameter(minigrad.ones(2))])
    assert len(row) == 2
    assert list(row.state_dict()) == ["0", "1"]
    assert all(isinstance(parameter, nn.Parameter) for parameter in row)
    row.append(minigrad.tensor(1.0))
    assert row[-1] is row[2]
    row[0] = minigrad.zeros(1)
    assert row[0].shape == (1,)
    assert len(row[:2]) == 2
    assert "(1): Parameter containing: [" in repr(row)
    assert len(list(row.parameters())) == 3
