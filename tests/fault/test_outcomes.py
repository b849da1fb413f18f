"""What counts as right, and what the table holds. No Ray."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fault.report import line, report
from fault.run import FIRST_SECONDS, Outcome
from fault.table import ANSWER, DRIVER_SECONDS, FAULTS, NODE_SECONDS, WORKER_SECONDS, Fault

ANSWERED = Outcome(Fault("a fault", 2.0), ANSWER, "", True, 1.9, 0.1, ())
REFUSED = Outcome(Fault("a fault", 2.0, expected="DEADLINE"), "DEADLINE", "too late", None, 1.9, 0.1, ())


@pytest.mark.parametrize("outcome", [ANSWERED, REFUSED], ids=["answer", "error"])
def test_the_expected_in_time_with_nothing_left_is_right(outcome: Outcome) -> None:
    assert outcome.right
    assert line(outcome).startswith("ok")


@pytest.mark.parametrize(
    "outcome, slip",
    [
        (ANSWERED, {"same_bits": False}),
        (ANSWERED, {"got": "DEADLINE", "same_bits": None}),
        (ANSWERED, {"wait_seconds": 2.1}),
        (ANSWERED, {"again_seconds": FIRST_SECONDS + 0.1}),
        (ANSWERED, {"left": ("3 lanes",)}),
        (REFUSED, {"got": "CLUSTER_LOST"}),
        (REFUSED, {"got": ANSWER, "same_bits": True}),
        (REFUSED, {"wait_seconds": 2.1}),
    ],
    # Words without an address in them: every worker of a parallel run must name the cases alike.
    ids=lambda value: value.fault.expected if isinstance(value, Outcome) else str(value),
)
def test_one_slip_is_wrong_and_is_said(outcome: Outcome, slip: dict[str, Any]) -> None:
    slipped = replace(outcome, **slip)
    assert not slipped.right
    assert line(slipped).startswith("FAIL")


@pytest.mark.parametrize(
    "words, bound",
    [
        (("a worker is killed",), WORKER_SECONDS),
        (("raylet of a node",), NODE_SECONDS),
        (("a node is killed",), NODE_SECONDS),
        (("hangs",), NODE_SECONDS),
        (("driver is killed",), DRIVER_SECONDS),
        (("GCS",), DRIVER_SECONDS),
        (("cluster is gone",), DRIVER_SECONDS),
    ],
    ids=str,
)
def test_the_bounds_are_those_of_the_project(words: tuple[str, ...], bound: float) -> None:
    found = [fault for fault in FAULTS if all(word in fault.name for word in words)]
    assert found
    assert {fault.bound_seconds for fault in found} == {bound}


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_a_word_that_no_fault_has_is_told_with_the_faults_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(["volcano"]) == 2
    said = capsys.readouterr().err
    assert "volcano" in said
    assert all(fault.name in said for fault in FAULTS)
