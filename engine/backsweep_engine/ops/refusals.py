"""What is said where a traced value cannot do what an array can, and what to write instead.

term.py and the client's tracing ask here; nothing here makes a node. The frames of a call are looked at
only when it has failed: they tell np.full, which can be named, from np.array, which stands on no frame.
A hint names something that is traced; a test holds each to that.
"""

from __future__ import annotations

import dis
import inspect
import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from ..errors import GraphError
from .op import FACES, HINTS, NAMED_SPELLINGS, SPELLINGS

STORE = "h = bs.set(h, index, value) returns the array with the value in it, bs.add_at(h, index, value) for h[index] += value; h may begin as np.zeros(n)"

BRANCH = (
    "use np.where, or bs.cond for whole branches; np.maximum(a, b) for max(a, b), (a < x) & (x < b) for a < x < b, np.any(x) for any(x), "
    "np.sort(x) for sorted(x)"
)

_CONVERSION = (
    "np functions take it as it is; np.stack([a, b]) makes an array of several values, np.block([[a, b], [c, d]]) of rows, np.take(a, i) indexes by one, "
    "np.broadcast_to(x, shape) fills with one; random numbers are drawn before and passed as an argument"
)

_STEPS = "bs.odeint, or its steps as bs.scan"
_ROOT = "bs.root and bs.fixed_point give a solution its derivative"
_POLYNOMIAL = (
    "np.polyval(c[::-1], x) takes traced coefficients and points; with numbers as c, np.polynomial's own functions take a traced x: chebval(x, c), legval(x, c)"
)

SPARSE = "A.toarray() @ x, or by its entries in the form A = scipy.sparse.coo_array(A): bs.segment_sum(A.data * x[A.col], A.row, A.shape[0])"

_INSTEAD: dict[str, str] = {
    # NumPy's, which turn an argument into an array before anyone is asked.
    **dict.fromkeys(
        ("stack", "vstack", "hstack", "column_stack", "dstack"), "np.block([[a, b], [c, d]]) makes an array of rows; np.stack([a, b]) each of them"
    ),
    "full": "np.broadcast_to(x, shape), or np.full_like(a, x) of a traced a",
    "vectorize": "call the function on whole arrays, or bs.vmap(f)(x)",
    "ndenumerate": "loop over range(len(x))",
    "matrix": "np.matrix is not traced: use @ on arrays",
    "asmatrix": "np.matrix is not traced: use @ on arrays",
    "AxisConcatenator": "np.concatenate([a, b]), or np.column_stack for np.c_",
    "ABCPolyBase": _POLYNOMIAL,
    # SciPy's.
    "solve_ivp": _STEPS,
    "odeint": _STEPS,
    "minimize": _ROOT,
    "root": _ROOT,
    "fsolve": _ROOT,
    "root_scalar": _ROOT,
    "brentq": _ROOT,
    "newton": _ROOT,
    "least_squares": _ROOT,
    "quad": "np.trapezoid over fixed points, or the weights of np.polynomial.legendre.leggauss",
    "interp1d": "np.interp",
    "CubicSpline": "np.interp, or the spline's own matrix times the values",
    "minimize_scalar": _ROOT,
    "solve": "np.linalg.solve",
    "solve_banded": "bs.solve_tridiagonal",
    "cho_factor": "np.linalg.cholesky, then bs.cho_solve((c, True), b)",
    "lu_factor": "bs.lu, then bs.lu_solve",
    "toeplitz": "np.stack of rolled rows, or np.take(c, abs(i - j))",
    "convolve2d": "bs.conv2d",
    "fftconvolve": "np.convolve",
    "lfilter": "bs.linear_recurrence, or bs.scan",
    "cdist": "np.linalg.norm(a[:, None] - b[None], axis=-1)",
    "pdist": "np.linalg.norm(a[i] - a[j], axis=-1), with i, j = np.triu_indices(n, 1)",
}

