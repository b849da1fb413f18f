"""NIST's nonlinear regression sets: traced, fitted from the near start, and the certified standard deviations reproduced.

A standard deviation is s sqrt(diag (J'J)^-1) at the solution, and an error of J stays in it: this is a
judge of Jacobians that ends in eleven digits found by somebody else in multiple precision. Differences
of two points do not reach 9 digits on any set. Digits are -log10 of the largest relative error.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares

import backsweep as bs
from support.nist import Dataset, names, read

Array = np.ndarray[Any, Any]

WANTED = 9.0
POLISH = 50
"""Gauss-Newton steps after the fit. They converge linearly, ENSO's by a factor 2 a step."""


def _bennett(b: Any, x: Array) -> Any:
    b1, b2, b3 = b
    return b1 * (b2 + x) ** (-1 / b3)


def _saturating(b: Any, x: Array) -> Any:
    b1, b2 = b
    return b1 * (1 - np.exp(-b2 * x))


def _chwirut(b: Any, x: Array) -> Any:
    b1, b2, b3 = b
    return np.exp(-b1 * x) / (b2 + b3 * x)


def _danwood(b: Any, x: Array) -> Any:
    b1, b2 = b
    return b1 * x**b2


def _eckerle(b: Any, x: Array) -> Any:
    b1, b2, b3 = b
    return b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2)


def _enso(b: Any, x: Array) -> Any:
    b1, b2, b3, b4, b5, b6, b7, b8, b9 = b
    t = 2 * np.pi * x
    year = b2 * np.cos(t / 12) + b3 * np.sin(t / 12)
    return b1 + year + b5 * np.cos(t / b4) + b6 * np.sin(t / b4) + b8 * np.cos(t / b7) + b9 * np.sin(t / b7)


def _gauss(b: Any, x: Array) -> Any:
    b1, b2, b3, b4, b5, b6, b7, b8 = b
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-((x - b4) ** 2) / b5**2) + b6 * np.exp(-((x - b7) ** 2) / b8**2)


def _quadratics(b: Any, x: Array) -> Any:
    b1, b2, b3, b4, b5 = b
    return (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2)


def _cubics(b: Any, x: Array) -> Any:
    b1, b2, b3, b4, b5, b6, b7 = b
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def _lanczos(b: Any, x: Array) -> Any:
    b1, b2, b3, b4, b5, b6 = b
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-b4 * x) + b5 * np.exp(-b6 * x)


def _mgh09(b: Any, x: Array) -> Any:
    b1, b2, b3, b4 = b
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def _mgh10(b: Any, x: Array) -> Any:
    b1, b2, b3 = b
    return b1 * np.exp(b2 / (x + b3))


def _mgh17(b: Any, x: Array) -> Any:
    b1, b2, b3, b4, b5 = b
    return b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5)


def _misra1b(b: Any, x: Array) -> Any:
    b1, b2 = b
    return b1 * (1 - (1 + b2 * x / 2) ** -2)


def _misra1c(b: Any, x: Array) -> Any:
    b1, b2 = b
    return b1 * (1 - (1 + 2 * b2 * x) ** -0.5)


def _misra1d(b: Any, x: Array) -> Any:
    b1, b2 = b
    return b1 * b2 * x * (1 + b2 * x) ** -1


def _nelson(b: Any, x1: Array, x2: Array) -> Any:
    b1, b2, b3 = b
    return b1 - b2 * x1 * np.exp(-b3 * x2)


def _rat42(b: Any, x: Array) -> Any:
    b1, b2, b3 = b
    return b1 / (1 + np.exp(b2 - b3 * x))


def _rat43(b: Any, x: Array) -> Any:
    b1, b2, b3, b4 = b
    return b1 / (1 + np.exp(b2 - b3 * x)) ** (1 / b4)


def _roszman(b: Any, x: Array) -> Any:
    b1, b2, b3, b4 = b
    return b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi


