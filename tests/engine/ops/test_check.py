"""check() is what stands between foreign graphs and the kernels: every wrong application has its reason, none gets another exception."""

import itertools
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES, Type
from backsweep_engine.ops import TABLE
from backsweep_engine.ops.op import Kind, Structured, check, lookup
from support.cases import Case, every
from support.graphs import BOOL, F32, F64, I64, build

CASES = list({case.op.name: case for case in reversed(list(every()))}.values())
"""One case per op, its first example."""

REASONS = {"ARITY", "ATTRIBUTE", "DTYPE", "SHAPE", "TOO_LARGE"}

WRONG: dict[Kind, tuple[Any, ...]] = {
    Kind.INT: (1.0, True, "1", None, (1,), np.int64(1)),
    Kind.FLOAT: (1, True, "1.0", None),
    Kind.BOOL: (1, 0.0, None),
    Kind.TEXT: (1, None),
    Kind.INTS: ([1], 1, (1.0,), (True,), None, "1"),
    Kind.DTYPE: ("float64", np.float64, np.dtype("complex128"), np.dtype("float16"), None),
    Kind.ARRAY: (1.0, [1.0], None, np.zeros(2, np.complex64), np.zeros(2, ">f4").astype("S3")),
    Kind.GRAPH: (None, 1, "then"),
}


def refused(name: str, types: tuple[Type, ...], attributes: Any) -> GraphError:
    with pytest.raises(GraphError) as caught:
        check(lookup(name), types, attributes)
    assert caught.value.op == name
    return caught.value


def reason_of(case: Case, types: tuple[Type, ...], attributes: Any) -> str | None:
    """Why check refuses the application; None if it takes it."""
    try:
        check(case.op, types, attributes)
    except GraphError as error:
        return error.reason
    return None


@pytest.mark.parametrize("case", [c for c in CASES if c.op.arity is not None], ids=str)
def test_a_wrong_number_of_operands_is_refused(case: Case) -> None:
    for types in (case.types + (F64[3],), case.types[:-1]):
        if len(types) != len(case.types):
            error = refused(case.op.name, types, case.attributes)
            assert (error.reason, error.got, error.allowed) == ("ARITY", str(len(types)), str(case.op.arity))


@pytest.mark.parametrize("name", ["concat", "cond", "einsum", "ravel_index"])
def test_a_variadic_op_without_operands_is_refused(name: str) -> None:
    (case,) = [c for c in CASES if c.op.name == name]
    assert refused(name, (), case.attributes).reason == "ARITY"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_missing_surplus_and_wrong_attributes_are_refused(case: Case) -> None:
    error = refused(case.op.name, case.types, {**case.attributes, "surplus": 1})
    assert error.reason == "ATTRIBUTE" and "surplus" in error.got
    for name, kind in case.op.attributes.items():
        rest = {k: v for k, v in case.attributes.items() if k != name}
        assert refused(case.op.name, case.types, rest).reason == "ATTRIBUTE"
        for value in WRONG[kind]:
            error = refused(case.op.name, case.types, {**rest, name: value})
            assert error.reason == "ATTRIBUTE" and name in error.message


@pytest.mark.parametrize("case", [c for c in CASES if c.types], ids=str)
def test_every_dtype_is_taken_or_refused_as_a_dtype(case: Case) -> None:
    taken = set()
    for dtypes in itertools.product(DTYPES.values(), repeat=len(case.types)):
        types = tuple(Type(d, t.shape) for d, t in zip(dtypes, case.types, strict=True))
        reason = reason_of(case, types, case.attributes)
        # The operands of ops that hold graphs are compared as whole types with the inputs of these.
        assert reason in (None, "DTYPE") or isinstance(case.op.derivative, Structured)
        if reason is None:
            taken.add(dtypes)
    assert tuple(t.dtype for t in case.types) in taken
    if not isinstance(case.op.derivative, Structured):
        first = 1 if case.op.name == "where" else 0
        assert {dtypes[first] for dtypes in taken} == set(case.op.operand_dtypes), "what the record says is what promotion relies on"


