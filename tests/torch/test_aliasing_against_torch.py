"""Random programs of views, in-place ops and copies give PyTorch's values and gradients, whatever aliases what."""

from __future__ import annotations

import random

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")


class Program:
    """Lines of a program over variables, drawn so that both libraries can run it; shapes are followed here."""

    def __init__(self, seed: int, realise: bool) -> None:
        self.random = random.Random(seed)
        self.lines = ["v0 = a * 1", "v1 = b.clone()"]
        self.shapes = {"v0": (3, 4), "v1": (3, 4)}
        self.overlapping: set[str] = set()  # those in which elements may share a place: they are not written
        self.realise = realise
        for _ in range(self.random.randint(4, 14)):
            self.random.choice([self.view, self.view, self.window, self.in_place, self.in_place, self.assign, self.new,
                                self.look])()

    def some(self, written: bool = False) -> str:
        return self.random.choice([n for n in self.shapes if not (written and n in self.overlapping)])

    def define(self, text: str, shape: tuple[int, ...], overlapping: bool = False) -> None:
        name = f"v{len(self.shapes)}"
        self.lines.append(f"{name} = {text}")
        self.shapes[name] = shape
        if overlapping:
            self.overlapping.add(name)

    def view(self) -> None:
        name = self.some()
        shape = self.shapes[name]
        choices = [("[...]", shape)]
        if 0 in shape:
            return
        if len(shape) >= 1 and shape[0] > 1:
            at = self.random.randrange(shape[0])
            choices += [(f"[{at}]", shape[1:]), ("[1:]", (shape[0] - 1, *shape[1:])),
                        ("[::2]", (-(-shape[0] // 2), *shape[1:]))]
        if len(shape) == 2:
            choices += [(".t()", shape[::-1]), (".unsqueeze(1)", (shape[0], 1, shape[1])), (".T[:1]", (1, shape[0])),
                        (".movedim(0, 1)", shape[::-1]), (".diagonal()", (min(shape),)),
                        (".diagonal(1, 1, 0)", (max(0, min(shape[1], shape[0] - 1)),)),
                        (".narrow(1, 0, 1).squeeze(1)", shape[:1])]
        text, new = self.random.choice(choices)
        self.define(name + text, new, name in self.overlapping)

    def window(self) -> None:
        """Views that see an element more than once."""
        name = self.some()
        shape = self.shapes[name]
        kind = self.random.choice(["expand", "unfold", "as_strided"])
        if kind == "expand":
            self.define(f"{name}.expand{(2, *shape)}", (2, *shape), True)
        elif kind == "unfold" and shape and shape[0] > 1:
            size, step = self.random.randint(1, shape[0]), self.random.randint(1, 2)
            self.define(f"{name}.unfold(0, {size}, {step})", ((shape[0] - size) // step + 1, *shape[1:], size), True)
        elif kind == "as_strided" and np.prod(shape) >= 3:
            flat = f"v{len(self.shapes)}"
            self.define(f"({name} * 1).reshape(-1)", (int(np.prod(shape)),))
            stride = self.random.choice([(1, 1), (1, 0), (0, 1), (0, 0), (1,), (2,)])
            sizes = (2, 2)[:len(stride)]
            self.define(f"{flat}.as_strided({sizes}, {stride})", sizes, len(stride) > 1)
            if len(stride) > 1:
                return
            self.lines.append(f"v{len(self.shapes) - 1}.mul_(s)")

    def in_place(self) -> None:
        name = self.some(written=True)
        same = [n for n, s in self.shapes.items() if s == self.shapes[name] and n != name]
        other = self.random.choice([*[f"{n}.clone()" for n in same], "2.0", "-0.5", "s"])
        ops = ["add_", "mul_"] if other[0] in "-2" else ["add_", "mul_", "sub_", "copy_"]
        self.lines.append(f"{name}.{self.random.choice(ops)}({other})")

    def assign(self) -> None:
        name = self.some(written=True)
        shape = self.shapes[name]
        if not shape:
            return
        at = self.random.choice(["0", "[0]", "...", f"t.tensor([{shape[0] - 1}])", "slice(None, None, 2)"])
        value = self.random.choice(["3.0", "s", f"{name}[{at}].detach() * 2"])
        self.lines.append(f"{name}[{at}] = {value}")

    def new(self) -> None:
        name = self.some()
        self.define(f"{name} {self.random.choice(['* 2', '+ s', '* s'])}", self.shapes[name])

    def look(self) -> None:
        if self.realise:
            self.lines.append(f"{self.some()}.tolist()")

    def run(self, module) -> tuple[dict[str, np.ndarray], list[np.ndarray | None]]:
        names = {"t": module}
        for name, array in (("a", np.arange(12.0).reshape(3, 4)), ("b", np.linspace(-1, 1, 12).reshape(3, 4)),
                            ("s", np.float64(1.5))):
            names[name] = module.tensor(array, requires_grad=True)
        exec("\n".join(self.lines), names)
        loss = sum((i + 1) * (names[n] * names[n]).sum() for i, n in enumerate(self.shapes))
        loss.backward()
        values = {n: names[n].detach().numpy().copy() for n in self.shapes}
        return values, [None if names[n].grad is None else names[n].grad.numpy() for n in "abs"]


@pytest.mark.parametrize("realise", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_random_program(seed: int, realise: bool) -> None:
    program = Program(seed, realise)
    try:
        values, grads = program.run(torch)
    except RuntimeError as error:  # PyTorch forbids some of what we allow: it needs a value that was overwritten
        assert "inplace" in str(error) or "in-place" in str(error) or "modified" in str(error)
        return
    with minigrad.device("numpy"):
        ours, our_grads = program.run(minigrad)
    text = "\n".join(program.lines)
    for name, value in values.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-9, err_msg=f"{name} in\n{text}")
    for expected, got in zip(grads, our_grads, strict=True):
        if expected is None or got is None:
            assert (expected is None or not expected.any()) and (got is None or not got.any()), text
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-9, err_msg=text)
