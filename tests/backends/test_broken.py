"""Stage: tests of other people's backends. In: devices that fail in every way there is. Out: each failure names kernel,
device and source, harms no tensor, leaves no half-made plan, and the other devices work on.
Next: ``minigrad/engine/compilation.py``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

import minigrad
from minigrad.conformance.__main__ import main
from minigrad.engine import plans
from minigrad.errors import CompileError, DeviceUnavailable, LaunchError, OutOfMemoryError, UnsupportedDType
from minigrad.runtime.device import Device, get_device
from minigrad.target import AVX2

Register = Callable[[str, type[Device]], None]


class Faults:
    """What a device under test is to do wrong; nothing, at first."""

    text: Callable[[str], str] | None = None  # what becomes of the rendered text
    compiled: Callable[[list], Any] | None = None  # what becomes of the programs
    launch: Callable[[int], None] | None = None  # gets the number of the launch, from 1
    room: float = float("inf")  # bytes


@pytest.fixture
def faults(openmp: ModuleType, register: Register) -> Faults:
    """Device FAULTY, and what is wrong with it."""
    wrong = Faults()

    class FaultyDevice(openmp.OpenMPDevice):
        name = "FAULTY"
        launches = 0

        def source(self, kernels):
            text = super().source(kernels)
            return wrong.text(text) if wrong.text else text

        def compile_text(self, text, names):
            programs = super().compile_text(text, names)
            return wrong.compiled(programs) if wrong.compiled else programs

        def launch(self, program, addresses, scalars, iterations):
            if wrong.launch:
                self.launches += 1
                wrong.launch(self.launches)
            super().launch(program, addresses, scalars, iterations)

        def allocate(self, nbytes):
            if nbytes > wrong.room:
                raise OSError("the shelf is full")
            return super().allocate(nbytes)

    register("FAULTY", FaultyDevice)
    return wrong


def tensor() -> minigrad.Tensor:
    return minigrad.tensor([1.0, -2.0, 3.0], device="faulty")


def others_work() -> bool:
    return (tensor().cpu() * 2 + 1).tolist() == [3, -3, 7]


def fails_at_first(wrong: Faults, error: type[Exception], words: str) -> str:
    """A program fails with such an error, twice; when the fault is mended, the same tensors have the right values. The
    message."""
    x = tensor()
    y = (x.exp() * x).sum() * 0 + x.relu()
    for _ in range(2):
        with pytest.raises(error, match=words) as found:
            y.tolist()
        assert x.tolist() == [1, -2, 3] and others_work()
        assert error is not CompileError or not any("FAULTY" in key for key in plans.families), "half a plan"
    vars(wrong).clear()
    assert y.tolist() == [1, 0, 3]
    return str(found.value)


def ends_with(message: str, words: str) -> bool:
    """Whether the last line says so, and which line of this file recorded what failed."""
    place = rf'first recorded at File "{re.escape(__file__)}", line \d+$'
    return re.search(f"{re.escape(words)}, {place}", message) is not None


def test_text_that_does_not_compile(faults: Faults) -> None:
    faults.text = lambda text: text.replace("const ", "konst ")
    message = fails_at_first(faults, CompileError, r"^device FAULTY cannot compile kernel \w+: ")
    assert "error: " in message and "#pragma omp parallel for" in message and "konst float *" in message
    assert ends_with(message, message.splitlines()[0]), "what a terminal shows last says why"


def test_the_guilty_one_of_several_kernels_is_named(faults: Faults) -> None:
    faults.text = lambda text: text.replace("fabsf", "konst")
    x = minigrad.ones(40, 40, device="faulty").realize()
    with pytest.raises(CompileError) as found:
        minigrad.realize(x.abs().sum(0) * 2, (x @ x).sum(1), x.T.contiguous())
    message = str(found.value)
    assert re.match(r"device FAULTY cannot compile kernel sum_mul_40: ", message) and message.count("void ") == 1


@pytest.mark.parametrize(("compiled", "words"), [
    (lambda programs: 1 / 0, "ZeroDivisionError: division by zero"),
    (lambda programs: programs[1:], "compile_text.. gives 0 programs for 1 kernels"),
    (lambda programs: None, "TypeError: "),
])
def test_a_compiler_that_fails(faults: Faults, compiled: Callable[[list], Any], words: str) -> None:
    faults.compiled = compiled
    message = fails_at_first(faults, CompileError, rf"^device FAULTY cannot compile kernel \w+: .*{words}")
    assert "#pragma omp parallel for" in message


def test_a_renderer_that_fails(faults: Faults) -> None:
    def fail(text: str) -> str:
        raise KeyError("float32")

    faults.text = fail
    message = fails_at_first(faults, CompileError, r"^device FAULTY cannot render kernel \w+: KeyError: 'float32'")
    assert "parallel p0 in 0.." in message, "there is no text, so the loop nest is shown"
    assert ends_with(message, ": KeyError: 'float32'")


def test_a_launch_that_raises(faults: Faults) -> None:
    def refuse(number: int) -> None:
        raise OSError("the cable came off")

    faults.launch = refuse
    words = r"^device FAULTY cannot launch kernel \w+: OSError: the cable came off"
    message = fails_at_first(faults, LaunchError, words)
    assert "#pragma omp parallel for" in message and ends_with(message, "OSError: the cable came off")


def test_a_later_launch_that_raises_undoes_what_was_overwritten(faults: Faults) -> None:
    def refuse(number: int) -> None:
        if number == 2:
            raise OSError("the cable came off")

    w = minigrad.ones(32, 32, device="faulty").realize()
    w.mul_(2)
    product = w @ w
    faults.launch = refuse
    with pytest.raises(LaunchError):
        minigrad.realize(w, product)
    assert get_device("FAULTY").launches == 2, "the first launch should have been made"
    faults.launch = None
    assert w.tolist() == [[2.0] * 32] * 32
    assert product.tolist() == [[128.0] * 32] * 32


def test_training_goes_on_after_an_error(faults: Faults) -> None:
    def losses(broken_at: int) -> list[float]:
        minigrad.manual_seed(0)
        plans.clear()
        model = minigrad.nn.Linear(3, 2).to("faulty")
        optimizer = minigrad.optim.Adam(model.parameters(), lr=0.1)
        found = []
        for step in range(4):
            optimizer.zero_grad()
            loss = (model(tensor().reshape(1, 3)) ** 2).sum()
            loss.backward()
            optimizer.step()
            if step == broken_at:
                faults.room = 0
                with pytest.raises(OutOfMemoryError):
                    (loss + 1).item()
                faults.room = float("inf")
            found.append(loss.item())
        return found

    assert losses(1) == losses(4)


def test_memory_that_is_refused(faults: Faults) -> None:
    x = minigrad.ones(1000, device="faulty").realize()
    faults.room = 3000
    y = x + 1
    with pytest.raises(OutOfMemoryError, match="^device FAULTY cannot allocate 4000 bytes: OSError: the shelf is full"):
        y.realize()
    with pytest.raises(MemoryError, match="device FAULTY cannot allocate 4000 bytes"):
        minigrad.tensor([1.0] * 1000, device="faulty")
    assert x.tolist() == [1.0] * 1000 and others_work()
    faults.room = 4000
    assert y.tolist() == [2.0] * 1000


def test_a_plan_that_fails_later_leaves_the_earlier_ones(faults: Faults) -> None:
    """The second of two programs that differ in a constant is compiled for all constants. If that fails, the first must
    still have its plan."""
    def refuse(programs: list) -> None:
        raise AssertionError("compiled")

    x = tensor()
    assert (x * 2.5).tolist() == [2.5, -5, 7.5]
    faults.compiled = refuse
    with pytest.raises(CompileError, match="AssertionError: compiled"):
        (x * 3.5).tolist()
    assert (x * 2.5).tolist() == [2.5, -5, 7.5]
    faults.compiled = None
    assert (x * 3.5).tolist() == [3.5, -7, 10.5] and (x * 4.5).tolist() == [4.5, -9, 13.5]


def test_wrong_code_is_found_by_conformance(faults: Faults, capsys: pytest.CaptureFixture[str]) -> None:
    faults.text = lambda text: re.sub(r"([^=;]) - ([^;]*;)", r"\1 + \2", text)
    assert main(["FAULTY", "--only", r"^program/softmax-5x17-over-1/float32"]) == 1
    printed = capsys.readouterr()
    assert re.search(r"^program +0 +0 +1$", printed.out, re.MULTILINE)
    report = printed.out[printed.out.index("FAILED program/softmax-5x17-over-1/float32: element "):]
    assert re.search(r"%2 = SUB\(%0, %1\) .*<- output", report), "the smallest failing part"
    assert "void sub_5x17(" in report and "#pragma omp parallel for" in report
    assert "failed: program/softmax" in printed.err


def test_conformance_reports_a_device_that_raises(faults: Faults, capsys: pytest.CaptureFixture[str]) -> None:
    faults.text = lambda text: text.replace("sqrtf", "konst")
    assert main(["FAULTY", "--only", "^elementwise/(SQRT|NEG)-.*scalar.*/float32"]) == 1
    out = capsys.readouterr().out
    failed = re.findall(r"FAILED (\S+): raises CompileError: device FAULTY cannot compile kernel sqrt", out)
    assert failed and all(name.startswith("elementwise/SQRT") for name in failed)


def test_a_device_that_does_not_start(register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    class Stuck(Device):
        name = "STUCK"

        def __init__(self, index: int = 0) -> None:
            raise OSError("the door is locked")

    register("STUCK", Stuck)
    with pytest.raises(DeviceUnavailable, match="device STUCK does not start: OSError: the door is locked"):
        minigrad.ones(2, device="stuck").tolist()
    assert main(["STUCK"]) == 2
    assert capsys.readouterr().err == "device STUCK does not start: OSError: the door is locked\n"


@pytest.mark.parametrize(("name", "words"), [
    ("AWAY", "device AWAY is not available on this machine: it is at the workshop"),
    ("NOSUCH", "Expected one of cpu, .* device type at start of device string: NOSUCH"),
    ("CPU:7", "invalid device ordinal in 'CPU:7'"),
])
def test_conformance_without_a_device(name: str, words: str, register: Register,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    class Away(Device):
        name = "AWAY"

        @classmethod
        def unavailable(cls) -> str:
            return "it is at the workshop"

    register("AWAY", Away)
    assert main([name]) == 2
    assert re.match(words, capsys.readouterr().err)


def test_a_device_without_float64(openmp: ModuleType, register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    class SingleDevice(openmp.OpenMPDevice):
        name = "SINGLE"
        target = replace(AVX2, float64=False)

    register("SINGLE", SingleDevice)
    x = minigrad.tensor([1.0, 1.0, 1.0], dtype=minigrad.float64, device="single")
    y = x.exp() * 2
    with pytest.raises(UnsupportedDType, match=r"^device SINGLE has no float64, and kernel \w+ needs it: it computes "
                                               r"\w+ in float64. Use float32 \(tensor.float\(\)\), or another device"):
        y.tolist()
    assert (x.cpu().float() * 2).tolist() == [2, 2, 2]
    assert main(["SINGLE", "--only", "^elementwise/(CAST|ADD)-.*scalar"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^skipped \d+: device SINGLE has no float64$", out, re.MULTILINE)
