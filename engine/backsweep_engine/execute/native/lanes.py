"""Instructions on one element or on a vector of them, and the table of rules that write ops of the graph in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...graph import DTYPES
from .assembly import ELEMENT, STORED, SUFFIX, Assembly, Dtype, literal
from .machine import Machine, symbol

BOOL, INT64 = DTYPES["bool"], DTYPES["int64"]


class Unsupported(Exception):
    """This graph is not one for the native tier. Never seen outside this package."""


class Lanes:
    """Writes instructions on `lanes` elements at a time into an assembly."""

    def __init__(self, assembly: Assembly, machine: Machine, lanes: int) -> None:
        self.assembly, self.machine, self.lanes = assembly, machine, lanes

    def type(self, dtype: Dtype) -> str:
        return self.wide(ELEMENT[dtype.name])

    def wide(self, element: str) -> str:
        return element if self.lanes == 1 else f"<{self.lanes} x {element}>"

    def constant(self, value: Any, dtype: Dtype) -> str:
        text = literal(value, dtype)
        if self.lanes == 1:
            return text
        return "<" + ", ".join([f"{ELEMENT[dtype.name]} {text}"] * self.lanes) + ">"

    def spread(self, value: str, dtype: Dtype) -> str:
        """One element in every lane."""
        if self.lanes == 1:
            return value
        one = self.assembly.new(f"insertelement {self.type(dtype)} poison, {ELEMENT[dtype.name]} {value}, i64 0")
        return self.assembly.new(f"shufflevector {self.type(dtype)} {one}, {self.type(dtype)} poison, <{self.lanes} x i32> zeroinitializer")

    def operation(self, instruction: str, dtype: Dtype, *operands: str) -> str:
        return self.assembly.new(f"{instruction} {self.type(dtype)} {', '.join(operands)}")

    def convert(self, instruction: str, x: str, source: Dtype, target: Dtype) -> str:
        return self.assembly.new(f"{instruction} {self.type(source)} {x} to {self.type(target)}")

    def select(self, condition: str, dtype: Dtype, x: str, y: str) -> str:
        return self.assembly.new(f"select {self.type(BOOL)} {condition}, {self.type(dtype)} {x}, {self.type(dtype)} {y}")

    def intrinsic(self, name: str, dtype: Dtype, *operands: str) -> str:
        suffix = SUFFIX[dtype.name] if self.lanes == 1 else f"v{self.lanes}{SUFFIX[dtype.name]}"
        type = self.type(dtype)
        function = self.assembly.intrinsic(f"llvm.{name}.{suffix}", type, (type,) * len(operands))
        return self.assembly.new(f"call {type} {function}({', '.join(f'{type} {x}' for x in operands)})")

    def function(self, name: str, dtype: Dtype, *operands: str) -> str:
        """A function of the platform's by its C name."""
        if self.lanes > 1 and not self.machine.vector_function(name, len(operands), self.lanes, dtype):
            return self._one_by_one(name, dtype, operands)
        if self.lanes == 1 and not self.machine.scalar_function(name, dtype):
            raise Unsupported(name)
        type = self.type(dtype)
        function = self.assembly.external(symbol(name, self.lanes, dtype), type, (type,) * len(operands))
        return self.assembly.new(f"call {type} {function}({', '.join(f'{type} {x}' for x in operands)})")

    def _one_by_one(self, name: str, dtype: Dtype, operands: Sequence[str]) -> str:
        type, single = self.type(dtype), Lanes(self.assembly, self.machine, 1)
        result = "poison"
        for lane in range(self.lanes):
            elements = [self.assembly.new(f"extractelement {type} {x}, i64 {lane}") for x in operands]
            y = single.function(name, dtype, *elements)
            result = self.assembly.new(f"insertelement {type} {result}, {ELEMENT[dtype.name]} {y}, i64 {lane}")
        return result

    def compare(self, predicate: str, dtype: Dtype, x: str, y: str) -> str:
        """`predicate` as LLVM spells it: o.. or u.. of floats, s.. of integers, eq, ne."""
        return self.operation(("fcmp " if dtype.kind == "f" else "icmp ") + predicate, dtype, x, y)

    def both(self, x: str, y: str) -> str:
        return self.operation("and", BOOL, x, y)

    def either(self, x: str, y: str) -> str:
        return self.operation("or", BOOL, x, y)

    def inverse(self, x: str) -> str:
        return self.operation("xor", BOOL, x, self.constant(True, BOOL))

    def is_nan(self, dtype: Dtype, x: str) -> str:
        return self.compare("uno", dtype, x, x)

    # Memory. `mask`: which lanes are read or written, "" for all; the others are read as a harmless number.

    def load(self, address: str, dtype: Dtype, mask: str = "") -> str:
        a, type = self.assembly, self.wide(STORED[dtype.name])
        if not mask:
            raw = a.new(f"load {type}, ptr {address}, align 1")
        else:
            harmless = "zeroinitializer" if dtype.kind == "b" else self.constant(1, dtype)
            function = a.intrinsic(f"llvm.masked.load.{self._stored(dtype)}.p0", type, ("ptr", "i32", self.type(BOOL), type))
            raw = a.new(f"call {type} {function}(ptr {address}, i32 1, {self.type(BOOL)} {mask}, {type} {harmless})")
        return a.new(f"icmp ne {type} {raw}, zeroinitializer") if dtype.kind == "b" else raw

    def store(self, value: str, address: str, dtype: Dtype, mask: str = "") -> None:
        a, type = self.assembly, self.wide(STORED[dtype.name])
        if dtype.kind == "b":
            value = a.new(f"zext {self.type(BOOL)} {value} to {type}")
        if not mask:
            a.do(f"store {type} {value}, ptr {address}, align 1")
            return
        function = a.intrinsic(f"llvm.masked.store.{self._stored(dtype)}.p0", "void", (type, "ptr", "i32", self.type(BOOL)))
        a.do(f"call void {function}({type} {value}, ptr {address}, i32 1, {self.type(BOOL)} {mask})")

    def _stored(self, dtype: Dtype) -> str:
        return f"v{self.lanes}" + ("i8" if dtype.kind == "b" else SUFFIX[dtype.name])


Rule = Callable[..., str]
RULES: dict[str, Rule] = {}
"""rule(lanes, dtype, *operands, **attributes) -> the result."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    def mark(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return mark


def write(lanes: Lanes, op: str, dtype: Dtype, operands: Sequence[str], attributes: Mapping[str, Any]) -> str:
    """The instructions of one pointwise op. `dtype`: of its operands, of `where` its branches'."""
    if op not in RULES:
        raise Unsupported(op)
    return RULES[op](lanes, dtype, *operands, **attributes)


def floating(dtype: Dtype) -> None:
    if dtype.kind != "f":
        raise Unsupported(dtype.name)
