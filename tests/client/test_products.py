"""gauss_newton, fisher and empirical_fisher as a user meets them: shapes, trees, what `through` may say, asks, derived functions, refusals."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import backsweep as bs

Layer = namedtuple("Layer", ["w", "b"])
Normal = namedtuple("Normal", ["log_scale", "mean"])

RANDOM = np.random.default_rng(5)
X, Y = RANDOM.normal(size=(20, 3)), (RANDOM.random(20) < 0.5).astype(float)
W, V = RANDOM.normal(size=3), RANDOM.normal(size=3)
P = 1 / (1 + np.exp(-X @ W))
G = X.T @ ((P * (1 - P))[:, None] * X)
"""X' D X: the Hessian, Gauss-Newton and Fisher of a logistic regression."""


@pytest.fixture(scope="module")
def service() -> Iterator[bs.Service]:
    with bs.local() as service:
        yield service


def loss_of(z: Any, y: Any) -> Any:
    return np.sum(np.logaddexp(0, z) - y * z)


def named(w: Any, X: Any, y: Any) -> Any:
    return loss_of(bs.name("logits", X @ w), y)


def submitted(service: bs.Service, f: Callable[..., Any], **more: Any) -> bs.Function:
    return service.submit(f, w=bs.float64[3], X=X, y=Y, **more)


def close(got: Any, wanted: Any) -> None:
    assert np.shape(got) == np.shape(wanted)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13 * max(1.0, np.abs(wanted).max(initial=0)))  # sums of 20 products of numbers near 1


def test_the_matrix_the_product_and_many_products(service: bs.Service) -> None:
    many = RANDOM.normal(size=(4, 3))
    asked = {
        "gauss_newton": (submitted(service, named), {"through": "logits"}, G),
        "fisher": (service.submit(lambda w, X: X @ w, w=bs.float64[3], X=X), {"family": "bernoulli"}, G),
        "empirical_fisher": (submitted(service, lambda w, X, y: y * (X @ w) - np.logaddexp(0, X @ w)), {}, X.T @ (((Y - P) ** 2)[:, None] * X)),
    }
    for verb, (f, options, wanted) in asked.items():
        product = getattr(f, verb)
        close(product(W, **options), wanted)
        close(product(W, **options, block=2), wanted)
        close(product(W, **options, tangent=V), wanted @ V)
        close(product(W, **options, tangent=many), many @ wanted)
        close(product(W, **options, tangent=np.zeros((0, 3))), np.zeros((0, 3)))


THROUGH: dict[str, tuple[Callable[[Any, Any, Any], Any], Any]] = {
    "a name": (named, "logits"),
    "a list of names": (named, ["logits"]),
    "the first of two outputs": (lambda w, X, y: (z := X @ w, loss_of(z, y)), 0),
    "its path": (lambda w, X, y: (z := X @ w, loss_of(z, y)), "[0]"),
    "an entry of a dict": (lambda w, X, y: {"scores": (z := X @ w), "loss": loss_of(z, y)}, "scores"),
    "its path in a dict": (lambda w, X, y: {"scores": (z := X @ w), "loss": loss_of(z, y)}, ".scores"),
    "a part of the output with two leaves": (lambda w, X, y: ({"a": (a := X[:8] @ w), "b": (b := X[8:] @ w)}, loss_of(np.concatenate([a, b]), y)), 0),
    "an entry of a dict that is a tuple": (
        lambda w, X, y: {"z": ((a := X[:8] @ w), (b := X[8:] @ w)), "loss": loss_of(np.concatenate([a, b]), y)},
        "z",
    ),
    "two entries of a tuple": (lambda w, X, y: ((a := X[:8] @ w), loss_of(np.concatenate([a, (b := X[8:] @ w)]), y), b), (0, 2)),
    "a name that is given back too": (lambda w, X, y: (z := bs.name("logits", X @ w), loss_of(z, y)), "logits"),
    "a name rather than an entry of a dict called so": (
        lambda w, X, y: {"loss": loss_of(z := bs.name("z", X @ w), y), "z": z},
        "z",
    ),
}


@pytest.mark.parametrize("case", THROUGH)
def test_through_may_be(case: str, service: bs.Service) -> None:
    f, through = THROUGH[case]
    function = submitted(service, f)
    close(function.gauss_newton(W, through=through), G)
    close(function.gauss_newton(W, through=through, tangent=V), G @ V)