MODELS: dict[str, Callable[..., Any]] = {
    "Bennett5": _bennett,
    "BoxBOD": _saturating,
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": _danwood,
    "ENSO": _enso,
    "Eckerle4": _eckerle,
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubics,
    "Kirby2": _quadratics,
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": _mgh09,
    "MGH10": _mgh10,
    "MGH17": _mgh17,
    "Misra1a": _saturating,
    "Misra1b": _misra1b,
    "Misra1c": _misra1c,
    "Misra1d": _misra1d,
    "Nelson": _nelson,
    "Rat42": _rat42,
    "Rat43": _rat43,
    "Roszman1": _roszman,
    "Thurber": _cubics,
}

TOO_SMALL = "Lanczos1"
"""Its residuals are 1e-13 of its data, so that float64 keeps 3 digits of s whatever the Jacobian."""


@dataclass(frozen=True, slots=True)
class Fit:
    """deviations = scale sqrt(diag (J'J)^-1), scale = |residual| / sqrt(n - p); `digits` of the deviations."""

    data: Dataset
    values: Array
    deviations: Array
    scale: float

    @property
    def digits(self) -> float:
        return digits(self.deviations, self.data.deviations)


def digits(got: Any, certified: Any) -> float:
    return float(-np.log10(np.max(np.abs(np.asarray(got) / certified - 1))))


def observed(data: Dataset) -> Array:
    """What the model gives the mean of: Nelson's is of log y."""
    return np.log(data.y) if data.name == "Nelson" else data.y


def factored(J: Array) -> tuple[Array, Array, Array]:
    """J = Q R diag(size), with columns of length 1 before Q R: the sizes of the parameters are up to 1e10 apart."""
    size = np.linalg.norm(J, axis=0)
    Q, R = np.linalg.qr(J / size)
    return Q, R, size


@cache
def fit(name: str) -> Fit:
    data, model = read(name), MODELS[name]

    def residual(b: Any, y: Any, x: Any) -> Any:
        return model(b, *x) - y

    with bs.local() as here, warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.NonFiniteWarning)  # a trial step may overflow; the fit then makes a shorter one
        f = here.submit(residual, b=bs.float64[len(data.values)], y=observed(data), x=data.x)
        b = least_squares(f, data.starts[1], f.jacobian, method="lm", x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=1000).x
        for _ in range(POLISH):
            Q, R, size = factored(f.jacobian(b))
            b = b - np.linalg.solve(R, Q.T @ f(b)) / size
        r, (_, R, size) = f(b), factored(f.jacobian(b))
    scale = float(np.linalg.norm(r)) / data.freedom**0.5
    return Fit(data, b, scale * np.linalg.norm(np.linalg.inv(R), axis=1) / size, scale)


def table() -> str:
    rows = [f"{name:10}{fit(name).digits:12.1f}{digits(fit(name).values, read(name).values):12.1f}" for name in names()]
    return "\n".join([f"{'digits of':10}{'deviations':>12}{'parameters':>12}", *rows])


def test_there_is_a_model_for_each_of_the_27_sets() -> None:
    assert names() == sorted(MODELS)
    assert len(MODELS) == 27


@pytest.mark.parametrize("name", [name for name in names() if name != TOO_SMALL])
def test_in_plain_numpy_the_certified_parameters_leave_the_certified_sum_of_squares(name: str) -> None:
    data = read(name)
    r = MODELS[name](data.values, *data.x) - observed(data)
    assert digits(r @ r, data.squares) > 8


@pytest.mark.parametrize("name", [name for name in names() if name != TOO_SMALL])
def test_the_standard_deviations_are_the_certified_ones_to_nine_digits(name: str) -> None:
    found = fit(name)
    assert found.digits > WANTED and digits(found.values, found.data.values) > WANTED, table()


def test_where_the_residuals_are_rounding_errors_all_but_their_size_has_nine_digits() -> None:
    found = fit(TOO_SMALL)
    certified = (found.data.squares / found.data.freedom) ** 0.5
    assert found.digits > 2 and digits(found.values, found.data.values) > WANTED, table()
    assert digits(found.deviations / found.scale, found.data.deviations / certified) > WANTED
