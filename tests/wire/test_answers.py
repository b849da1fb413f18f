"""Results, verdicts, notes, promises and usage come back as they went."""

from typing import get_args

import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2, query_pb2, types_pb2
from backsweep.wire import answers
from backsweep.wire.answers import Usage
from backsweep_engine import query as ask
from backsweep_engine.answer import Answer, NonFinite
from backsweep_engine.check.verdict import Blame, Curve, Doubt, Entry, Outcome, Place, Slip, Taylor, Tried, Verdict
from backsweep_engine.errors import Fault
from backsweep_engine.plan.plan import Promise
from backsweep_engine.transforms.sparsity import Pattern

NAN = np.frombuffer(b"\x2a\0\0\0\0\0\xf8\xff", "<f8")
VERDICT = Verdict(
    Outcome.WRONG, "one entry", (Entry("w", (1, 2), 1.5, 2.5, 1e-9, "y"), Entry("s", (), np.inf, -0.0, 0.0)), 4, 1e-7, 1e-12, 1e-10, 2**64 - 1, 77
)


@pytest.mark.parametrize(
    "query, arrays, form",
    [
        (ask.Gradient(("w",)), [np.arange(3.0), np.array(True)], "arrays"),
        (ask.Value(), [NAN], "arrays"),
        (ask.Jacobian(("w",)), [np.arange(6.0).reshape(2, 3)], "matrix"),
        (ask.Hessian(("w",)), [np.zeros((0, 0))], "matrix"),
        (ask.Jvp(("w",), many=True), [np.ones((2, 1))], "matrix"),
        (ask.Jvp(("w",)), [np.ones(2)], "arrays"),
        (ask.Fisher(("w",), "normal"), [np.eye(3)], "matrix"),
        (ask.GaussNewton(("w",), ("z",), product=True), [np.ones(3)], "arrays"),
        (ask.EmpiricalFisher(("w",), product=True, many=True), [np.ones((2, 3))], "matrix"),
        (ask.Jacobian(("w",)), [], None),
        (ask.Gradient(("w",)), [], None),
    ],
)
def test_a_result_survives_the_wire(query: ask.Query, arrays: list[np.ndarray], form: str | None) -> None:
    message = query_pb2.Result.FromString(answers.encode_result(query, Answer(tuple(arrays))).SerializeToString())
    assert message.WhichOneof("answer") == form
    back = answers.decode_result(message)
    assert [a.tobytes() for a in back.arrays] == [a.tobytes() for a in arrays]
    assert all(a.flags.writeable and a.flags.owndata for a in back.arrays)
    assert back.verdict is None and back.notes == ()


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_verdict_survives_the_wire(outcome: Outcome) -> None:
    verdict = Verdict(outcome, VERDICT.why, VERDICT.worst, 4, 1e-7, 1e-12, 1e-10, 2**64 - 1, 77)
    message = answers.encode_result(ask.Check(("w",)), Answer(verdict=verdict))
    assert answers.decode_result(query_pb2.Result.FromString(message.SerializeToString())).verdict == verdict


@pytest.mark.parametrize("subject", list(get_args(ask.Subject)))
@pytest.mark.parametrize("judge", list(get_args(ask.Judge)))
def test_the_evidence_of_a_verdict_survives_the_wire(subject: ask.Subject, judge: ask.Judge) -> None:
    for doubt, slip in [(None, None), *[(d, None) for d in Doubt], *[(None, s) for s in Slip]]:
        verdict = Verdict(
            *(Outcome.CANNOT_TELL, "why", (Entry("w", (0,), 1.0, -1.0, 1e-9, "", slip),), 4, np.inf, 1e-12, 1e-10, 0, 77),
            subject=subject,
            judge=judge,
            doubt=doubt,
            place=Place(0, "abs", 0) if doubt else None,
            side="left",
            slip=slip,
            blamed=(Blame(Place(None, "tanh"), Entry("operand0", (), 0.0, 1.0, 0.0)),),
            examined=3,
            curve=Curve((1e-9, 1e-3), (1.0, 2.0), (3.0, 4.0), (5.0, np.inf), 1e-3),
            taylor=(Taylor(1, (1e-3,), (1e-6,), (1e-16,), 2.01, 4), Taylor(0, (), (), (), 3.0, 0, 3)),
            tried=(Tried(0, "forward", 1.0, 2.0, 1e-9), Tried(0, "values", 1.0, 2.0, 1e-9, 0)),
        )
        message = answers.encode_result(ask.Check(("w",)), Answer(verdict=verdict))
        assert answers.decode_result(query_pb2.Result.FromString(message.SerializeToString())).verdict == verdict


def test_an_entry_has_its_ratio_on_the_wire() -> None:
    message = answers.encode_result(ask.Check(("w",)), Answer(verdict=VERDICT)).verdict
    assert message.worst[0].ratio == 2.5 / 1.5


def test_an_outcome_that_is_not_known_cannot_tell() -> None:
    for number in (0, 9):
        assert answers.decode_result(query_pb2.Result(verdict=query_pb2.Verdict(outcome=number))).verdict.outcome is Outcome.CANNOT_TELL  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("node", [0, 7, None])
@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_a_note_survives_the_wire_and_names_its_part(node: int | None, kind: str) -> None:
    note = NonFinite(2, 1, node, "log", kind, True)
    message = answers.encode_result(ask.Gradient(("w",)), Answer((np.ones(1), NAN), notes=(note,)), outputs=("v", "w"))
    assert message.non_finite[0].output == "w"
    assert not message.non_finite[0].HasField("function")  # main
    assert answers.decode_result(query_pb2.Result.FromString(message.SerializeToString()), query=2).notes == (note,)


def test_a_result_that_is_not_one_is_a_fault_of_the_server() -> None:
    wrong = types_pb2.Array(dtype=types_pb2.DATA_TYPE_FLOAT64, shape=[2], data=bytes(8))
    for message in (query_pb2.Result(arrays=types_pb2.Arrays(arrays=[wrong])), query_pb2.Result(matrix=query_pb2.Matrix(dense=wrong))):
        with pytest.raises(Fault):
            answers.decode_result(message)


def test_a_sparse_matrix_survives_the_wire_with_its_zeros() -> None:
    pattern = Pattern(2, 3, np.array([0, 2, 3]), np.array([0, 2, 1]))
    sent = answers.encode_result(ask.Hessian(("w",), layout="sparse"), Answer((np.array([1.5, 0.0, NAN[0]]),), pattern=pattern))
    got = answers.decode_result(query_pb2.Result.FromString(sent.SerializeToString()))
    assert got.pattern is not None and (got.pattern.rows, got.pattern.columns) == (2, 3)
    assert got.pattern.indptr.tolist() == [0, 2, 3] and got.pattern.indices.tolist() == [0, 2, 1]
    assert got.arrays[0].tobytes() == np.array([1.5, 0.0, NAN[0]]).tobytes()
    assert got.arrays[0].flags.writeable and got.pattern.indices.flags.writeable


def test_a_promise_survives_the_wire_and_flops_beyond_its_numbers_are_the_most_there_are() -> None:
    promise = Promise(10**12, 2**40, 2**30, 8)
    assert answers.decode_promise(answers.encode_promise(promise)) == promise
    assert answers.encode_promise(Promise(2**70, 0, 0, 0)) == backsweep_pb2.Promise(flops=2**64 - 1, blocks=1)


def test_usage_survives_the_wire() -> None:
    usage = Usage(1, 2, 3, 4, 5, 6.5, "cluster")
    assert answers.decode_usage(answers.encode_usage(usage)) == usage
