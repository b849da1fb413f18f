"""What stands on the records of the ops besides their rules: what the docs print, kinks, the table as golden text."""

from collections.abc import Sequence
from typing import Any

import pytest

from backsweep_engine.ops import TABLE
from backsweep_engine.ops.op import Expansion, Structured, Zero


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_record_says_what_the_docs_print(name: str) -> None:
    op = TABLE[name]
    assert op.name == name and op.since == 1
    assert op.summary and op.examples
    for example in op.examples:
        assert len(op.domain) == len(example.types), "one domain per operand of an example"
    if op.arity is not None:
        assert all(len(example.types) == op.arity for example in op.examples)
    assert (op.apply is None) == isinstance(op.derivative, (Expansion, Structured))
    if isinstance(op.derivative, Zero):
        assert not op.kinks, "a kink is a place where a derivative that exists elsewhere does not"


def test_the_kinks_of_the_findings_are_written_on_their_records() -> None:
    first = {"abs", "relu", "max", "min", "maximum", "minimum"}
    reductions = {"cummax", "cummin", "median", "norm", "ptp", "quantile", "sort", "std", "top_k"}
    elementwise = {"bessel_ie", "clip", "copysign", "fmax", "fmin", "fmod", "heaviside", "hypot", "remainder"}
    decompositions = {"eigh", "eigvalsh", "lu", "svd", "svdvals"}
    activations = {"elu", "hard_sigmoid", "hard_swish", "hard_tanh", "huber", "leaky_relu", "relu6", "selu", "smooth_l1"}
    writes = {"max_pool", "scatter_max", "scatter_min"}
    assert {name for name, op in TABLE.items() if op.kinks} == writes | first | reductions | elementwise | activations | decompositions


def attributes_of(name: str) -> str:
    return " ".join(f"{k}:{v.name.lower()}" for k, v in sorted(TABLE[name].attributes.items()))


def table_text(names: Sequence[str]) -> str:
    """Name, since, arity, attributes, kind of derivative: what a change of meaning would change."""
    rows = [
        f"{n} | since {TABLE[n].since} | {'any' if TABLE[n].arity is None else TABLE[n].arity} | {attributes_of(n)} | {type(TABLE[n].derivative).__name__}"
        for n in names
    ]
    return "\n".join(row.replace("|  |", "| |") for row in rows) + "\n"


def test_the_table_is_the_golden_one(golden: Any) -> None:
    assert table_text(sorted(TABLE)) == golden("op_table.txt", table_text(sorted(TABLE)))