ANY_LENGTH = ("block_diag", "kron", "searchsorted", "take", "update")
"""Any index fits any array, any line or matrix any other, and a longer array holds what a shorter one does."""


@pytest.mark.parametrize("case", [c for c in CASES if len(c.types) > 1 and c.op.name not in ANY_LENGTH], ids=str)
def test_operands_whose_shapes_do_not_fit_are_refused(case: Case) -> None:
    for i, t in enumerate(case.types):
        longer = t.with_shape([d + 1 for d in t.shape] or [2])
        deeper = t.with_shape((2, 2, 2, 2, *t.shape))
        for other in (longer, deeper):
            error = refused(case.op.name, (*case.types[:i], other, *case.types[i + 1 :]), case.attributes)
            assert error.reason in ("SHAPE", "ATTRIBUTE"), error


MALFORMED: list[tuple[str, tuple[Type, ...], dict[str, Any], str]] = [
    ("einsum", (F64[2, 3],), {"labels": (0,), "output": ()}, "ATTRIBUTE"),
    ("einsum", (F64[2, 3],), {"labels": (0, 0), "output": ()}, "SHAPE"),
    ("einsum", (F64[2, 3], F64[2, 3]), {"labels": (0, 1, 1, 0), "output": ()}, "SHAPE"),
    ("einsum", (F64[2, 3],), {"labels": (0, 1), "output": (2,)}, "ATTRIBUTE"),
    ("einsum", (F64[2, 3],), {"labels": (0, 1), "output": (1, 1)}, "ATTRIBUTE"),
    ("einsum", (F64[2], F32[2]), {"labels": (0, 0), "output": ()}, "DTYPE"),
    ("einsum", (BOOL[2],), {"labels": (0,), "output": ()}, "DTYPE"),
    ("update", (F64[3], F64[2]), {"start": (2,), "step": (1,)}, "SHAPE"),
    ("update", (F64[3], F64[2]), {"start": (0,), "step": (3,)}, "SHAPE"),
    ("update", (F64[3], F64[2]), {"start": (-1,), "step": (1,)}, "ATTRIBUTE"),
    ("update", (F64[3], F64[2]), {"start": (0,), "step": (0,)}, "ATTRIBUTE"),
    ("update", (F64[3], F64[2]), {"start": (), "step": (1,)}, "ATTRIBUTE"),
    ("update", (F64[3], F64[1, 2]), {"start": (0,), "step": (1,)}, "SHAPE"),
    ("update", (F64[3], F32[2]), {"start": (0,), "step": (1,)}, "DTYPE"),
    ("scatter_set", (F64[3], F64[2], F64[2]), {"axis": 0}, "DTYPE"),
    ("scatter_set", (F64[3], I64[2], F32[2]), {"axis": 0}, "DTYPE"),
    ("scatter_set", (F64[3], I64[2], F64[3]), {"axis": 0}, "SHAPE"),
    ("scatter_max", (F64[3], I64[2], F64[2]), {"axis": 1}, "ATTRIBUTE"),
    ("scatter_min", (F64[3], I64[2], F64[2]), {"axis": -1}, "ATTRIBUTE"),
    ("ravel_index", (I64[2],), {"dims": (2, 3)}, "ATTRIBUTE"),
    ("ravel_index", (I64[2],), {"dims": (-1,)}, "ATTRIBUTE"),
    ("ravel_index", (I64[2], I64[2]), {"dims": (2**40, 2**40)}, "ATTRIBUTE"),
    ("ravel_index", (F64[2],), {"dims": (3,)}, "DTYPE"),
    ("searchsorted", (F64[()], F64[()]), {"right": True}, "SHAPE"),
    ("searchsorted", (F64[3], F64[()]), {"right": True}, "SHAPE"),
    ("searchsorted", (F64[2, 3], F64[3, 2]), {"right": True}, "SHAPE"),
    ("searchsorted", (F64[3], I64[2]), {"right": True}, "DTYPE"),
    ("tril", (F64[3],), {"k": 0}, "SHAPE"),
    ("triu", (F64[3, 3],), {"k": 2**31}, "ATTRIBUTE"),
    ("broadcast", (F64[3],), {"shape": (2, 4)}, "SHAPE"),
    ("broadcast", (F64[2, 3],), {"shape": (3,)}, "SHAPE"),
    ("broadcast", (F64[1],), {"shape": (-1,)}, "SHAPE"),
    ("constant", (), {"value": np.zeros(200), "shape": (200,)}, "ATTRIBUTE"),
    ("constant", (), {"value": np.zeros(3), "shape": (2,)}, "SHAPE"),
    ("constant", (), {"value": np.zeros(1), "shape": (-2,)}, "SHAPE"),
    ("reshape", (F64[6],), {"shape": (4,)}, "SHAPE"),
    ("reshape", (F64[6],), {"shape": (-2, -3)}, "SHAPE"),
    ("reshape", (F64[6],), {"shape": (-1,)}, "SHAPE"),
    ("transpose", (F64[2, 3],), {"axes": (0,)}, "ATTRIBUTE"),
    ("transpose", (F64[2, 3],), {"axes": (0, 0)}, "ATTRIBUTE"),
    ("transpose", (F64[2, 3],), {"axes": (0, -1)}, "ATTRIBUTE"),
    ("flip", (F64[2, 3],), {"axes": (2,)}, "ATTRIBUTE"),
    ("flip", (F64[2, 3],), {"axes": (1, 0)}, "ATTRIBUTE"),
    ("sum", (F64[2, 3],), {"axes": (0, 0)}, "ATTRIBUTE"),
    ("sum", (F64[2, 3],), {"axes": (-1,)}, "ATTRIBUTE"),
    ("sum", (BOOL[2, 3],), {"axes": (0,)}, "DTYPE"),
    ("max", (F64[2, 3],), {"axes": (-7,)}, "ATTRIBUTE"),
    ("max", (F64[2, 3],), {"axes": (7,)}, "ATTRIBUTE"),
    ("max", (F64[0, 3],), {"axes": (0,)}, "SHAPE"),
    ("min", (F64[2, 0],), {"axes": (0, 1)}, "SHAPE"),
    ("logsumexp", (F64[2, 3],), {"axes": (2,)}, "ATTRIBUTE"),
    ("logsumexp", (F64[0, 3],), {"axes": (0,)}, "SHAPE"),
    ("softmax", (F64[2, 0],), {"axes": (1,)}, "SHAPE"),
    ("softmax", (I64[2, 3],), {"axes": (1,)}, "DTYPE"),
    ("slice", (F64[5],), {"start": (1,), "stop": (6,), "step": (1,)}, "ATTRIBUTE"),
    ("slice", (F64[5],), {"start": (3,), "stop": (2,), "step": (1,)}, "ATTRIBUTE"),
    ("slice", (F64[5],), {"start": (-1,), "stop": (5,), "step": (1,)}, "ATTRIBUTE"),
    ("slice", (F64[5],), {"start": (0,), "stop": (5,), "step": (0,)}, "ATTRIBUTE"),
    ("slice", (F64[5],), {"start": (0, 0), "stop": (5,), "step": (1,)}, "ATTRIBUTE"),
    ("pad", (F64[5],), {"low": (-1,), "high": (0,), "interior": (0,)}, "ATTRIBUTE"),
    ("pad", (F64[5],), {"low": (), "high": (0,), "interior": (0,)}, "ATTRIBUTE"),
    ("concat", (F64[2], F64[2]), {"axis": 1}, "ATTRIBUTE"),
    ("concat", (F64[2], F64[2]), {"axis": -1}, "ATTRIBUTE"),
    ("concat", (F64[()], F64[()]), {"axis": 0}, "ATTRIBUTE"),
    ("concat", (F64[2, 2], F64[2, 3]), {"axis": 0}, "SHAPE"),
    ("concat", (F64[2], F32[2]), {"axis": 0}, "DTYPE"),
    ("matmul", (F64[3], F64[3]), {}, "SHAPE"),
    ("matmul", (F64[2, 3], F64[2, 3]), {}, "SHAPE"),
    ("matmul", (F64[1, 2, 3], F64[2, 3, 2]), {}, "SHAPE"),
    ("matmul", (F64[2, 3], F32[3, 2]), {}, "DTYPE"),
    ("take", (F64[3], F64[2]), {"axis": 0}, "DTYPE"),
    ("take", (F64[3], I64[2]), {"axis": 1}, "ATTRIBUTE"),
    ("take", (F64[3], I64[2]), {"axis": -1}, "ATTRIBUTE"),
    ("put_add", (F64[3], I64[2]), {"axis": 0, "size": 3}, "SHAPE"),
    ("put_add", (F64[3], I64[3]), {"axis": 1, "size": 3}, "ATTRIBUTE"),
    ("put_add", (F64[3], I64[3]), {"axis": 0, "size": -1}, "ATTRIBUTE"),
    ("put_add", (BOOL[3], I64[3]), {"axis": 0, "size": 3}, "DTYPE"),
    ("iota", (), {"size": -1}, "SHAPE"),
    ("where", (F64[2], F64[2], F64[2]), {}, "DTYPE"),
    ("where", (BOOL[()], F64[2], F64[2]), {}, "SHAPE"),
    ("where", (BOOL[2], F64[2], F32[2]), {}, "DTYPE"),
    ("integer_power", (I64[2],), {"exponent": -1}, "ATTRIBUTE"),
    ("integer_power", (F64[2],), {"exponent": 10**30}, "ATTRIBUTE"),
    ("cond", (F64[()], F64[3]), {"then": build(lambda x: x, x=F64[3]), "otherwise": build(lambda x: x, x=F64[3])}, "DTYPE"),
    ("cond", (BOOL[1], F64[3]), {"then": build(lambda x: x, x=F64[3]), "otherwise": build(lambda x: x, x=F64[3])}, "SHAPE"),
    ("cond", (BOOL[()], F64[2]), {"then": build(lambda x: x, x=F64[3]), "otherwise": build(lambda x: x, x=F64[3])}, "SHAPE"),
    ("cond", (BOOL[()], F64[3]), {"then": build(lambda x: x, x=F64[3]), "otherwise": build(lambda x: x[0], x=F64[3])}, "SHAPE"),
]


