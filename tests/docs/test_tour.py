"""Stage: tests of the documentation. In: the golden files that ``docs/tour.md`` shows. Out: they still show what the
text around them says; if a test fails, mend the text. Next: ``docs/tour.md``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def listing(name: str) -> str:
    return (ROOT / "tests" / "golden" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "said"), [
    ("linear/1-recorded.txt", ["FUNCTION[mm]", "FUNCTION[add]", "FUNCTION[relu]", "FUNCTION[sum]"]),
    ("linear/2-simplified.txt", ["EXPAND", "(8, 16, 32)", "MAXIMUM(", "SUM[(1,)]"]),
    ("linear_backward/1-recorded.txt", ["FUNCTION[relu_backward](%5", "FUNCTION[mm_backward]",
                                        "CONST[1.0]()        float32 ()"]),
    ("linear_backward/2-simplified.txt", ["CONST[1.0]()       float32 (8, 32)"]),
    ("linear/3-schedule.txt", ["plan: 1 launch,", "one outer point", "scratch (8, 32)", "stage 1: "]),
    ("softmax/3-schedule.txt", ["plan: 1 launch,", "for each point of (512,)", "row1", "row2"]),
    ("linear_backward/3-schedule.txt", ["plan: 2 launches,", "for each point of (32,)", "note: apart from"]),
    ("linear_backward/4-loops.txt", ["keep(b, scratch)"]),
    ("linear/4-loops.txt", ["strategy: contraction", "strategy: rows", "fold ADD", "fma("]),
    ("linear/5-c.txt", ["fmaf(", "maximum_f32("]),
])
def test_listings_show_what_is_said_of_them(name: str, said: list[str]) -> None:
    assert [words for words in said if words not in listing(name)] == []


def test_four_outputs_with_gradients() -> None:
    assert listing("linear_backward/1-recorded.txt").count("<- output") == 4


def test_the_vector_loop_has_eight_multiply_adds() -> None:
    loop = re.search(r"phi <8 x float>.*?br i1", listing("linear/6-llvm.txt"), re.DOTALL)
    assert loop is not None
    assert loop[0].count("call <8 x float> @llvm.fma.v8f32") == 8


def test_what_the_tour_names_exists() -> None:
    """Paths and, in each section, bare file names of its rooms."""
    text = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:minigrad|tests|examples|tools)/[\w/]*(?:\.\w+)?)`", text)
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for heading, section in re.findall(r"^## \d\. ([^\n]*)$(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL):
        rooms = [ROOT / "minigrad" / room for room in re.findall(r"`(\w+)/`", heading)]
        prose = re.sub(r"^```.*?^```", "", section, flags=re.MULTILINE | re.DOTALL)
        for name in re.findall(r"`(\w+\.py)`", prose):
            assert any((room / name).exists() for room in rooms), f"{heading}: {name}"


def test_what_the_glossary_names_exists() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    paths = re.findall(r"\(`([\w/]+/(?:\w+\.py)?|\w+\.py)`\)", text)
    assert len(paths) > 20
    assert [p for p in paths if not any((ROOT / base / p).exists() for base in ("minigrad", "."))] == []
