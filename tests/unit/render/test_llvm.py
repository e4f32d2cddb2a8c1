"""Stage: tests. In: kernels as LLVM IR. Out: that the text is what a machine can run without passes: registers are SSA
values, equal instructions stand once, and nothing unknown is called. Next room: ``tests/unit/runtime``."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest

from minigrad.dtype import bool_, float32, float64, int64
from minigrad.errors import CompileError
from minigrad.kernel.ir import Alloc, Array, Barrier, If, Index, Load, Scalar, Store
from minigrad.render import render_llvm
from minigrad.render.llvm import undefined_symbols
from minigrad.render.llvm_text import Writer, literal
from minigrad.symbolic import eq, var
from minigrad.target import AVX2, AVX512, C_FUNCTIONS
from tests.unit.render.harness import CPUS
from tests.unit.render.samples import (
    f,
    guarded,
    guarded_rows,
    in_place,
    kernel,
    loop,
    map_with_tail,
    matmul,
    op,
    out,
    row_sum,
    softmax_like,
)


def assembly(made, target, cpu: str) -> list[str]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, opt=2)
    module = llvm.parse_assembly(render_llvm([made], target))
    module.data_layout = str(machine.target_data)
    return [line.strip() for line in machine.emit_assembly(module).splitlines()]


@pytest.mark.skipif(not CPUS, reason="reads x86 assembly")
@pytest.mark.parametrize("target, cpu, register, count", [(AVX512, "skylake-avx512", "zmm", 8)])
def test_a_matmul_tile_stays_in_registers(target, cpu, register, count):
    lines = assembly(matmul(), target, cpu)
    products = [line for line in lines if line.startswith("vfmadd")]
    assert len(products) == count and all(register in line for line in products)
    assert not [line for line in lines if "rsp" in line], "nothing is spilled"


@pytest.mark.skipif(not CPUS, reason="reads x86 assembly")
def test_nothing_is_called():
    for build in (map_with_tail, guarded, guarded_rows, row_sum, softmax_like, matmul):
        for target, cpu in ((AVX512, "skylake-avx512"), (AVX2, "haswell")):
            assert not [line for line in assembly(build(), target, cpu) if line.startswith("call")], build.__name__


def test_equal_instructions_stand_once():
    """The tile reads each element of ``a`` and ``b`` once, though the nest names it in several copies."""
    text = render_llvm([matmul()], AVX512)
    assert len(re.findall("= load float,", text)) == 4 and len(re.findall("= load <16 x float>", text)) == 2
    assert "alloca" not in text


def test_a_load_after_a_store_reads_again():
    text = render_llvm([in_place()], AVX512)
    assert text.count("= load <16 x float>") == 2


def test_what_does_not_change_in_a_loop_is_computed_before_it():
    text = render_llvm([row_sum()], AVX512)
    inner = text[text.index("loop.3:"):text.index("done.4:")]
    assert "mul" not in inner, "the row's offset is outside"
    text = render_llvm([softmax_like()], AVX512)
    assert text.index("sitofp") < text.index("loop.1:"), "so is the cast of a run-time scalar"


def test_a_max_with_a_constant_is_one_comparison():
    assert render_llvm([map_with_tail()], AVX512).count("fcmp") == 2  # one in the vector, one in the tail


def test_a_guard_never_reads_outside():
    """A row guard chooses the address of element 0; an empty array is not read at all."""
    text = render_llvm([guarded_rows()], AVX512)
    assert re.search(r"select i1 %\w+, ptr %\w+, ptr %p\.x\b", text)
    assert not re.search(r"load .*ptr %p\.e", text) and "getelementptr float, ptr %p.e" not in text


def test_modules_name_what_they_call():
    x, i = out("x", 4, float64), var("i", 0, 3)
    text = render_llvm([kernel("m", (x,), i, 4, Store(x, i, op("MOD", Load(x, i), f(3.0, float64))))], AVX512)
    assert undefined_symbols(text) == {"fmod"} <= C_FUNCTIONS
    assert undefined_symbols(render_llvm([matmul()], AVX512)) == set()


def test_what_the_cpu_has_no_form_of_is_refused():
    x, i, stray = out("x", 4), var("i", 0, 3), var("stray", 0, 3)
    with pytest.raises(CompileError, match="kernel b: the CPU has no form of Barrier"):
        render_llvm([kernel("b", (x,), i, 4, Barrier(), Store(x, i, f(1.0)))], AVX512)
    with pytest.raises(CompileError, match=r"kernel s: the CPU has no shared memory \(s\)"):
        render_llvm([kernel("s", (x,), i, 4, Alloc(Array("s", float32, 4, "shared")), Store(x, i, f(1.0)))], AVX512)
    with pytest.raises(CompileError, match="index variable stray is neither a loop's nor a scalar's"):
        render_llvm([kernel("n", (x,), i, 4, Store(x, stray, f(1.0)))], AVX512)


def test_an_integer_scalar_may_stand_in_indices():
    x, i, n = out("x", 40), var("i", 0, 3), var("n", 0, 9)
    made = kernel("s", (x,), i, n, Store(x, 10 * i + n, f(1.0)), scalars=(Scalar("n", int64, 0),))
    assert "load i64, ptr %scalars" in render_llvm([made], AVX512)


def test_operations_stay_inside_their_branch():
    """Index arithmetic may move out of a loop; a value is not computed where its branch is not taken."""
    x, i, j = out("x", 4), var("i", 0, 3), var("j", 0, 3)
    a = Scalar("a", float32, 0)
    root = op("SQRT", op("DIV", a, f(3.0)))
    text = render_llvm([kernel("k", (x,), i, 4, If(Index(eq(i, 1), bool_), (
        loop("serial", j, 4, Store(x, j, root)),)), scalars=(a,))], AVX512)
    assert text.index("then.3:") < text.index("fdiv") < text.index("loop.5:")


def test_constants():
    assert literal("float", 0.5).text == "0x3FE0000000000000" and literal("i64", -5).text == "-5"
    writer = Writer(AVX512, {})
    assert writer.widen(literal("i32", 0), 4).text == "zeroinitializer"
    assert writer.widen(literal("float", 1.0), 4).text == "splat (float 0x3FF0000000000000)"


def _doubled(rows: int, columns: int, nontemporal: bool) -> str:
    """LLVM IR of a map, 16 lanes along its rows."""
    a = Array("a", float32, rows * columns)
    b = Array("b", float32, rows * columns, written=True, nontemporal=nontemporal)
    i, j, u = var("i", 0, rows - 1), var("j", 0, columns // 16 - 1), var("u", 0, 15)
    at = columns * i + 16 * j + u
    lanes = loop("vector", u, 16, Store(b, at, op("MUL", Load(a, at), f(2.0))))
    return render_llvm([kernel("doubled", (a, b), i, rows, loop("serial", j, columns // 16, lanes))], AVX512)


def test_stores_go_around_the_caches_where_each_begins_at_a_line():
    around = _doubled(8, 64, True)
    assert around.count("align 64, !nontemporal !0") == around.count("fence seq_cst") == around.count("!0 = ") == 1
    for text in (_doubled(8, 64, False), _doubled(8, 65, True)):
        assert "nontemporal" not in text and "fence" not in text