_FAMILIES: dict[str, str] = {
    "np.fft": "complex numbers are not traced: np.convolve and bs.conv1d filter; a transform is two products, np.cos(w * t) @ x and -np.sin(w * t) @ x",
    "np.random": "random numbers are drawn before the trace and passed as an argument",
    "np.ma": "masks are not traced: np.where(mask, x, 0), or np.nansum and its like",
}

_IN_PLACE = "it would change the array in its place"

_ATTRIBUTES: dict[str, str] = {
    "sort": f"{_IN_PLACE}: np.sort(x) returns the sorted one",
    "partition": f"{_IN_PLACE}: np.partition(x, k) returns another",
    "fill": f"{_IN_PLACE}: np.full_like(x, value) returns another",
    "put": f"{_IN_PLACE}: bs.put(x, index, value) returns the new array",
    "itemset": f"{_IN_PLACE}: {STORE}",
    "resize": f"{_IN_PLACE}: np.resize(x, shape) returns another",
    "flat": "x.ravel()",
    "nonzero": "the shape of its result depends on values: use np.where(mask, x, 0)",
    "view": "x.astype(dtype) converts; the bits of a traced value cannot be read",
    "tobytes": "a traced value has no bytes yet: read them from the result",
    "append": "np.append(x, value) returns another array, np.stack(list) makes one of a Python list",
    "at": "x.at[i].set(v) is JAX's: bs.set(x, i, v), bs.add_at(x, i, v)",
    "backward": "f.gradient(x) of the submitted function, or bs.gradient(f)(x) in a trace",
    "detach": "bs.stop_gradient(x)",
    "numpy": "a traced value has no number yet: read it from the result",
}


def unknown(function: Any) -> GraphError:
    """A function of NumPy or SciPy that has no spelling."""
    from difflib import get_close_matches  # not needed until something fails

    name = qualified(function)
    special = [f"scipy.special.{n}" for n in sorted(NAMED_SPELLINGS)]
    among = special if name.startswith("scipy.special.") else [q for q in [*map(qualified, SPELLINGS), *special] if q.startswith(("np.", "scipy."))]
    known = {q.rpartition(".")[2]: q for q in among}
    near = [known[k] for k in get_close_matches(name.rpartition(".")[2], known, 6, 0.6)] or (special if among is special else [])
    family = next((hint for prefix, hint in _FAMILIES.items() if name.startswith(f"{prefix}.")), "write it with functions that are; the README lists them")
    if name.endswith("(vectorized)"):
        name, family = "a function of np.frompyfunc", _INSTEAD["vectorize"]
    return GraphError(
        f"{name} is not among the functions backsweep traces",
        reason="NOT_TRACEABLE",
        allowed=", ".join(near),
        hint=HINTS.get(function, family),
    )


def qualified(function: Any) -> str:
    """As users write it: np.sum, np.linalg.inv, np.add.reduce, scipy.special.erf."""
    name = str(getattr(function, "__name__", function))
    ufunc = getattr(function, "__self__", None)
    if isinstance(ufunc, np.ufunc):
        return f"np.{ufunc.__name__}.{name}"
    if is_scipy_s(function):
        return f"scipy.special.{name}"
    if isinstance(function, np.ufunc):
        return f"np.{name}" if hasattr(np, name) else name
    module = str(getattr(function, "__module__", "") or "")
    return f"{re.sub('^numpy', 'np', module)}.{name}" if module.startswith("numpy") else name


def is_scipy_s(function: Any) -> bool:
    """Whether it is a ufunc of scipy.special; the caller who has one has imported that, so we need not."""
    special = sys.modules.get("scipy.special")
    return isinstance(function, np.ufunc) and special is not None and getattr(special, function.__name__, None) is function


def argument(function: Any, spelling: Callable[..., Any], error: TypeError) -> GraphError:
    """An argument the spelling does not take, in the words of NumPy's function, not ours."""
    name = qualified(function)
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    taken = [p.name for p in inspect.signature(spelling).parameters.values() if p.kind is not p.VAR_KEYWORD and p.name not in ("name", "function")]
    what = f"{found[1]}=" if found else str(error).partition("() ")[2] or str(error)
    return GraphError(
        f"{name}: {what} is not traced" if found else f"{name}: {what}",
        reason="NOT_TRACEABLE",
        allowed=", ".join(taken),
        hint=_OPTIONS.get(found[1], "leave it out") if found else "name the arguments after the first two",
    )


