"""Stage: documentation. In: the outcomes of all operators. Out: ``docs/operators.md``: what fails, and how.
Next: ``__main__.py``."""

from __future__ import annotations

import re

from tools.operators.checks import CHECKS, Outcomes

_HEAD = """# PyTorch's operators, checked

PyTorch 2.13 has a database of its operators with samples for its own tests (`torch.testing._internal`). Each operator
is called here with the same samples: {dtypes}. What is compared:

| check | what |
|---|---|
| `values` | shape, dtype and values of the result |
| `gradient`, `second` | the first derivative in each floating dtype, the second in float64 |
| `out` | `out=` of the right shape and empty; for the first samples also of another shape and of another dtype |
| `inplace`, `method` | the method with an underscore, what it refuses, and who else sees the change; the method |
| `error`, `words` | calls that PyTorch refuses: the exception's type; its words |

`sort`, `argsort`, `msort`, `topk`, `kthvalue` and `mode` may take equal elements in any order; in PyTorch it depends
on the processor. minigrad takes them by their places, as PyTorch's stable sort does. For ties only, it is compared with
that one: PyTorch's own answer has to be the same elements. Derivatives are not compared where PyTorch's own test of
them against finite differences is marked as failing (`as_strided_scatter`; second ones of `linear_cross_entropy` in
chunks).

Factors whose signs or phases are free (`svd`, `linalg.eig`) are compared in what the database's own tests make of them.
A float64 result that differs from PyTorch's is compared with the database's own reference, which is SciPy's: PyTorch's
Bessel functions are off by up to 1e-6. `out=` is left out where PyTorch does not write there what it returns without
it, and minigrad does (`fft.ihfftn` along one dimension).

**{right} of {count} operators pass all samples of all checks but `words`.** This page is written by
`python -m tools.operators --write docs/operators.md`, which takes a quarter of an hour on two cores; {samples}
samples of each dtype at most.{left}

| check | samples that pass | that fail | operators with failures |
|---|---|---|---|
{totals}

## What is left out

{skipped}

## What fails

Of each operator and check, the first sample that fails.

| operator | check | fails | first failure |
|---|---|---|---|
{rows}
"""


def is_right(outcomes: Outcomes) -> bool:
    """Whether an operator passes all checks but the words of its errors."""
    return not any(o.failed for name, o in outcomes.items() if name != "words")


def skipped(outcomes: dict[str, Outcomes]) -> list[tuple[str, str, int, int]]:
    """What was not compared: the check, why, of how many samples and operators.

    >>> from tools.operators.checks import Outcome
    >>> skipped({"add": {"out": Outcome(skipped={"no reason": 2})}})
    [('out', 'no reason', 2, 1)]
    """
    reasons = sorted({(check, why) for found in outcomes.values() for check, o in found.items() for why in o.skipped})
    counts = [[o.skipped.get(why, 0) for f in outcomes.values() for name, o in f.items() if name == check]
              for check, why in reasons]
    return [(*reason, sum(n), sum(map(bool, n))) for reason, n in zip(reasons, counts, strict=True)]


def untried(outcomes: dict[str, Outcomes]) -> list[str]:
    """The operators of which no value was compared.

    >>> from tools.operators.checks import Outcome
    >>> untried({"add": {"values": Outcome(1)}, "sub": {"values": Outcome()}})
    ['sub']
    """
    return [name for name, found in outcomes.items() if "values" in found and not (
        found["values"].passed or found["values"].failed)]


def page(outcomes: dict[str, Outcomes], dtypes: str, samples: int, left: list[str]) -> str:
    """The page; ``left``: operators that were not run."""
    totals = []
    for name in CHECKS:
        of_check = [f[name] for f in outcomes.values() if name in f]
        totals.append(f"| `{name}` | {sum(o.passed for o in of_check)} | {sum(o.failed for o in of_check)} | "
                      f"{sum(o.failed > 0 for o in of_check)} |")
    rows = [f"| {title} | {name} | {o.failed} of {o.failed + o.passed} | {_cell(o.first[0])} |"
            for title, found in sorted(outcomes.items()) for name, o in found.items() if o.failed]
    more = f"\n\nNot run: {', '.join(left)}." if left else ""
    return _HEAD.format(right=sum(map(is_right, outcomes.values())), count=len(outcomes),
                        dtypes=dtypes.replace(",", ", "), samples=samples, totals="\n".join(totals),
                        rows="\n".join(rows), skipped=_skipped(outcomes), left=more)


def _skipped(outcomes: dict[str, Outcomes]) -> str:
    table = "\n".join(["| check | samples | operators | why |", "|---|---|---|---|", *[
        f"| `{check}` | {samples} | {ops} | {why} |" for check, why, samples, ops in skipped(outcomes)]])
    none = untried(outcomes)
    return table + (f"\n\nNo sample could be compared of: {', '.join(none)}." if none else "")


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text)[:160].replace("|", "\\|").replace("<", "&lt;")


def not_run(text: str) -> set[str]:
    """The operators that the page says were not run.

    >>> sorted(not_run("Not run: add, sort (stable)."))
    ['add', 'sort (stable)']
    """
    found = re.search(r"^Not run: (.*)\.$", text, re.MULTILINE)
    return set(found[1].split(", ")) if found else set()


def failing(text: str) -> set[tuple[str, str]]:
    """The operators and checks that the page says fail.

    >>> failing("| add | out | 1 of 2 | float32 sample 0: … |")
    {('add', 'out')}
    """
    return {(m[1], m[2]) for m in re.finditer(r"^\| (\S.*?) \| (\w+) \| \d+ of \d+ \|", text, re.MULTILINE)}
