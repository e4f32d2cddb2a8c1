"""Stage: tests of devices. In: a sample of the conformance suite and of random programs. Out: the C that DEBUG=4 prints
compiles without a warning and gives the CPU device's results to the bit; the sanitizers find nothing in it, nor in the
thread pool, and find what is planted. ``python -m tools.sanitize`` takes all.
Next: ``test_conformance.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from minigrad.conformance import cases
from minigrad.dtype import DType, float32, int32
from minigrad.kernel.ir import Apply, Array, Const, For, Index, Kernel, Load, Store
from minigrad.runtime.cc import compiler
from minigrad.runtime.pool import source
from minigrad.symbolic import num, var
from tools.sanitize import replay as replays
from tools.sanitize.__main__ import alone, fuzzed, together
from tools.sanitize.pool import instrumented, sanitize_pool
from tools.sanitize.record import Block, Launch, Recording, recording, same_bits
from tools.sanitize.replay import MODES, SANITIZERS, missing, replay

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler: cc, gcc and clang are not on the PATH")


def _needs(mode: str, folder: Path) -> None:
    if reason := missing(folder, mode):
        pytest.skip(reason)


def _recorded(steps: Callable[[Recording], Iterator[None]]) -> list[Launch]:
    with recording() as made:
        for _ in steps(made):
            pass
    return made.take()


@pytest.fixture(scope="module", params=[3, pytest.param(1, marks=pytest.mark.slow)])
def suite(request: pytest.FixtureRequest) -> list[Launch]:
    """What every how many-th case launches: a C compiler takes its time, with sanitizers more."""
    seed, every = request.config.getoption("--seed"), request.param
    return _recorded(lambda made: alone(made, cases(1, seed)[seed % every::every]))


@pytest.mark.parametrize("mode", MODES)
def test_the_suite(mode: str, suite: list[Launch], tmp_path: Path, sampled: Callable[[str], None]) -> None:
    _needs(mode, tmp_path)
    assert [*map(str, replay(suite, tmp_path, mode))] == []
    kernels = len({launch.kernel for launch in suite})
    assert kernels > 50
    sampled(f"{mode}: {kernels} kernels of the conformance suite, each array fenced")


@pytest.mark.parametrize("start, count", [(0, 10), pytest.param(10, 200, marks=pytest.mark.slow)])
def test_random_programs(start: int, count: int, seed: int, tmp_path: Path, sampled: Callable[[str], None]) -> None:
    launches = _recorded(lambda made: fuzzed(made, range(1000 * seed + start, 1000 * seed + start + count)))
    for mode in SANITIZERS:
        _needs(mode, tmp_path)
        assert [*map(str, replay(launches, tmp_path, mode))] == []
    kernels = len({launch.kernel for launch in launches})
    assert kernels > count
    sampled(f"sanitizers: {kernels} kernels of {count} random programs")


@pytest.mark.slow
def test_plans_of_many_cases(seed: int, tmp_path: Path) -> None:
    launches = _recorded(lambda made: together(made, cases(1, seed)))
    for mode in SANITIZERS:
        _needs(mode, tmp_path)
        assert [*map(str, replay(launches, tmp_path, mode))] == []


def _planted(past: int = 0, step: int = 1, dtype: DType = float32, shift: int = 0, shared: bool = False) -> Launch:
    """``y[i * step] = x[i] + 1`` over 100 elements and ``past`` more. ``shift``: how many bytes both are from where
    they belong. ``shared``: both are one array."""
    i = var("i", 0, 99 + past)
    x, y = Array("x", dtype, 100), Array("y", dtype, 100, written=True)
    store = Store(y, i * step, Apply("ADD", (Load(x, i), Const(1, dtype)), dtype))
    kernel = Kernel("planted", (x, y), (), For(i, num(0), num(100 + past), 1, "parallel", (store,)))
    before = np.arange(100, dtype=dtype.numpy)
    after = before + 1 if step else np.zeros(100, dtype.numpy)
    blocks = [Block(shift, before.tobytes(), (after if shared else before).tobytes()),
              Block(shift, bytes(400), after.astype(dtype.numpy).tobytes())]
    places = ((0, 0, 400), (0 if shared else 1, 0, 400))
    return Launch(kernel, 100 + past, tuple(blocks[:1] if shared else blocks), places, (), "a test")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_found_where_nothing_is_wrong(mode: str, shared: bool, tmp_path: Path) -> None:
    _needs(mode, tmp_path)
    assert [*map(str, replay([_planted(shared=shared), _planted(shift=4)], tmp_path, mode))] == []


def test_accesses_outside_an_array_are_found(tmp_path: Path) -> None:
    """The first is for the read, the second for the write; the results are right."""
    _needs("address", tmp_path)
    found = list(replay([_planted(past=1)], tmp_path, "address"))
    assert [f.kind for f in found] == ["heap-buffer-overflow"] * 2
    assert "x[i]" in found[0].line and found[0].source.startswith("a test, kernel k0_planted")


def test_memory_that_is_not_aligned_is_found(tmp_path: Path) -> None:
    _needs("address", tmp_path)
    kinds = {f.kind for f in replay([_planted(shift=2)], tmp_path, "address")}
    assert any("misaligned address" in kind for kind in kinds)


@pytest.mark.parametrize("right, wrong, kind", [
    ("x[i]", "(x[i] + 2147483647)", "signed integer overflow: N + N cannot be represented in type 'int'"),
    ("x[i]", "(int32_t)(x[i] * 1e10)", "N is outside the range of representable values of type 'int'"),
    ("x[i]", "(1 << (x[i] + 32))", "shift exponent N is too large for N-bit type 'int'"),
])
def test_what_c_leaves_undefined_is_found(right: str, wrong: str, kind: str, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    _needs("address", tmp_path)
    render = replays.render_c
    monkeypatch.setattr(replays, "render_c", lambda kernels: render(kernels).replace(right, wrong))
    kinds = [f.kind for f in replay([_planted(dtype=int32)], tmp_path, "address")]
    assert kind in kinds and "another result than the recorded one" in kinds


def test_iterations_that_write_one_element_are_found(tmp_path: Path) -> None:
    _needs("thread", tmp_path)
    assert "data race" in {f.kind for f in replay([_planted(step=0)], tmp_path, "thread")}


def test_iterations_that_read_what_others_write_are_found(tmp_path: Path) -> None:
    """``x[99 - i] = x[i]``: only where both are one array."""
    _needs("thread", tmp_path)
    x, i = Array("x", float32, 100, written=True), var("i", 0, 99)
    body = (Store(x, num(99) - i, Load(x, i)),)
    kernel = Kernel("mirrored", (x,), (), For(i, num(0), num(100), 1, "parallel", body))
    launch = Launch(kernel, 100, (Block(0, bytes(400), bytes(400)),), ((0, 0, 400),), (), "a test")
    assert {f.kind for f in replay([launch], tmp_path, "thread")} == {"data race"}


def test_a_recording_has_each_launch_once() -> None:
    i, x = var("i", 0, 3), Array("x", float32, 4, written=True)
    kernels = [Kernel(name, (x,), (), For(i, num(0), num(4), 1, "parallel", (Store(x, i, Index(i, float32)),)))
               for name in ("a", "b")]
    made = Recording()
    assert made.kernel(kernels[0]) is made.kernel(kernels[1]) is kernels[0] and made.kernels == 1
    for before in (bytes(16), bytes(16), b"1" * 16):
        made.add(Launch(kernels[0], 4, (Block(0, before, before),), ((0, 0, 16),), (), ""))
    assert (made.launched, made.distinct) == (3, 2) and len(made.take()) == 2 and made.take() == []


def test_a_difference_of_one_bit_is_seen() -> None:
    one = np.float32([1.0])
    assert same_bits(one, one.copy(), float32)
    assert not same_bits(one, np.nextafter(one, np.float32(2)), float32)
    assert not same_bits(np.float32([0.0]), np.float32([-0.0]), float32)
    assert same_bits(np.float32([np.nan]), -np.float32([np.nan]), float32)


@pytest.mark.parametrize("rounds", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_the_pool(rounds: int, seed: int, tmp_path: Path) -> None:
    _needs("thread", tmp_path)
    assert [*map(str, sanitize_pool(tmp_path, rounds, seed))] == []


@pytest.mark.parametrize("right, weaker", [
    ("atomicrmw add ptr %done.at, i64 1 release", "atomicrmw add ptr %done.at, i64 1 monotonic"),
    ("store atomic i64 %new, ptr %pool seq_cst", "store atomic i64 %new, ptr %pool monotonic"),
])
def test_a_weaker_pool_is_found(right: str, weaker: str, seed: int, tmp_path: Path) -> None:
    _needs("thread", tmp_path)
    assert right in source()
    found = sanitize_pool(tmp_path, 200, seed, source().replace(right, weaker))
    assert "data race" in {f.kind for f in found}


def test_every_access_of_the_pool_is_told() -> None:
    with pytest.raises(ValueError, match="an access to memory that is not known: %x = load volatile i64, ptr %p"):
        instrumented("define void @f(ptr %p) {\n  %x = load volatile i64, ptr %p\n  ret void\n}")
    text = instrumented("define void @f(ptr %p) {\nentry:\n  store i64 1, ptr %p ; one\n  ret void\n}").split("\n")
    assert text[:7] == ["define void @f(ptr %p) {", "entry:", "call void @__tsan_func_entry(ptr null)",
                        "call void @__tsan_write_range(ptr %p, i64 8)", "store i64 1, ptr %p",
                        "call void @__tsan_func_exit()", "ret void"]
