"""Stage: tests of ``python -m tools.bench random``: the programs it draws, their gradients by hand, and its verdict.
Nothing is timed here but one small program.
Next: ``tools/bench/README.md``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tools.bench import campaign, cli
from tools.bench.drawing import EXPRESSIONS
from tools.bench.drawn_models import TRAINED
from tools.bench.figures import Measured
from tools.bench.layers import (
    ACTIVATIONS,
    Activation,
    Chain,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    MeanOfImage,
    Norm,
    Residual,
)
from tools.bench.libraries import LIBRARIES, is_installed
from tools.bench.measure import Session
from tools.bench.operations import OPERATIONS, Operation, Value
from tools.bench.sequences import CELLS, Embedding, Positions, Recurrent, SelfAttention, transformer_block
from tools.bench.suites import BY_NAME
from tools.bench.worker import Server, reference

ROOT = Path(__file__).resolve().parents[3]
MANY = [row for seed in range(20) for row in campaign.programs(seed, 40)]


def samples(*seconds: float) -> Measured:
    return Measured(dict(enumerate(seconds)))


# --- what is drawn ----------------------------------------------------------------------------------------------------

def test_a_seed_draws_the_same_programs_in_every_process() -> None:
    def listed(seed: int, hashes: str) -> str:
        return subprocess.run([sys.executable, "-m", "tools.bench", "random", "--seed", str(seed), "--programs", "20",
                               "--list"], cwd=ROOT, timeout=120, capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONHASHSEED": hashes}).stdout

    assert listed(5, "1") == listed(5, "2") != listed(6, "1")
    a, b = (campaign.draw("random-5-1").inputs() for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_every_kind_is_drawn_in_the_first_twenty() -> None:
    assert {*campaign.KINDS} == {*EXPRESSIONS, *TRAINED} and len(campaign.KINDS) == 20
    kinds = [row.what.split(":")[0].removesuffix(" step") for row in campaign.programs(3, 20)]
    assert kinds == [*campaign.KINDS]


def test_every_operation_is_drawn_in_some_program() -> None:
    def pattern(operation: Operation) -> str:
        return re.sub(r"\\{.*?\\}", ".*", re.escape(operation.pytorch)) + "[;,]"

    texts = [row.what for row in MANY]
    missing = [name for name, operation in OPERATIONS.items()
               if not any(re.search(pattern(operation), text + ";") for text in texts)]
    assert not missing


def test_the_geometries_that_are_asked_for_are_drawn() -> None:
    text = "\n".join(row.what for row in MANY)
    for found in (r"conv2d\(.*stride=[23]", r"dilation=2", r"groups=[234]\)", r"b \d+x1x3x3", r"b \d+x\d+x1x1",
                  "conv1d", r"v1 = a.transpose\(-1, -2\); v2 = v1 @ b;", r"v1 = b.transpose\(-1, -2\); v2 = a @ v1",
                  r"product:.*; a \d+x\d+x\d+,", "depthwise", "residual", "LSTM", "GRU", r"\d RNN", "causal",
                  r"(sum|mean|amax|var|logsumexp)\(\(0, 2\)"):
        assert re.search(found, text), found


def test_an_unknown_name_is_no_program() -> None:
    for name in ("chain_2", "random-7", "random-7-x", "other-7-1"):
        with pytest.raises(KeyError):
            campaign.draw(name)


# --- each library computes the same -----------------------------------------------------------------------------------

def small(kind: str) -> list[str]:
    """The names of the two smallest programs of a kind."""
    return [row.name for row in sorted(MANY, key=lambda row: row.work) if row.what.startswith(kind)][:2]


@pytest.mark.parametrize("library", ["minigrad", "minigrad-jit", "torch", "jax"])
@pytest.mark.parametrize("kind", sorted({*EXPRESSIONS, *TRAINED}))
def test_programs_agree_with_numpy(kind: str, library: str, tmp_path: Path) -> None:
    if not is_installed(library):
        pytest.skip(f"{library} is not installed")
    server = Server(LIBRARIES[library]())
    names = small(kind)
    assert names
    for name in names[:2 if library == "minigrad" else 1]:
        right = tmp_path / "right.npy"
        np.save(right, reference(BY_NAME[name]))
        assert server.prepare(name, str(right))["error"] < BY_NAME[name].tolerance, BY_NAME[name].what


@pytest.mark.parametrize("kind", sorted(TRAINED))
def test_steps_change_the_loss_by_more_than_may_be_wrong(kind: str) -> None:
    row = BY_NAME[small(kind)[0]]
    losses = reference(row)
    assert abs(losses[-1] - losses[0]) > 3 * row.tolerance * losses[0]


LAYERS: dict[str, tuple[tuple[int, ...], Chain]] = {
    "linear": ((3, 4, 5), Chain((Linear(5, 6), Linear(6, 2, bias=False)))),
    **{name: ((3, 7), Chain((Linear(7, 5), Activation(name), Linear(5, 3)))) for name in ACTIVATIONS},
    "layer_norm": ((3, 4, 6), Chain((Linear(6, 5), Norm(5), Linear(5, 2)))),
    "batch_norm": ((3, 2, 4, 4), Chain((Conv2d(2, 3, 1), Norm(3, batch=True), Activation("tanh")))),
    "convolution": ((2, 4, 7, 7), Chain((Conv2d(4, 4, 1), Conv2d(4, 6, 3, 2, 2, 2, 2)))),
    "pool": ((2, 2, 7, 7), Chain((Conv2d(2, 3, 3, 1, 1), MaxPool(3, 2, 1), MeanOfImage()))),
    "residual": ((2, 5), Chain((Linear(5, 4), Residual(Chain((Linear(4, 3),)), Chain((Linear(4, 3),))),
                                Residual(Chain((Linear(3, 3),)))))),
    "flatten": ((2, 3, 4, 5), Chain((Linear(5, 3), Flatten(1, 2), Flatten(0, 1)))),
    "attention": ((2, 5, 12), Chain((Linear(12, 12), SelfAttention(2, causal=False)))),
    "block": ((2, 5, 4), Chain(transformer_block(4, 2))),
    "positions": ((2, 5, 4), Chain((Positions(6, 4), Linear(4, 2)))),
    **{name: ((4, 3, 5), Chain((Recurrent(name, 5, 4), Recurrent(name, 4, 3)))) for name in CELLS},
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradients_of_the_layers_match_central_differences(name: str) -> None:
    shape, layers = LAYERS[name]
    generator = np.random.default_rng(0)
    x, *weights = [generator.standard_normal(s) for s in (shape, *(w.shape for w in layers.weights()))]
    y, back = layers.numpy(x, weights)
    assert y.shape == layers.output(shape)
    g = generator.standard_normal(y.shape)
    d_x, gradients = back(g)
    for value, gradient in zip([x, *weights], [d_x, *gradients], strict=True):
        assert value.shape == gradient.shape
        direction = generator.standard_normal(value.shape)
        saved = value.copy()
        sums = []
        for step in (1e-6, -1e-6):
            value[...] = saved + step * direction
            sums.append((layers.numpy(x, weights)[0] * g).sum())
        value[...] = saved
        assert (gradient * direction).sum() == pytest.approx((sums[0] - sums[1]) / 2e-6, rel=1e-5, abs=1e-6)


def test_an_embedding_adds_the_gradients_of_equal_tokens() -> None:
    table = np.arange(8.0).reshape(4, 2)
    y, back = Embedding(4, 2).numpy(np.array([[1, 1, 3]]), [table])
    assert y.tolist() == [[[2, 3], [2, 3], [6, 7]]]
    assert back(np.ones((1, 3, 2)))[1][0].tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


def test_flops_are_those_of_the_products() -> None:
    layers: list[tuple[Layer, tuple[int, ...], int]] = [
        (Linear(5, 6), (3, 4, 5), 2 * 12 * 5 * 6), (Conv2d(4, 6, 3, 2, 1, groups=2), (2, 4, 8, 8), 2 * 2 * 6 * 16 * 18),
        (Recurrent("GRU", 5, 4), (7, 3, 5), 2 * 21 * 12 * 9), (SelfAttention(2, False), (2, 5, 12), 2 * 2 * 2 * 25 * 4)]
    for layer, shape, flops in layers:
        assert layer.flops(shape) == flops, layer


# --- the verdict ------------------------------------------------------------------------------------------------------

def test_compilers_are_compared_with_the_jit_and_others_with_the_plain_program() -> None:
    row = {"minigrad": samples(2.0), "minigrad-jit": samples(1.0), "torch": samples(3.0), "jax": samples(1.9)}
    assert campaign.best_peer(row) == campaign.Best(1.5, "torch")
    assert campaign.best_peer({"minigrad": samples(2.0), "jax": samples(1.9)}) == campaign.Best(0.95, "jax")
    assert campaign.best_peer({"minigrad": Measured(), "jax": samples(1.9)}) is None
    assert campaign.best_peer({"minigrad": samples(1.0)}) is None


def test_the_verdict() -> None:
    rows = {f"random-1-{at}": {"minigrad": samples(1.0), "torch": samples(ratio)}
            for at, ratio in enumerate([2.0] * 18 + [0.5] * 2)}
    verdict = campaign.judge(rows)
    assert verdict.mean == pytest.approx(2.0**0.8) and verdict.slow == ["random-1-18", "random-1-19"] and verdict.passed
    rows["random-1-18"]["torch"] = samples(1.0)
    rows["random-1-8"]["torch"] = rows["random-1-9"]["torch"] = samples(0.89)
    assert not campaign.judge(rows).passed
    rows["random-1-8"]["torch"] = rows["random-1-9"]["torch"] = samples(0.9)
    assert campaign.judge(rows).passed
    rows["random-1-0"]["torch"] = Measured(reason="wrong result", wrong=True)
    assert campaign.judge(rows).passed, "a peer's failure is not minigrad's"
    rows["random-1-0"]["minigrad-jit"] = Measured(reason="no answer within 60 s", over=60.0)
    assert campaign.judge(rows).failures == ["random-1-0"] and not campaign.judge(rows).passed
    rows["random-1-0"]["minigrad-jit"] = Measured(reason="wrong result", wrong=True)
    assert campaign.judge(rows).wrong == ["random-1-0"] and not campaign.judge(rows).passed
    assert not campaign.judge({}).passed


@pytest.mark.parametrize("wrong", [False, True])
def test_a_wrong_number_fails_the_run(wrong: bool, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    def saved(self: Session, workload: campaign.Workload) -> Path:
        path = self.folder / "reference.npy"
        np.save(path, reference(workload) + wrong)
        return path

    monkeypatch.setattr(Session, "reference", saved)
    monkeypatch.setattr(Session, "limits", lambda self: {})
    monkeypatch.setattr(campaign, "LEAST_MEAN", 0.0)
    monkeypatch.setattr(campaign, "SLOW", 0.0)
    arguments = ["random", "--seed", "7", "--programs", "2", "--only", "7-1$", "--rounds", "1", "--peers", "numpy"]
    assert cli.main([*arguments, "--check"]) == int(wrong)
    out = capsys.readouterr().out
    assert "seed 7\n" in out and f"wrong numbers: {'1' if wrong else '0'}" in out
    assert ("minigrad: wrong result: off by" in out) is wrong


def test_a_seed_is_drawn_and_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "measure_all", lambda *a: cli.report.Run("", {}, {}))
    seeds = set()
    for _ in range(2):
        assert cli.main(["random", "--programs", "1"]) == 0
        seeds.add(re.search(r"^seed (\d+)$", capsys.readouterr().out, re.MULTILINE).group(1))  # type: ignore[union-attr]
    assert len(seeds) == 2


def test_a_value_used_twice_is_computed_once() -> None:
    a = Value("a", (2,))
    twice = Value("tanh", (2,), (a,))
    assert Value("add", (2,), (twice, twice)).text("pytorch") == "v1 = a.tanh(); v2 = v1 + v1"
    add = partial(Value("add", (2,), (twice, twice)).function("numpy", 1), np)
    assert add(np.zeros(2)).tolist() == [0, 0]