_OPTIONS: dict[str, str] = {
    "out": "take the result: y = f(x)",
    "where": "np.where(mask, f(x), otherwise)",
    "dtype": "x.astype(dtype) before, or after",
    "initial": "add it, or take np.maximum or np.minimum with it",
    "order": "arrays are in C order",
    "casting": "x.astype(dtype) converts",
}


def ufunc_call(ufunc: Any, method: str, options: dict[str, Any]) -> tuple[str, str]:
    """Message and hint for a ufunc's method or option that is not traced."""
    name = qualified(ufunc)
    if "out" in options and getattr(ufunc, method, None) in SPELLINGS:
        return f"{name}.{method}: out= cannot be traced", _OPTIONS["out"]
    if ufunc not in SPELLINGS and ufunc.__name__ not in NAMED_SPELLINGS:
        return f"{name} is not among the functions backsweep traces", HINTS.get(ufunc, "write it with functions that are; the README lists them")
    if method != "__call__":
        folds = {
            "reduce": f"functools.reduce({name}, x) folds the rows of x",
            "accumulate": f"np.stack(list(itertools.accumulate(x, {name}))) folds the rows of x",
            "outer": f"{name}(a[:, None], b)",
            "reduceat": "np.stack([np.sum(x[a:b]) for a, b in parts]), or bs.segment_sum",
            "at": STORE,
        }
        function = getattr(ufunc, method)
        return f"{name}.{method} cannot be traced", HINTS.get(function, folds.get(method, "write the plain call"))
    given = ", ".join(f"{k}=" for k in options)
    if list(options) == ["out"]:
        hint = "write h = h + x instead of h += x; for part of an array h = bs.add_at(h, index, x), and bs.set(h, index, x) to replace it"
        return "out= cannot be traced: a NumPy array holds numbers, not traced values", hint
    first = "where" if "where" in options else next(iter(options))
    hint = (
        f"np.where(mask, {name}(...), otherwise): the branch not taken adds nothing to derivatives" if first == "where" else _OPTIONS.get(first, "leave it out")
    )
    return f"{name}: {given} cannot be traced", hint


def conversion(message: str, hint: str, source: str) -> GraphError:
    """A traced value that someone would turn into a number or array of NumPy's; `hint` if nothing is known of who."""
    names, user = _callers()
    if user is not None and not names and _stores(user):
        return GraphError("a traced value cannot be stored in a NumPy array", reason="NOT_TRACEABLE", hint=STORE, source=source)
    return GraphError(message, reason="NOT_TRACEABLE", hint=_who(names) or hint or _CONVERSION, source=source)


def _callers() -> tuple[list[tuple[str, str]], FrameType | None]:
    """(module, name) of the functions of NumPy and SciPy at work, the outermost first; and the frame that called them."""
    frame: FrameType | None = sys._getframe(2)
    names: list[tuple[str, str]] = []
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        root = module.partition(".")[0]
        if root in ("numpy", "scipy"):
            # Of a method its class; of a decorator's wrapper the function it wraps.
            held = frame.f_locals.get("f") if frame.f_code.co_name == "wrapper" else None
            names.append((module, getattr(held, "__name__", frame.f_code.co_qualname.partition(".")[0])))
        elif root != "backsweep_engine":
            break
        frame = frame.f_back
    return names[::-1], frame


