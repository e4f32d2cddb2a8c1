"""Stage: tests of lower. In: convolutions by windows of 3 × 3. Out: that F(2×2, 3×3) gives NumPy's sums, whatever the
sizes and the steps; what it is chosen for; what it takes of a thread's stack. Next: ``test_stages.py``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Alloc, Load, Prefetch
from minigrad.kernel.walk import statements
from minigrad.lower import lower
from minigrad.lower.neighbours import Chosen, neighbours
from minigrad.lower.winograd import on_both_axes, transform_filter, transform_image, transform_result
from minigrad.target import AVX512, NEON, SCALAR
from tests.unit.lower.specs import buffer, fetched, run, spec_of
from tests.unit.lower.test_windows import convolution, wanted
from tests.unit.render.harness import TARGETS as RUNNABLE

WIDE = [target for target in RUNNABLE if target is not SCALAR]


def checked(sizes, padding, steps, rng, images=2, channels=17, filters=20, targets=None):
    """The kernel by the steps, on every target that this machine can run, or those given, is NumPy's sum."""
    node, a, w = convolution(images, channels, sizes, filters, (3,) * len(sizes), padding, 1)
    x, y = rng.standard_normal(a.shape).astype("f"), rng.standard_normal(w.shape).astype("f")
    want = wanted(x, y, padding, 1)
    for target in targets or WIDE:
        made = replace(target, steps=(("*", (steps,)),))
        assert "winograd(" in lower(spec_of(node), made).strategies[0]
        got = run(spec_of(node), {a: x, w: y}, (), made, native=targets is None)[node]
        np.testing.assert_allclose(got, want, 1e-4, 1e-4, err_msg=target.name)


@pytest.mark.sample(8)
@pytest.mark.parametrize("sizes", [(8, 8), (9, 20), (31, 6), (7, 13), (12, 33)], ids=str)
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("steps", ["", "split(x1, 5)", "split(x2, 4), parallel(x2, 2)", "split(x2, 6), split(x1, 16)",
                                   "split(x0, 2)", "split(x0, 3), parallel(x2, 9)"])
def test_sizes_and_steps(sizes, padding, steps, rng):
    checked(sizes, padding, ", ".join(filter(None, ["winograd(x2, x3)", steps])), rng, images=4)


def test_windows_of_three_axes(rng):
    """The first is summed like a channel."""
    checked((4, 6, 9), 1, "winograd(x3, x4)", rng)


def test_one_image(rng):
    checked((11, 12), 1, "winograd(x1, x2), split(x1, 4)", rng, images=1)


def test_by_the_interpreter(rng):
    checked((5, 4), 1, "winograd(x1, x2)", rng, 1, 8, 8, [NEON])


def test_transforms_are_an_identity(rng):
    """Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A is the sum over the taps, exactly, of small integers."""
    d, g = rng.integers(-9, 9, (4, 4)) * 4.0, rng.integers(-9, 9, (3, 3)) * 4.0
    v, u = on_both_axes(transform_image, d), on_both_axes(transform_filter, g)
    m = np.reshape([a * b for a, b in zip(u, v, strict=True)], (4, 4))
    y = np.reshape(on_both_axes(transform_result, m), (2, 2))
    direct = [[(d[i:i + 3, j:j + 3] * g).sum() for j in (0, 1)] for i in (0, 1)]
    np.testing.assert_array_equal(y, direct)


@pytest.mark.parametrize(("channels", "filters", "size", "is_better"), [
    (64, 64, 56, True), (128, 128, 28, True), (512, 512, 7, True), (256, 256, 14, True), (3, 64, 56, False),
    (64, 4, 56, False), (64, 64, 2, False), (512, 512, 3, False)])
def test_it_is_chosen_where_it_costs_less(channels, filters, size, is_better):
    node, _, _ = convolution(8, channels, (size, size), filters, (3, 3), 1, 1)
    note, = lower(spec_of(node), replace(AVX512, winograd=True)).strategies
    assert note.startswith("winograd") == is_better
    assert not lower(spec_of(node), AVX512).strategies[0].startswith("winograd")


@pytest.mark.parametrize(("taps", "dilation"), [((3, 3), 2), ((5, 5), 1), ((3, 1), 1), ((2, 3), 1)])
def test_other_windows_are_summed(taps, dilation):
    node, _, _ = convolution(8, 64, (28, 28), 64, taps, 1, dilation)
    assert lower(spec_of(node), replace(AVX512, winograd=True)).strategies[0].startswith("contraction")


@pytest.mark.parametrize(("sizes", "channels", "filters"), [
    ((1000, 900), 64, 64), ((100, 100), 512, 512), ((16, 16), 1000, 400), ((9, 9), 64, 4000)])
def test_a_thread_has_room(sizes, channels, filters):
    """Scratch lies on a thread's stack, of 8 MiB where it is least."""
    node, _, _ = convolution(16, channels, sizes, filters, (3, 3), 1, 1)
    lowered = lower(spec_of(node), replace(AVX512, winograd=True))
    scratch = sum(x.array.size * x.array.dtype.size for x in statements([lowered.kernel.loop]) if isinstance(x, Alloc)
                  and x.array.scope == "scratch")
    assert lowered.strategies[0].startswith("winograd")
    assert 0 < scratch <= 6 << 20


