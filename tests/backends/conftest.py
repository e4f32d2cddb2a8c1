"""Stage: tests of other people's backends. In: ``examples/backend_from_scratch``. Out: fixtures: the example's module,
and a registry in which a test may register what it likes. Next: ``test_example.py``, then ``test_broken.py``."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from minigrad.engine import plans
from minigrad.runtime import device as devices
from minigrad.runtime.device import Device, register_device

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "backend_from_scratch"


@pytest.fixture(scope="session")
def openmp(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The example's module, where there is a compiler with OpenMP."""
    spec = importlib.util.spec_from_file_location("minigrad_openmp", EXAMPLE / "minigrad_openmp.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["minigrad_openmp"] = module
    spec.loader.exec_module(module)
    reason = module.OpenMPDevice.unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text("#include <omp.h>\nint f(void) { return omp_get_max_threads(); }\n")
    command = ["cc", *module.FLAGS, "probe.c", "-o", "probe.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cc has no OpenMP: {done.stderr}")
    return module


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, type[Device]], None]]:
    """As ``minigrad.register_device``, until the end of the test."""
    monkeypatch.setattr(devices, "_registry", dict(devices._registry))
    monkeypatch.setattr(devices, "_devices", dict(devices._devices))
    monkeypatch.setattr(devices, "_names", {})
    plans.clear()
    yield register_device
    plans.clear()
