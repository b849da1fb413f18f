"""Products of small matrices as instructions: within a loop, where a call of BLAS would take longer than the work.

Both ways keep sums in registers and read memory along its rows, a vector at a time. Where the rows of y lie whole (x y) is made
of them, each times one element of x; where its columns do, and the rows of x, of dot products. A sum of k products is
within k eps sum|x y|, with fused products where the machine has them; its order depends on shapes and strides only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .assembly import ELEMENT, Assembly, Dtype
from .lanes import Lanes, Unsupported
from .machine import Machine

MAX_PRODUCTS = 1 << 19
"""Of one product of matrices: beyond, BLAS is sooner, call and all."""

CHAINS = 8
"""Sums in work at once, at least: a fused product takes four cycles, and two may begin in each."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """`down`, `across`: bytes from an element to the next of its column and of its row."""

    pointer: str
    rows: int
    columns: int
    down: int
    across: int

    @property
    def turned(self) -> Matrix:
        return Matrix(self.pointer, self.columns, self.rows, self.across, self.down)


class Products:
    """Writes products of one dtype into an assembly."""

    def __init__(self, assembly: Assembly, host: Machine, dtype: Dtype) -> None:
        if dtype.kind != "f":
            raise Unsupported("a product of integers")
        self.assembly, self.dtype, self.fused = assembly, dtype, host.fused
        self.many, self.one = Lanes(assembly, host, host.width // 8 // dtype.itemsize), Lanes(assembly, host, 1)
        self.registers = 16 if host.width == 512 else 8
        """sums that are kept at once: as many registers again are left for what is read"""

    def write(self, x: Matrix, y: Matrix, out: str) -> None:
        """x y at `out`, its rows one after the other."""
        if x.rows * x.columns * y.columns > MAX_PRODUCTS:
            raise Unsupported("a large product")
        if not self.lie(x, y):
            raise Unsupported("a product across memory")
        if y.columns == 1:
            x, y = y.turned, x.turned  # one column lies in memory as one row does
        if y.across == self.dtype.itemsize and y.columns > 1:
            self._by_rows(x, y, out)
        elif x.across == y.down == self.dtype.itemsize:
            self._by_dots(x, y, out)
        else:
            self._by_rows(x, y, out)

    def lie(self, x: Matrix, y: Matrix) -> bool:
        """Whether they lie so that they can be read along memory."""
        if y.columns == 1:
            x, y = y.turned, x.turned
        return y.columns == 1 or y.across == self.dtype.itemsize or x.across == y.down == self.dtype.itemsize

    # y by its rows.

    def _by_rows(self, x: Matrix, y: Matrix, out: str) -> None:
        lanes, size = self.many.lanes, self.dtype.itemsize
        whole, left = divmod(y.columns, lanes)
        high = min(4, x.rows)
        wide = max(1, min(whole, self.registers // high))

        def rows(first: str, count: int) -> None:
            def columns(at: str, vectors: int, mask: str) -> None:
                self._block(x, y, out, first, count, at, vectors, mask)

            loop(self.assembly, whole // wide, lambda b: columns(self._times(b, wide * lanes * size), wide, ""))
            done = whole // wide * wide
            if whole - done:
                columns(str(done * lanes * size), whole - done, "")
            if left:
                columns(str(whole * lanes * size), 1, "<" + ", ".join(f"i1 {'true' if k < left else 'false'}" for k in range(lanes)) + ">")

        loop(self.assembly, x.rows // high, lambda b: rows(self._times(b, high), high))
        if x.rows % high:
            rows(str(x.rows // high * high), x.rows % high)

    def _block(self, x: Matrix, y: Matrix, out: str, first: str, rows: int, at: str, vectors: int, mask: str) -> None:
        """Rows first, first + 1 ... of the product, some vectors of each from byte `at` of the row on."""
        l, dtype, size = self.many, self.dtype, self.dtype.itemsize
        chains = max(1, min(x.columns, CHAINS // (rows * vectors)))
        left = [self._at(x.pointer, self._times(first, x.down), r * x.down) for r in range(rows)]
        right = self._at(y.pointer, at)

        def more(p: str, count: int, sums: Sequence[str]) -> list[str]:
            """`count` products on, each to a chain of its own."""
            found = list(sums)
            for c in range(count):
                factors = [l.spread(self.one.load(self._at(row, self._times(p, x.across), c * x.across), dtype), dtype) for row in left]
                below = self._at(right, self._times(p, y.down), c * y.down)
                for v in range(vectors):
                    read = l.load(self._at(below, "0", v * l.lanes * size), dtype, mask)
                    for r, factor in enumerate(factors):
                        k = (c * rows + r) * vectors + v
                        found[k] = self._added(factor, read, found[k])
            return found

        sums = self._summed(x.columns, chains, [l.constant(0.0, dtype)] * (chains * rows * vectors), more)
        for r in range(rows):
            place = self._at(self._at(out, self._times(first, y.columns * size), r * y.columns * size), at)
            for v in range(vectors):
                total = self._pairwise([sums[(c * rows + r) * vectors + v] for c in range(chains)])
                l.store(total, self._at(place, "0", v * l.lanes * size), dtype, mask)

    # y by its columns.

    def _by_dots(self, x: Matrix, y: Matrix, out: str) -> None:
        high = min(4, x.rows)
        wide = min(y.columns, CHAINS, self.registers // high)

        def rows(first: str, count: int) -> None:
            loop(self.assembly, y.columns // wide, lambda b: self._dots(x, y, out, first, count, self._times(b, wide), wide))
            if y.columns % wide:
                self._dots(x, y, out, first, count, str(y.columns // wide * wide), y.columns % wide)

        loop(self.assembly, x.rows // high, lambda b: rows(self._times(b, high), high))
        if x.rows % high:
            rows(str(x.rows // high * high), x.rows % high)

    def _dots(self, x: Matrix, y: Matrix, out: str, first: str, rows: int, column: str, columns: int) -> None:
        l, dtype, size = self.many, self.dtype, self.dtype.itemsize
        left = [self._at(x.pointer, self._times(first, x.down), r * x.down) for r in range(rows)]
        right = [self._at(y.pointer, self._times(column, y.across), c * y.across) for c in range(columns)]
        whole, rest = divmod(x.columns, l.lanes)
        zero = l.constant(0.0, dtype)

        def read(pointers: Sequence[str], offset: str, mask: str) -> list[str]:
            found = [l.load(self._at(p, offset), dtype, mask) for p in pointers]
            return [l.select(mask, dtype, v, zero) for v in found] if mask else found

        def more(p: str, count: int, sums: Sequence[str], mask: str = "") -> list[str]:
            offset = self._times(p, l.lanes * size)
            rows_of_x, columns_of_y = read(left, offset, mask), read(right, offset, mask)
            pairs = [(a, b) for a in rows_of_x for b in columns_of_y]
            return [self._added(a, b, sum) for (a, b), sum in zip(pairs, sums, strict=True)]

        sums = self._summed(whole, 1, [zero] * (rows * columns), more)
        if rest:
            sums = more(str(whole), 1, sums, "<" + ", ".join(f"i1 {'true' if k < rest else 'false'}" for k in range(l.lanes)) + ">")
        for r in range(rows):
            place = self._at(self._at(out, self._times(first, y.columns * size), r * y.columns * size), self._times(column, size))
            for c in range(columns):
                self.one.store(self._across(sums[r * columns + c]), self._at(place, "0", c * size), dtype)

    # Sums.

    def _summed(self, count: int, at_once: int, sums: Sequence[str], more: Callable[[str, int, Sequence[str]], list[str]]) -> list[str]:
        """The sums after `count` steps, `at_once` in each trip of a loop, the rest behind it."""
        trips, rest = divmod(count, at_once)
        a, type = self.assembly, self.many.type(self.dtype)
        found = list(sums)
        if trips > 1:
            head, before = a.label(), a.block
            a.jump(head)
            a.begin(head)
            p, open_p = a.phi_later("i64", "0", before)
            kept, opens = zip(*[a.phi_later(type, sum, before) for sum in found], strict=True)
            found = more(p, at_once, kept)
            following = a.new(f"add i64 {p}, {at_once}")
            a.close_phi(open_p, following)
            for line, sum in zip(opens, found, strict=True):
                a.close_phi(line, sum)
            done = a.label()
            a.branch(a.new(f"icmp slt i64 {following}, {trips * at_once}"), head, done)
            a.begin(done)
        elif trips:
            found = more("0", at_once, found)
        return more(str(trips * at_once), rest, found) if rest else found

    def _added(self, x: str, y: str, sum: str) -> str:
        l = self.many
        if self.fused:
            return l.intrinsic("fma", self.dtype, x, y, sum)
        return l.operation("fadd", self.dtype, l.operation("fmul", self.dtype, x, y), sum)

    def _pairwise(self, sums: list[str]) -> str:
        while len(sums) > 1:
            pairs = [self.many.operation("fadd", self.dtype, x, y) for x, y in zip(sums[::2], sums[1::2], strict=False)]
            sums = pairs + (sums[-1:] if len(sums) % 2 else [])
        return sums[0]

    def _across(self, vector: str) -> str:
        """The lanes of a vector added up, halves first."""
        a, lanes, element = self.assembly, self.many.lanes, ELEMENT[self.dtype.name]
        while lanes > 1:
            wide, half = f"<{lanes} x {element}>", lanes // 2
            parts = [
                a.new(f"shufflevector {wide} {vector}, {wide} poison, <{half} x i32> <{', '.join(f'i32 {j}' for j in range(b, b + half))}>") for b in (0, half)
            ]
            vector, lanes = a.new(f"fadd <{half} x {element}> {parts[0]}, {parts[1]}"), half
        return a.new(f"extractelement <1 x {element}> {vector}, i64 0")

    # Addresses.

    def _at(self, pointer: str, offset: str, more: int = 0) -> str:
        return moved(self.assembly, moved(self.assembly, pointer, offset), str(more))

    def _times(self, number: str, factor: int) -> str:
        return scaled(self.assembly, number, factor)


def moved(a: Assembly, pointer: str, offset: str) -> str:
    """The address so many bytes on."""
    return pointer if offset == "0" else a.new(f"getelementptr i8, ptr {pointer}, i64 {offset}")


def scaled(a: Assembly, number: str, factor: int) -> str:
    """A number, written or yet to be known, times a known one."""
    return str(int(number) * factor) if number.lstrip("-").isdigit() else number if factor == 1 else a.new(f"mul i64 {number}, {factor}")


def loop(a: Assembly, count: int, body: Callable[[str], None]) -> None:
    """`body` written once, for the numbers below `count`."""
    if count == 1:
        body("0")
    if count <= 1:
        return
    head, before = a.label(), a.block
    a.jump(head)
    a.begin(head)
    i, open_i = a.phi_later("i64", "0", before)
    body(i)
    following = a.new(f"add i64 {i}, 1")
    a.close_phi(open_i, following)
    done = a.label()
    a.branch(a.new(f"icmp slt i64 {following}, {count}"), head, done)
    a.begin(done)
