"""What a check cannot tell, says so and says why: kinks, jumps, the end of a domain, digits that are not there."""

import numpy as np
import pytest

from backsweep_engine.check.verdict import Outcome
from support.checking import graph_of, verdict_of


@pytest.mark.parametrize("given", [0.0, 1.0, None])
def test_at_a_kink_it_cannot_tell(given):
    x = np.array([0.3, 0.0, -0.7])
    verdict = verdict_of(lambda x: np.sum(np.abs(x) * (1 + x)), {"x": x}, None if given is None else {"x": np.array([1.6, given, 0.4])})
    assert verdict.outcome is Outcome.CANNOT_TELL
    assert "kink" in verdict.why


def test_a_kink_nearer_than_any_step_is_a_kink():
    verdict = verdict_of(lambda x: np.sum(np.abs(x)), {"x": np.array([1.0, 1e-14])})
    assert verdict.outcome is Outcome.CANNOT_TELL


def test_beside_a_kink_smaller_steps_tell():
    x = np.array([1.0, 1e-5])
    assert verdict_of(lambda x: np.sum(np.abs(x)), {"x": x}).right
    assert verdict_of(lambda x: np.sum(np.abs(x)), {"x": x}, {"x": np.array([1.0, -1.0])}).worst[0].index == (1,)


def test_an_error_no_kink_explains_is_wrong_even_at_a_kink():
    x = np.array([0.0, 1.0])
    verdict = verdict_of(lambda x: 1e-3 * np.abs(x[0]) + np.exp(x[1]), {"x": x}, {"x": np.array([0.0, 9.0])})
    assert verdict.outcome is Outcome.WRONG
    assert verdict.worst[0].index == (1,)


def test_a_jump_cannot_be_told():
    verdict = verdict_of(lambda x: np.sum(np.sign(x)), {"x": np.array([0.0])})
    assert verdict.outcome is Outcome.CANNOT_TELL


def test_a_swing_within_every_step_cannot_be_told():
    x = np.array([0.3, 0.4])
    assert verdict_of(lambda x: np.sum(np.sin(1e10 * x)), {"x": x}, {"x": 1e10 * np.cos(1e10 * x)}).outcome is Outcome.CANNOT_TELL


def test_values_that_are_not_finite_are_traced_to_their_node():
    f = lambda x: np.sum(np.exp(x) + np.log(x))
    x = np.array([1.0, -1.0])
    graph = graph_of(f, {"x": x})
    verdict = verdict_of(graph, {"x": x})
    assert verdict.outcome is Outcome.CANNOT_TELL
    log = next(i for i, node in enumerate(graph.nodes) if node.op == "log")
    assert f"at the point: node {log} (log)" in verdict.why
    assert "input 'x'" in verdict_of(f, {"x": np.array([1.0, np.nan])}).why


def test_a_domain_that_ends_at_the_point_cannot_be_told():
    verdict = verdict_of(lambda x: np.sum(np.sqrt(x)), {"x": np.array([0.0, 1.0])})
    assert verdict.outcome is Outcome.CANNOT_TELL
    assert "beside the point" in verdict.why
    assert "(sqrt)" in verdict.why


def test_a_domain_that_ends_near_the_point_is_no_obstacle():
    x = np.array([1e-3, 1.0, 3e-6])
    assert verdict_of(lambda x: np.sum(np.sqrt(x)), {"x": x}, {"x": 0.5 / np.sqrt(x)}).right


def test_our_derivative_not_finite_where_the_function_is():
    graph = graph_of(lambda x: x @ x + np.sqrt(np.sum(0 * x)), {"x": np.array([0.5, 0.5])})
    verdict = verdict_of(graph, {"x": np.array([0.5, 0.5])})
    assert verdict.outcome is Outcome.CANNOT_TELL
    assert "our derivative is not finite" in verdict.why
    assert f"node {next(i for i, node in enumerate(graph.nodes) if node.op == 'sqrt')} (" in verdict.why
    verdict = verdict_of(lambda x: np.power(np.sum(x * x), 0.5), {"x": np.zeros(2)})
    assert verdict.outcome is Outcome.CANNOT_TELL


def test_a_derivative_below_the_rounding_cannot_be_told_from_zero():
    x = np.array([0.1, 0.2])
    verdict = verdict_of(lambda x: 1e8 + 1e-12 * np.sum(np.sin(x)), {"x": x}, {"x": 1e-12 * np.cos(x)})
    assert verdict.outcome is Outcome.CANNOT_TELL
    assert "too wide" in verdict.why