def test_trees_and_several_arguments_are_nested_as_of_a_hessian(service: bs.Service) -> None:
    def model(p: Any, scale: Any, X: Any) -> Any:
        return scale * (X @ p["layer"].w + p["layer"].b)

    f = service.submit(model, p={"layer": Layer(bs.float64[3, 2], bs.float64[2])}, scale=bs.float64, X=X)
    p, scale = {"layer": Layer(RANDOM.normal(size=(3, 2)), RANDOM.normal(size=2))}, 1.5
    by_w = scale * np.einsum("np,kl->nkpl", X, np.eye(2))
    by_b = scale * np.broadcast_to(np.eye(2), (20, 2, 2))
    by_scale = X @ p["layer"].w + p["layer"].b
    matrix = f.fisher(p, scale, family="normal")
    close(matrix[0]["layer"].w[0]["layer"].b, np.einsum("nkpl,nkm->plm", by_w, by_b))
    close(matrix[0]["layer"].w[0]["layer"].w, np.einsum("nkpl,nkqm->plqm", by_w, by_w))
    close(matrix[1][1], np.sum(by_scale**2))
    close(matrix[1][0]["layer"].w, np.einsum("nk,nkpl->pl", by_scale, by_w))
    tangent = ({"layer": Layer(RANDOM.normal(size=(3, 2)), RANDOM.normal(size=2))}, 0.5)
    by_p, by_s = f.fisher(p, scale, family="normal", tangent=tangent)
    u = np.einsum("nkpl,pl->nk", by_w, tangent[0]["layer"].w) + by_b @ tangent[0]["layer"].b + by_scale * tangent[1]
    close(by_p["layer"].w, np.einsum("nkpl,nk->pl", by_w, u))
    close(by_s, np.sum(by_scale * u))
    alone = f.fisher(p, scale, family="normal", wrt="scale")
    assert alone.shape == () and alone.dtype == np.float64
    close(alone, np.sum(by_scale**2))


PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "a tuple": lambda m, s: (m, s),
    "a list": lambda m, s: [m, s],
    "a dict, whose entries come sorted": lambda m, s: {"mean": m, "log_scale": s},
    "a namedtuple in another order": lambda m, s: Normal(log_scale=s, mean=m),
}


@pytest.mark.parametrize("case", PAIRS)
def test_mean_and_log_scale_may_come_as(case: str, service: bs.Service) -> None:
    f = service.submit(lambda a, s, X: PAIRS[case](X @ a, s), a=bs.float64[3], s=bs.float64, X=X)
    by_a, by_s = f.fisher(W, 0.25, family="normal")
    close(by_a[0], X.T @ X * np.exp(-0.5))
    close(by_s[1], np.array(40.0))
    close(by_a[1], np.zeros(3))


def test_float32_stays_float32(service: bs.Service) -> None:
    f = service.submit(lambda w, X: X @ w, w=bs.float32[3], X=X.astype(np.float32))
    w, v = W.astype(np.float32), V.astype(np.float32)
    for answer, wanted in ((f.fisher(w, family="bernoulli"), G), (f.fisher(w, family="bernoulli", tangent=v), G @ V)):
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_asks_share_a_pass_and_give_the_bits_of_the_verbs(service: bs.Service) -> None:
    f = submitted(service, named)
    value, product, matrix = f.ask(W, bs.value, bs.gauss_newton(V, through="logits"), bs.gauss_newton(through="logits"))
    assert value == f(W)
    np.testing.assert_array_equal(product, f.gauss_newton(W, through="logits", tangent=V))
    np.testing.assert_array_equal(matrix, f.gauss_newton(W, through="logits"))
    g = service.submit(lambda w, X: X @ w, w=bs.float64[3], X=X)
    fisher, empirical = g.ask(W, bs.fisher(family="poisson"), bs.empirical_fisher(V))
    np.testing.assert_array_equal(fisher, g.fisher(W, family="poisson"))
    np.testing.assert_array_equal(empirical, g.empirical_fisher(W, tangent=V))


def test_explain_tells_the_plan_of_a_matrix_and_of_a_product(service: bs.Service) -> None:
    f = submitted(service, named)
    assert "the Gauss-Newton matrix by its products" in f.explain(W, verb="gauss_newton", through="logits", block=2)
    assert "3 columns in 2 blocks of 2" in f.explain(W, verb="gauss_newton", through="logits", block=2)
    assert "sweep" not in f.explain(W, verb="gauss_newton", through="logits", tangent=V)


def test_products_are_functions_that_can_be_derived_again(service: bs.Service) -> None:
    """By w the derivative of v' G(w) v is X' (p (1 - p) (1 - 2 p) (X v)^2)."""
    third = X.T @ (P * (1 - P) * (1 - 2 * P) * (X @ V) ** 2)
    f, g = submitted(service, named), service.submit(lambda w, X: X @ w, w=bs.float64[3], X=X)
    derived = (f.derive("gauss_newton", through="logits"), g.derive("fisher", family="bernoulli"))
    for product in derived:
        close(product(W, V), G @ V)
        close(product.jvp(W, V, wrt="w", tangent=V) @ V, third @ V)
    close(g.derive("empirical_fisher", wrt="w")(W, V), X.T @ X @ V)


