"""The models of a suite, and the gradients it supplies: from files, from the server by digest, or the user's own code.

A function named `module:name` is imported and run in this process: code, not data. So it wants `allow_code`, which
only the person at the command line gives, never the suite. Everything else is data, checked when it is read.
"""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import DTYPES, Type

from ..checking import adjoined
from ..dtypes import DType
from ..service import Function, Service
from ..wire import limits
from ..wire.graphs import decode_graph
from .arrays import read_npz
from .points import named_exactly
from .suite import Case, Spec

Array = np.ndarray[Any, Any]

_KEPT = 64
"""Models held at a time."""


@dataclass(slots=True)
class Models:
    """Models by what names them, each loaded once while it is among the last 64. May be used by several threads."""

    service: Service
    folder: Path
    allow_code: bool = False
    _loaded: dict[Any, Function] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def of(self, spec: Spec) -> Function:
        """The model with its arrays bound; inputs are flat, by path, as of a graph."""
        key = (spec.graph, spec.digest, spec.function, spec.bind, repr(spec.inputs))
        with self._lock:
            if key not in self._loaded:
                found = self._load(spec)
                if len(self._loaded) >= _KEPT:
                    self._loaded.pop(next(iter(self._loaded)))
                self._loaded[key] = found
            return self._loaded[key]

    def _load(self, spec: Spec) -> Function:
        bound = read_npz(self.folder, spec.bind) if spec.bind else {}
        if spec.function:
            traced = self._traced(spec, bound)
            return self.service.submit(traced.graph, **traced.signature.bound)
        if spec.digest:
            return self._fetched(spec, bound)
        return self.service.submit(decode_graph(read_graph(self.folder, spec.graph)), **bound)

    def _fetched(self, spec: Spec, bound: Mapping[str, Array]) -> Function:
        try:
            return self.service.fetch(spec.digest, timeout=spec.timeout, **bound)
        except Error as error:
            if error.reason != "MISSING_BLOB":
                raise
            raise Error("the server holds no such graph", reason="MISSING_BLOB", got=spec.digest, hint="any call with the graph uploads it") from None

    def _traced(self, spec: Spec, bound: Mapping[str, Array]) -> Function:
        module, colon, name = spec.function.partition(":")
        if not (colon and module and name):
            raise GraphError("a function is named module:name", reason="MALFORMED", got=repr(spec.function))
        if not self.allow_code:
            hint = "give --allow-code if the suite and its modules are yours"
            raise Error("the suite wants to run code in this process", reason="CODE", got=spec.function, hint=hint)
        arguments = {argument: _types(text, argument) for argument, text in spec.inputs.items()}
        folder = str(self.folder.resolve())
        sys.path.insert(0, folder)
        try:
            f: Any = importlib.import_module(module)
            for part in name.split("."):
                f = getattr(f, part)
            return self.service.submit(f, **arguments, **bound)
        except Error:
            raise
        except Exception as error:
            # Their code may raise anything.
            raise GraphError("the function cannot be loaded", reason="CODE", name=spec.function, got=f"{type(error).__name__}: {error}") from None
        finally:
            sys.path.remove(folder)

    def with_gradient(self, case: Case, model: Function, wrt: tuple[str, ...]) -> tuple[Function, dict[str, Array] | None]:
        """The model to check and, of gradient values the case supplies, those by input name.

        A gradient graph becomes the model's derivative, and is checked as such: it must take the model's inputs.
        """
        given = case.spec.gradient
        if not given:
            return model, None
        file = given[case.point if len(given) > 1 else 0]
        if file.endswith(".npz"):
            return model, named_exactly(read_npz(self.folder, file), wrt, f"the gradient {file}")
        adjoint = decode_graph(read_graph(self.folder, file))
        return Function(self.service, adjoined(model.signature, adjoint, wrt), ()), None


def read_graph(folder: Path, name: str) -> bytes:
    """The bytes of a graph file, which are no more than may be; errors name it as the suite does."""
    try:
        with (folder / name).open("rb") as file:
            blob = file.read(limits.MAX_GRAPH_BYTES + 1)
    except OSError as error:
        raise Error("there is no such model", reason="NO_FILE", got=name, hint=error.strerror or "") from None
    if len(blob) > limits.MAX_GRAPH_BYTES:
        raise GraphError("a graph file is too large", reason="TOO_LARGE", got=name, allowed=f"{limits.MAX_GRAPH_BYTES} bytes")
    return blob


def _types(text: Any, name: str) -> Any:
    """`float64[3, 4]`, or a table or list of such, as the types submit takes."""
    match text:
        case dict():
            return {key: _types(one, f"{name}.{key}") for key, one in text.items()}
        case list():
            return [_types(one, f"{name}[{k}]") for k, one in enumerate(text)]
        case str() if found := re.fullmatch(r"(\w+)(?:\[([\d, ]*)\])?", text):
            sizes = [size.strip() for size in (found[2] or "").split(",")]
            if found[1] in DTYPES and (found[2] is None or all(size.isdecimal() and len(size) < 16 for size in sizes)):
                dtype = DTYPES[found[1]]
                return DType(dtype) if found[2] is None else Type(dtype, tuple([int(size) for size in sizes]))
    raise GraphError("this is no type", reason="DTYPE", name=name, got=f"{name} = {text!r}", allowed=f"such as 'float64[30]'; one of {', '.join(DTYPES)}")
