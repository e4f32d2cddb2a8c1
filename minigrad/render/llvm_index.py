"""Stage: inside the LLVM renderer. In: index expressions. Out: int64 scalars, and where they depend on the lane,
vectors and masks. Sums are added up from the outermost loop's terms inwards, so that each loop computes only
what changes in it.
Next: ``llvm_memory.py``."""

from __future__ import annotations

from collections.abc import Callable

from minigrad.dtype import BY_NAME
from minigrad.ops import Op
from minigrad.render.llvm_ops import divide
from minigrad.render.llvm_text import Operand, Writer, literal
from minigrad.symbolic import Sym, evaluate, inside, maximum, minimum, num, split, substitute, var, variables

I64 = "i64"
NO_LANE = var("no lane", 0, 1)  # what stands for the lane outside vector loops; no expression has it


class IndexWriter:
    """Index expressions of one function; ``operands`` and ``constants`` say what variables are now."""

    def __init__(self, writer: Writer, unknown: Callable[[Sym], Operand]):
        self.w = writer
        self.unknown = unknown  # makes the operand of a variable nothing has bound: a run-time scalar
        self.operands: dict[Sym, Operand] = {}
        self.constants: dict[Sym, Sym] = {}
        self.lane = NO_LANE
        self.lanes = 1

    def bind(self, v: Sym, operand: Operand) -> None:
        """Give a variable its value; in an unrolled loop it may have had another one before."""
        self.operands[v] = operand
        for region in self.w.regions:
            region.numbers.clear()

    def fix(self, e: Sym) -> Sym:
        """The expression with the variables of unrolled loops as the numbers they are now."""
        if self.constants.keys().isdisjoint(variables(e)):
            return e
        return substitute(e, self.constants)

    def by_lane(self, e: Sym) -> bool:
        """Whether the expression depends on the lane."""
        return self.lane in variables(e)

    def register(self, e: Sym) -> int:
        """The element that a register access touches, at lane 0: a number once loops are unrolled."""
        if e.kind == "num":
            return int(e)
        terms, constant = e.args if e.kind == "sum" else (((e, 1),), 0)
        if not all([t.kind == "var" for t, _ in terms]):
            return evaluate(e, {str(v): int(self.constants.get(v, 0)) for v in variables(e)})
        return constant + sum([c * int(self.constants[t]) for t, c in terms if t in self.constants])

    # --- the same in all lanes -------------------------------------------------------------------------------

    def number(self, e: Sym, type: str = I64) -> Operand:
        """The value of ``e``; ``type`` may be i32 where ``narrow(e)`` holds."""
        if e.kind == "num":
            return literal(type, e.args[0])
        key = e, type
        for region in reversed(self.w.regions):
            known = region.numbers.get(key)
            if known is not None:
                return known
        made = self.compute(e, type)
        self.w.regions[made.depth].numbers[key] = made
        return made

    def compute(self, e: Sym, type: str) -> Operand:
        kind, args = e.kind, e.args
        if not self.by_lane(e) and type != I64:
            return self.w.convert("trunc", self.number(e), type)
        if kind == "var":
            return self.variable(e, type)
        if kind == "sum":
            return self.sum(e, type)
        if kind == "product":
            return self.fold("mul", [self.number(a, type) for a in args])
        if kind in ("floordiv", "mod"):
            return self.quotient(e, type)
        if kind in ("min", "max"):
            total, *rest = [self.number(a, type) for a in args]
            for x in rest:
                total = self.w.select(self.w.compare("icmp slt" if kind == "min" else "icmp sgt", x, total), x, total)
            return total
        return self.w.convert("zext", self.condition(e), type)

    def variable(self, e: Sym, type: str) -> Operand:
        if e is self.lane:
            ramp = ", ".join(f"{type} {n}" for n in range(self.lanes))
            return Operand(f"<{ramp}>", type, self.lanes)
        known = self.operands.get(e)
        if known is None:
            known = self.operands[e] = self.unknown(e)
        return known

    def fold(self, opcode: str, operands: list[Operand]) -> Operand:
        """Joined from the outermost loop's operands inwards, scalars before vectors."""
        operands = sorted(operands, key=lambda a: (a.lanes, a.depth, a.is_literal))
        total = operands[0]
        for a in operands[1:]:
            total = self.w.binary(opcode, total, a)
        return total

    def sum(self, e: Sym, type: str) -> Operand:
        terms, constant = e.args
        uniform = num(constant)
        parts = []
        for term, c in terms:
            if type != I64 and not self.by_lane(term):
                uniform = uniform + c * term  # scalars are added up in int64, then made narrow
                continue
            part = self.number(term, type)
            parts.append(part if c == 1 else self.w.binary("mul", part, literal(type, c)))
        if uniform is not num(0):
            parts.append(self.number(uniform, type))
        return self.fold("add", parts)

    def quotient(self, e: Sym, type: str) -> Operand:
        above, below = e.args
        kind = "int" if above.lo < 0 or below.lo <= 0 else "uint"
        return divide(self.w, Op.MOD if e.kind == "mod" else Op.FLOORDIV, self.number(above, type),
                      self.number(below, type), BY_NAME[kind + type[1:]])

    # --- conditions ------------------------------------------------------------------------------------------------

    def condition(self, e: Sym) -> Operand:
        """A 0/1 expression as i1, one for all lanes or one for each."""
        kind, args = e.kind, e.args
        if kind == "num":
            return literal("i1", bool(args[0]))
        if kind == "and":
            return self.fold("and", [self.condition(a) for a in args])
        if kind not in ("less", "equal"):
            return self.w.compare("icmp ne", self.number(e), literal(I64, 0))
        if not self.by_lane(e):
            a, b = self.number(args[0]), self.number(args[1])
            return self.w.compare("icmp slt" if kind == "less" else "icmp eq", a, b)
        difference = args[0] - args[1]
        parts = split(difference, self.lane)
        if parts is not None and abs(parts[0]) == 1:
            return self.threshold(kind, parts[0], parts[1])
        type = "i32" if narrow(args[0]) and narrow(args[1]) else I64
        a, b = self.number(args[0], type), self.number(args[1], type)
        return self.w.compare("icmp slt" if kind == "less" else "icmp eq", a, b)

    def threshold(self, kind: str, sign: int, rest: Sym) -> Operand:
        """``sign*lane + rest < 0`` (or ``== 0``) as a comparison of the lanes' numbers with one scalar."""
        limit = maximum(minimum(rest * -sign, self.lanes), -1)  # lane < limit, or lane > limit
        opcode = "icmp eq" if kind == "equal" else "icmp slt" if sign > 0 else "icmp sgt"
        return self.w.compare(opcode, self.variable(self.lane, "i32"), self.number(limit, "i32"))


def narrow(e: Sym) -> bool:
    """Whether ``e`` and everything inside it fits an int32."""
    for x in inside([e]):
        numbers = [x.lo, x.hi]
        if x.kind == "sum":
            numbers += [x.args[1], *(c for _, c in x.args[0])]
        if min(numbers) < -(1 << 31) or max(numbers) >= 1 << 31:
            return False
    return True