def test_a_name_changes_no_answer_and_is_nothing_on_plain_arrays(service: bs.Service) -> None:
    plain = submitted(service, lambda w, X, y: loss_of(X @ w, y))
    f = submitted(service, named)
    assert f(W) == plain(W)
    np.testing.assert_array_equal(f.gradient(W), plain.gradient(W))
    np.testing.assert_array_equal(f.hessian(W), plain.hessian(W))
    assert bs.name("z", W) is W and named(W, X, Y) == loss_of(X @ W, Y)
    once = submitted(service, lambda w, X, y: loss_of(bs.name("z", z := X @ w), y) + 0 * np.sum(bs.name("z", z)))
    close(once.gauss_newton(W, through="z"), G)  # one value, named twice alike


@pytest.mark.parametrize("family", ["bernoulli", "categorical", "poisson"])
def test_what_is_not_finite_is_delivered_with_the_line_that_made_it(family: Any, service: bs.Service) -> None:
    f = service.submit(lambda w, X: X @ np.log(w), w=bs.float64[3], X=X)
    at = np.array([1.0, 2.0, -1.0])
    for asked in (lambda: f.fisher(at, family=family, tangent=V), lambda: f.fisher(at, family=family)):
        with pytest.warns(bs.NonFiniteWarning, match=r"log.*test_products\.py"):
            answer = asked()
        assert np.isnan(answer).any()


def _twice(w: Any, X: Any, y: Any) -> Any:
    z = bs.name("z", X @ w)
    return loss_of(z, y) + np.sum(bs.name("z", 2 * z))  # HERE


def _swapped(w: Any, X: Any, y: Any) -> Any:
    return bs.name(X @ w, "z")  # HERE


def _spaced(w: Any, X: Any, y: Any) -> Any:
    return np.sum(bs.name("the logits", X @ w))  # HERE


NAMES = {"two values of one name": (_twice, "NOT_TRACEABLE"), "name and value swapped": (_swapped, "ATTRIBUTE"), "a space": (_spaced, "ATTRIBUTE")}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_is_refused_on_the_line_that_gives_it(case: str, service: bs.Service) -> None:
    f, reason = NAMES[case]
    with pytest.raises(bs.GraphError) as caught:
        submitted(service, f)
    assert caught.value.reason == reason and "# HERE" in caught.value.window


def _penalised(w: Any, X: Any, y: Any) -> Any:
    z = bs.name("logits", X @ w)
    return loss_of(z, y) + 0.5 * np.sum(w * w)  # HERE


def test_a_penalty_past_the_logits_is_refused_on_its_line_and_what_to_write_is_right(service: bs.Service) -> None:
    with pytest.raises(bs.GraphError) as caught:
        submitted(service, _penalised).gauss_newton(W, through="logits")
    assert caught.value.reason == "NOT_THROUGH" and "# HERE" in caught.value.window and "bs.name('penalised', w)" in caught.value.hint

    def written(w: Any, X: Any, y: Any) -> Any:
        z, p = bs.name("logits", X @ w), bs.name("penalised", w)
        return loss_of(z, y) + 0.5 * np.sum(p * p)

    close(submitted(service, written).gauss_newton(W, through=("logits", "penalised")), G + np.eye(3))


WRONG: dict[str, tuple[Callable[[bs.Function], Any], str]] = {
    "no such name": (lambda f: f.gauss_newton(W, through="z"), "NOT_THROUGH"),
    "no such entry": (lambda f: f.gauss_newton(W, through=3), "NOT_THROUGH"),
    "not a name": (lambda f: f.gauss_newton(W, through=None), "NOT_THROUGH"),
    "no through in an ask": (lambda f: f.ask(W, bs.gauss_newton(V)), "NOT_THROUGH"),
    "no such family": (lambda f: f.fisher(W, family="gamma"), "MALFORMED"),
    "no family in an ask": (lambda f: f.ask(W, bs.fisher(V)), "MALFORMED"),
    "a family that is a list": (lambda f: f.fisher(W, family=["normal"]), "MALFORMED"),  # type: ignore[arg-type]
    "no such option": (lambda f: f.empirical_fisher(W, mode="forward"), "MALFORMED"),
    "a tangent of another shape": (lambda f: f.gauss_newton(W, through="logits", tangent=np.ones(4)), "SHAPE"),
    "a sum where examples are needed": (lambda f: f.empirical_fisher(W), "SHAPE"),
    "a sum where classes are needed": (lambda f: f.fisher(W, family="categorical"), "SHAPE"),
    "a derivative through nothing": (lambda f: f.derive("gauss_newton"), "NOT_THROUGH"),
    "a derivative of no family": (lambda f: f.derive("fisher"), "MALFORMED"),
    "of a function in a trace": (lambda f: bs.fisher(lambda x: x), "NOT_TRACEABLE"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_asked_wrongly_is_refused_before_it_is_sent(case: str, service: bs.Service) -> None:
    ask, reason = WRONG[case]
    with pytest.raises(bs.GraphError) as caught:
        ask(submitted(service, named))
    assert caught.value.reason == reason
    assert caught.value.got or caught.value.allowed or caught.value.hint
