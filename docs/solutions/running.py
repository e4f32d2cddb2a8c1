"""Running: a kernel of the device CC, compiled and called by hand."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import minigrad


def main() -> None:
    x = minigrad.rand(100, 30).realize()
    with minigrad.inspect(device="CC", run=False) as seen:
        expected = (x * 2 + 1).relu().realize()
    (kernel,) = seen.kernels
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        source.write_text(kernel.source)
        subprocess.run(["cc", "-O2", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", source, "-o", library,
                        "-lm"], check=True)
        function = getattr(ctypes.CDLL(str(library)), kernel.name)
    data, out = x.numpy().copy(), np.empty((100, 30), np.float32)
    arrays = (ctypes.c_void_p * 2)(data.ctypes.data, out.ctypes.data)  # inputs first, then what is written
    iterations = int(kernel.kernel.lowered.kernel.loop.stop.args[0])
    function(arrays, None, ctypes.c_int64(0), ctypes.c_int64(iterations))  # no run-time numbers
    print(out[0, :5], expected[0, :5])
    assert (out == expected.numpy()).all()


if __name__ == "__main__":
    main()