def _stores(frame: FrameType) -> bool:
    """Whether the frame is at an item assignment."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("STORE_SUBSCR", "STORE_SLICE"))


def _who(names: list[tuple[str, str]]) -> str:
    for module, name in names:
        if module.partition(".")[0] != names[0][0].partition(".")[0]:
            break  # NumPy's functions as SciPy's use them are not what the user wrote
        if module.startswith("numpy.polynomial"):
            return _POLYNOMIAL
        if module.startswith(_DENSITIES):
            return "write out the density; bs.gammaln, bs.xlogy, bs.betaln, bs.ndtr and bs.log_ndtr are what SciPy's are made of"
        if module.startswith("scipy.sparse"):
            return SPARSE
        if name in _INSTEAD:
            return _INSTEAD[name]
        numpy_s = next((q for q in (f"np.{name}", f"np.linalg.{name}") if q in _traced()), "")
        if module.startswith("scipy"):
            if name in FACES:
                return f"bs.{name}"
            if numpy_s:
                return numpy_s
        elif numpy_s:
            return f"{numpy_s}(np.stack([...])): NumPy asks an array how it is traced, not a list"
    if any(module.startswith("scipy.special") for module, _ in names):
        return "this function of scipy.special is not traced: the README lists those that are"
    if any(module.startswith("scipy") for module, _ in names):
        return f"{'' if _scipy_asks() else _SCIPY_ASKS}write it with np and bs functions: this one of SciPy computes with NumPy arrays and numbers only"
    return ""


_DENSITIES = ("scipy.stats._distn_infrastructure", "scipy.stats._multivariate", "scipy.stats._distribution_infrastructure")
_SCIPY_ASKS = "set SCIPY_ARRAY_API=1 before SciPy is imported: what takes arrays of any library then traces; else "


def _scipy_asks() -> bool:
    """Whether SciPy asks its arguments for their namespace, or makes NumPy arrays of all."""
    return bool(getattr(sys.modules.get("scipy._lib._array_api"), "SCIPY_ARRAY_API", False))


def _traced() -> set[str]:
    return set(map(qualified, SPELLINGS))


def attribute(name: str) -> GraphError:
    """An attribute or method that traced values have not."""
    hint = _who(_callers()[0]) or _ATTRIBUTES.get(name)
    if hint is None and f"np.{name}" in _traced():
        hint = f"np.{name}(x)"
    if hint is None:
        hint = HINTS.get(getattr(np, name, None), f"bs.{name}(x)" if name in FACES else "use the np function, if the README lists it")
    return GraphError(f"a traced value has no .{name}", reason="NOT_TRACEABLE", name=name, hint=hint)


HINTS |= {
    np.angle: "np.arctan2(y, x) of the two parts",
    np.iscomplex: "a traced value is real",
    np.isreal: "a traced value is real",
    np.polyfit: "np.linalg.lstsq(np.vander(x, degree + 1), y)[0]",
    np.roots: "its result may be complex: bs.root follows one real root",
    np.poly: "functools.reduce(np.polymul, factors)",
    np.polydiv: "np.linalg.solve, or fit the quotient",
    np.geomspace: "np.exp(np.linspace(np.log(a), np.log(b), n))",
    np.linalg.eig: "eigenvalues may be complex: of a symmetric matrix np.linalg.eigh",
    np.linalg.eigvals: "eigenvalues may be complex: of a symmetric matrix np.linalg.eigvalsh",
    np.nanmedian: "np.median of what is known to be a number when tracing: x[known]",
    np.nanquantile: "np.quantile of what is known to be a number when tracing: x[known]",
    np.nanpercentile: "np.percentile of what is known to be a number when tracing: x[known]",
    np.nanargmax: "np.argmax(np.where(np.isnan(x), -np.inf, x))",
    np.nanargmin: "np.argmin(np.where(np.isnan(x), np.inf, x))",
    np.lexsort: "np.argsort of one key that holds the order of both",
    np.histogram2d: "bs.segment_sum(weights, cell, count), the cell from np.searchsorted",
    np.histogramdd: "bs.segment_sum(weights, cell, count), the cell from np.searchsorted",
    np.array2string: "a traced value has no number to format: print(x) shows its type",
    np.array_str: "a traced value has no number to format: print(x) shows its type",
    np.array_repr: "a traced value has no number to format: print(x) shows its type",
    np.savetxt: "a traced value has no number to save: save the result",
    np.save: "a traced value has no number to save: save the result",
}
