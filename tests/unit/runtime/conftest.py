"""Kernels as text, for tests that need code to run but no compiler above this room."""

import os
import subprocess
import sys

import pytest

ADD = """
define void @NAME(ptr %arrays, ptr %scalars, i64 %begin, i64 %end) {
entry:
  %a = load ptr, ptr %arrays
  %b.at = getelementptr ptr, ptr %arrays, i64 1
  %b = load ptr, ptr %b.at
  %s = load double, ptr %scalars
  br label %head

head:
  %i = phi i64 [ %begin, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %exit

body:
  %from = getelementptr double, ptr %a, i64 %i
  %x = load double, ptr %from
  %y = fadd double %x, %s
  %to = getelementptr double, ptr %b, i64 %i
  store double %y, ptr %to
  %i.next = add i64 %i, 1
  br label %head

exit:
  ret void
}
"""

ADD_C = """
#include <stdint.h>
void NAME(void **arrays, const int64_t *scalars, int64_t begin, int64_t end) {
  const double *a = arrays[0];
  double *b = arrays[1], s = *(const double *)scalars;
  for (int64_t i = begin; i < end; i++) b[i] = a[i] + s;
}
"""


@pytest.fixture
def add_text():
    """LLVM IR of ``b[i] = a[i] + s`` in float64, under the name given."""
    return lambda name="add": ADD.replace("NAME", name)


@pytest.fixture
def add_c():
    """The same in C."""
    return lambda name="add": ADD_C.replace("NAME", name)


@pytest.fixture
def cpu():
    from minigrad.runtime.device import get_device

    return get_device("CPU")


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    """A disk cache of the test's own."""
    monkeypatch.setenv("MINIGRAD_CACHE", "1")
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def python():
    """Run Python source in a process of its own and give back what it printed."""

    def run(source: str, timeout: float = 60.0, **environment: str) -> str:
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **environment}, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