@pytest.mark.parametrize("name,types,attributes,reason", MALFORMED, ids=[f"{i}-{row[0]}" for i, row in enumerate(MALFORMED)])
def test_a_malformed_application_has_its_reason(name: str, types: tuple[Type, ...], attributes: dict[str, Any], reason: str) -> None:
    error = refused(name, types, attributes)
    assert error.reason == reason, error
    assert error.got or error.allowed, "an error says what was got or what is allowed"


INTS = (-(2**70), -7, -1, 0, 1, 2, 99, 2**70)


@pytest.mark.parametrize("case", [c for c in every() if set(c.op.attributes.values()) & {Kind.INT, Kind.INTS}], ids=str)
def test_no_integer_attribute_makes_check_raise_anything_but_a_graph_error(case: Case) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        attributes = dict(case.attributes)
        for name, kind in case.op.attributes.items():
            if kind is Kind.INT:
                attributes[name] = INTS[random.integers(len(INTS))]
            elif kind is Kind.INTS:
                attributes[name] = tuple(INTS[k] for k in random.integers(len(INTS), size=random.integers(4)))
        assert reason_of(case, case.types, attributes) in REASONS | {None}


def test_an_unknown_op_is_refused_with_what_was_asked() -> None:
    with pytest.raises(GraphError) as caught:
        lookup("tanh2")
    assert caught.value.reason == "UNKNOWN_OP" and "tanh2" in caught.value.got
    with pytest.raises(GraphError) as caught:
        lookup("x" * 10_000)
    assert len(str(caught.value)) < 20_000


def test_every_wrong_kind_is_tried() -> None:
    assert set(WRONG) == set(Kind) and all(not kind.admits(v) for kind, values in WRONG.items() for v in values)
    assert {k for op in TABLE.values() for k in op.attributes.values()} <= set(WRONG)
