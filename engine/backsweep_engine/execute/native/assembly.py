"""The text of one LLVM function, written line by line; numbers name everything.

Nothing here knows ops or graphs. Values are strings: an SSA name or a literal, without their type,
which the writer of an instruction knows. Two rules keep bits the same on equal machines: no
fast-math flag is ever written, so that nothing is reassociated or contracted into fma, and every
load and store says align 1, since arrays may begin anywhere.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

ELEMENT = {"float64": "double", "float32": "float", "int64": "i64", "int32": "i32", "bool": "i1"}
STORED = {**ELEMENT, "bool": "i8"}
SUFFIX = {"float64": "f64", "float32": "f32", "int64": "i64", "int32": "i32", "bool": "i1"}

ITEMS = tuple.__basicsize__
"""Where a tuple's items begin, in bytes; machine.py refuses an interpreter in which this is not so."""

DATA = object.__basicsize__
"""Where an array keeps the address of its first element (PyArrayObject_fields.data, part of NumPy's C interface)."""

Dtype = np.dtype[Any]


class Assembly:
    """One function `i64 k(ptr, i64 ...)`, being written. Its first argument is a tuple of arrays."""

    def __init__(self, counters: int) -> None:
        self._lines: list[str] = []
        self._entry: list[str] = []
        self._declared: dict[str, str] = {}
        self._names = 0
        self.counters = [f"%c{k}" for k in range(counters)]
        self.block = "entry"
        """the label of the block being written"""

    @property
    def size(self) -> int:
        """Lines so far."""
        return len(self._lines)

    def name(self) -> str:
        self._names += 1
        return f"%v{self._names}"

    def new(self, instruction: str) -> str:
        """The value an instruction yields."""
        name = self.name()
        self._lines.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        self._lines.append("  " + instruction)

    def label(self) -> str:
        self._names += 1
        return f"b{self._names}"

    def begin(self, label: str) -> None:
        """The lines that follow are those of the block `label`."""
        self._lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, condition: str, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def phi(self, type: str, *arms: tuple[str, str]) -> str:
        """A value by the block control came from: (value, label)."""
        return self.new(f"phi {type} " + ", ".join(f"[ {value}, %{label} ]" for value, label in arms))

    def phi_later(self, type: str, first: str, before: str) -> tuple[str, int]:
        """A phi at the head of a loop, whose second arm `close_phi` gives once the loop's body is written."""
        name = self.name()
        self._lines.append(f"  {name} = phi {type} [ {first}, %{before} ], ")
        return name, len(self._lines) - 1

    def close_phi(self, line: int, value: str) -> None:
        self._lines[line] += f"[ {value}, %{self.block} ]"

    def place(self, type: str, count: int = 1) -> str:
        """Memory of the function's own, kept until it returns."""
        name = self.name()
        self._entry.append(f"  {name} = alloca [{count} x {type}], align 64")
        return name

    def external(self, symbol: str, result: str, operands: tuple[str, ...]) -> str:
        """A function without effects outside; its name in the text."""
        self._declared[symbol] = f"declare {result} @{symbol}({', '.join(operands)}) nounwind willreturn memory(none)"
        return f"@{symbol}"

    def intrinsic(self, symbol: str, result: str, operands: tuple[str, ...]) -> str:
        self._declared[symbol] = f"declare {result} @{symbol}({', '.join(operands)})"
        return f"@{symbol}"

    def constant(self, text: str) -> str:
        """The address of a constant, given as its type and value."""
        name = f"@d{len(self._declared)}"
        return self._declared.setdefault(text, f"{name} = private unnamed_addr constant {text}").split()[0]

    def array(self, position: int) -> str:
        """The address of the first element of an array in the tuple."""
        item = self.new(f"getelementptr i8, ptr %arrays, i64 {ITEMS + 8 * position}")
        owner = self.new(f"load ptr, ptr {item}, align 8")
        field = self.new(f"getelementptr i8, ptr {owner}, i64 {DATA}")
        return self.new(f"load ptr, ptr {field}, align 8")

    def array_at_entry(self, position: int) -> str:
        """The same, wherever the function has got to: written at its beginning."""
        lines, self._lines = self._lines, self._entry
        pointer = self.array(position)
        self._lines = lines
        return pointer

    def zero(self, place: str) -> None:
        """A place that holds 0 when the function begins."""
        self._entry.append(f"  store i64 0, ptr {place}")

    def at(self, pointer: str, index: str, dtype: Dtype) -> str:
        """The address of an element."""
        return pointer if index == "0" else self.new(f"getelementptr {STORED[dtype.name]}, ptr {pointer}, i64 {index}")

    def load(self, address: str, dtype: Dtype) -> str:
        """One element."""
        raw = self.new(f"load {STORED[dtype.name]}, ptr {address}, align 1")
        return self.new(f"icmp ne i8 {raw}, 0") if dtype.kind == "b" else raw

    def store(self, value: str, address: str, dtype: Dtype) -> None:
        if dtype.kind == "b":
            value = self.new(f"zext i1 {value} to i8")
        self.do(f"store {STORED[dtype.name]} {value}, ptr {address}, align 1")

    def text(self, width: int) -> str:
        """The module. `width`: bits of its widest vectors."""
        counters = "".join(f", i64 {name}" for name in self.counters)
        attributes = f'attributes #0 = {{ nounwind "min-legal-vector-width"="{width}" "prefer-vector-width"="{width}" }}'
        body = [f"define i64 @k(ptr %arrays{counters}) #0 {{", "entry:", *self._entry, *self._lines, "}"]
        return "\n".join([*self._declared.values(), *body, attributes, ""])


def literal(value: Any, dtype: Dtype) -> str:
    """A number as LLVM writes it: floats by their bits, so that NaN, infinities and -0.0 are themselves."""
    if dtype.kind == "f":
        # A float's literal is that of the double of the same value.
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(np.asarray(value).astype(dtype))))[0]:016X}"
    if dtype.kind == "b":
        return "true" if value else "false"
    return str(int(value))
