"""Stage: tests of devices. In: a sample of the conformance suite, each case by itself. Out: no kernel's text is longer
than 64 KB, in whatever language; of a walk, for each of the up to four forms of its block. Next:
``test_sanitizers.py``."""

from __future__ import annotations

import pytest

from minigrad.conformance import cases
from minigrad.engine.details import preview
from minigrad.engine.walk import walk
from minigrad.graph.lazy import toposort
from minigrad.ops import Op

LONGEST = 64 << 10


@pytest.mark.parametrize("device, count, every", [("CPU", 1, 8), ("CUDA", 1, 16), *[
    pytest.param(name, 4, 1, marks=pytest.mark.slow) for name in ("CPU", "CC", "OPENCL", "CUDA")]])
def test_no_kernel_is_longer_than_64_kb(device, count, every, seed):
    lengths = {}
    for case in cases(count, seed)[seed % every::every]:
        if case.raises is None:
            outputs = list(case.build("CPU").outputs)
            if not any(node.op in (Op.HOST, Op.COPY) for node in toposort(outputs)):
                for kernel in preview(walk(outputs), device).kernels:
                    forms = 4 if any("(streams " in line for line in kernel.lowered.strategies) else 1
                    length = len(kernel.device.source([kernel.lowered.kernel]))
                    lengths[f"{case}: {kernel.name}"] = length / forms
    assert len(lengths) > 8
    assert not {name: length for name, length in lengths.items() if length > LONGEST}
