import numpy as np
import pytest

from minigrad import config
from minigrad.errors import CompileError, DeviceUnavailable
from minigrad.runtime import cache, cc
from minigrad.runtime.device import get_device
from minigrad.runtime.native import Step

pytestmark = pytest.mark.skipif(cc.compiler() is None, reason="no C compiler")


@pytest.fixture
def device():
    return get_device("CC")


def run_add(device, program, n=1000, s=2.5):
    x, y = np.arange(float(n)), np.zeros(n)
    device.native([Step(program, (0, 1), (0,), n, 10)], 2, "d").run([x.ctypes.data, y.ctypes.data], [s])
    return y


def test_c_becomes_functions(device, add_c):
    one, two = device.compile_text(add_c("one") + add_c("two"), ["one", "two"])
    assert one.address != two.address
    for program in (one, two):
        assert np.array_equal(run_add(device, program), np.arange(1000.0) + 2.5)


def test_the_disk_cache_saves_the_compiler(device, add_c, cache_dir, monkeypatch):
    device.compile_text(add_c("kept"), ["kept"])
    calls = []
    monkeypatch.setattr(cc, "_compile", lambda *arguments: calls.append(arguments))
    program, = device.compile_text(add_c("kept"), ["kept"])
    assert run_add(device, program)[1] == 3.5 and not calls


def test_a_damaged_entry_is_compiled_again(device, add_c, cache_dir):
    device.compile_text(add_c("damaged"), ["damaged"])
    path, = (cache_dir / "objects").glob("?" * 64)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert run_add(device, device.compile_text(add_c("damaged"), ["damaged"])[0])[1] == 3.5
    assert len(path.read_bytes()) == len(whole)
    cache.store(path.name, b"intact, but no library")
    assert run_add(device, device.compile_text(add_c("damaged"), ["damaged"])[0])[1] == 3.5
    assert len(path.read_bytes()) == len(whole)


def test_an_error_names_device_kernel_output_and_source(device, add_c):
    broken = add_c("broken").replace("a[i] + s", "a[i] + t")
    with pytest.raises(CompileError) as caught:
        device.compile_text(add_c("fine") + broken + add_c("last"), ["fine", "broken", "last"])
    message = str(caught.value)
    assert message.startswith("device CC cannot compile kernel broken: ")
    assert "undeclared" in message and "a[i] + t" in message
    assert run_add(device, device.compile_text(add_c("after"), ["after"])[0])[1] == 3.5


def test_a_missing_function_is_an_error(device, add_c):
    with pytest.raises(CompileError, match="kernel other: the source does not define it"):
        device.compile_text(add_c("add"), ["other"])


def test_products_and_sums_are_not_contracted(device):
    text = """
#include <stdint.h>
void product(void **arrays, const int64_t *scalars, int64_t begin, int64_t end) {
  double *a = arrays[0];
  a[3] = a[0] * a[1] + a[2];
}"""
    program, = device.compile_text(text, ["product"])
    a = np.array([1 + 2.0**-30, 1 + 2.0**-30, -1.0, 0])
    device.native([Step(program, (0,))], 1).run([a.ctypes.data])
    assert a[3] == a[0] * a[1] + a[2] != 2.0**-29 + 2.0**-60


def test_settings_choose_compiler_and_flags(device, add_c):
    with config.config(CFLAGS="-DADDED=100"):
        program, = device.compile_text(add_c("flagged").replace("+ s", "+ s + ADDED"), ["flagged"])
    assert run_add(device, program)[0] == 102.5
    with config.config(CC="no-such-compiler"), pytest.raises(DeviceUnavailable, match="'no-such-compiler'"):
        device.compile_text(add_c("other"), ["other"])
