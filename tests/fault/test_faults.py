"""Every fault of the table, done to a running job: the same bits or the stated error, in time, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fault.report import line
from fault.run import Stage
from fault.table import FAULTS, Fault

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    assert stage.close() == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_answer_has_the_same_bits_or_the_stated_error_comes_in_time_and_nothing_is_left(stage: Stage, fault: Fault) -> None:
    assert stage.ready_for(fault) == []
    outcome = stage.do(fault)
    assert outcome.right, line(outcome)