def test_rows_that_are_too_long_are_summed():
    node, _, _ = convolution(16, 512, (40, 400), 512, (3, 3), 1, 1)
    assert lower(spec_of(node), replace(AVX512, winograd=True)).strategies[0].startswith("contraction")


def test_planes_lie_in_different_sets_of_the_cache():
    node, _, _ = convolution(8, 64, (32, 32), 64, (3, 3), 1, 1)
    lowered = lower(spec_of(node), replace(AVX512, winograd=True))
    sizes = {x.array.name[0]: x.array.size // 16 for x in statements([lowered.kernel.loop]) if isinstance(x, Alloc)}
    assert all(sizes[name] * 4 % 128 == 64 for name in "uvm"), "an odd number of lines apart"


@pytest.mark.parametrize(("steps", "why"), [
    ("winograd(x0, x1)", "no convolution in float32 by windows of 3 × 3 neighbours that are moved along these axes"),
    ("winograd(x2, x3), split(x3, 4)", "of filters, rows of results, or images: x1, x2, x0"),
    ("winograd(x2, x3), lanes(x3, 8)", "winograd has no such step; it has winograd, split, parallel"),
    ("winograd(x2, x3), split(x1, 64)", "of 2000 channels, 24 filters and tiles fit a thread's stack")])
def test_what_cannot_be_is_refused(steps, why):
    node, _, _ = convolution(2, 2000 if "stack" in why else 20, (8, 8), 100, (3, 3), 1, 1)
    with pytest.raises(ScheduleError, match=why):
        lower(spec_of(node), replace(AVX512, steps=(("*", (steps,)),)))


def test_steps_of_what_is_no_convolution_are_refused():
    a, b = buffer((40, 50)), buffer((40, 50))
    with pytest.raises(ScheduleError, match="no convolution"):
        lower(spec_of((a.binary("MUL", b)).reduce("SUM", (1,))),
              replace(AVX512, steps=(("*", ("winograd(x0, r0)",)),)))


def test_a_search_stays_with_it():
    node, _, _ = convolution(8, 256, (14, 14), 256, (3, 3), 1, 1)
    spec, target = spec_of(node), replace(AVX512, winograd=True)
    chosen = Chosen.read(lower(spec, target).strategies[0])
    assert chosen is not None and "split" in str(chosen.steps)
    found = neighbours(chosen, target)
    assert len(found) >= 4 and all(steps.named("winograd") for steps in found)
    made = []
    for steps in found:
        with suppress(ScheduleError):  # more than fits
            made += lower(spec, replace(target, steps=(("*", (str(steps),)),))).strategies
    assert len(made) >= 4 and all(note.startswith("winograd") for note in made)


@pytest.mark.parametrize(("images", "target", "fetches"), [(8, AVX512, True), (1, AVX512, False), (8, NEON, False)])
def test_places_of_the_next_panel_are_fetched(images, target, fetches):
    """Those of an image that does not fit the cache, by a machine of which it was measured."""
    node, a, _ = convolution(images, 64, (56, 56), 64, (3, 3), 1, 1)
    spec = spec_of(node)
    lowered = lower(spec, replace(target, winograd=True))
    found = [s for s in statements([lowered.kernel.loop]) if isinstance(s, Prefetch)]
    assert bool(found) == fetches and all(s.array.name == spec.memory[a].name for s in found)


def test_all_places_of_the_next_panel_are_fetched():
    """While a panel is multiplied, each line of the next one's rows once; by the last of all, its own again."""
    node, _, _ = convolution(2, 8, (12, 16), 8, (3, 3), 1, 1)
    target = replace(AVX512, l2=0, steps=(("*", ("winograd(x2, x3), split(x2, 4), parallel(x2, 100)",)),))
    lowered = lower(spec_of(node), target)
    seen = fetched(lowered.kernel)
    lines = {(e // 1536, e // 192 % 8, e // 16 % 12) for e in seen}  # image, channel, row of 16 numbers
    first = {(0, k, y) for k in range(8) for y in range(3)}  # only the first panel needs them
    assert {(n, k, y) for n in range(2) for k in range(8) for y in range(12)} - first <= lines
    assert len(seen) <= 6 * 8 * 8, "about as many as a panel has: 6 rows of 8 channels"


def test_filters_are_read_along_memory():
    """Whichever of filters and channels are neighbours are the lanes of the transform's loads."""
    node, _, w = convolution(8, 64, (32, 32), 64, (3, 3), 1, 1)
    spec = spec_of(node)
    lowered = lower(spec, replace(AVX512, winograd=True))
    name = spec.memory[w].name
    reads = [s.value for s in statements([lowered.kernel.loop]) if isinstance(getattr(s, "value", None), Load)
             and s.value.array.name == name]
    assert reads and all("3*l" in str(v.index) for v in reads)
