"""A matrix on its way to a file: a .npy memory map beside its name, filled block by block and renamed when it is whole.

The rows and columns run over the ravels of outputs and inputs. Where blocks are columns the file is in Fortran order, so that
each is written in one piece. A note beside it says which ranges are there: whoever asks the same again
goes on from them, after a kill too. What is noted is on the disk before the note is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from backsweep_engine.errors import Error, GraphError, OverBudget
from backsweep_engine.graph import Type
from backsweep_engine.plan.plan import Axis
from backsweep_engine.plan.structure import Bound
from backsweep_engine.request import Request

from .signature import Array

NOTE_SECONDS = 1.0
"""What a kill loses at most, and how seldom the disk is waited for."""


class Part(Protocol):
    """The matrix to come."""

    @property
    def type(self) -> Type: ...

    @property
    def axis(self) -> Axis: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier process left: ranges along the axis, made under this plan on this platform by this run."""

    run_id: bytes
    plan_key: bytes
    platform: str
    axis: Axis
    ranges: tuple[tuple[int, int], ...]


def same_question(request: Request, values: Mapping[str, Array]) -> str:
    """Equal for equal questions at equal values (hex SHA-256)."""
    bound = Bound(values)
    asked = (request.graph.fingerprint, sorted(map(repr, request.types.items())), [(repr(ask.query), sorted(ask.seeds)) for ask in request.asks])
    words = (asked, sorted(request.batched), [(name, bound.digest(name)) for name in sorted(values)])
    return hashlib.sha256(repr(words).encode()).hexdigest()


class Filed:
    """The file at `path`, the answer to the question `same`. One process at a time; use it in a `with` statement.

    Raises Error if it cannot be written there, OverBudget if the disk has not the room.
    """

    def __init__(self, path: str | os.PathLike[str], same: str) -> None:
        self.path = Path(path)
        if self.path.suffix != ".npy":
            raise GraphError("a dense matrix goes to a .npy file", reason="MALFORMED", name="to", got=str(path), allowed="a name that ends in .npy")
        self._same = same
        self._coming = self.path.with_name(self.path.name + ".part")
        self._note = self.path.with_name(self.path.name + ".part.json")
        self._array: Array | None = None
        self._noted = time.monotonic()
        self._whole = False
        with _said(self.path):
            self._lock = _locked(self._coming, self.path)
        self.kept = self._found()

    def __enter__(self) -> Filed:
        return self

    def __exit__(self, *_: object) -> None:
        self._array = None
        if not self._whole and not self._note.exists():
            self._coming.unlink(missing_ok=True)  # there is nothing to go on from
        self._lock.close()

    def array(self, part: Part) -> Array:
        """The map that the matrix is written to: with what is kept, if anything is."""
        if not part.type.size:
            return np.empty(part.type.shape, part.type.dtype)
        with _said(self.path):
            fortran = part.axis is Axis.COLUMN
            if self.kept is not None:
                found = np.lib.format.open_memmap(self._coming, mode="r+")
                if (found.shape, found.dtype, found.flags.f_contiguous) == (part.type.shape, part.type.dtype, fortran or found.ndim < 2 or 1 in found.shape):
                    self._array = found
                    return np.asarray(found)
            self.drop()
            self._array = np.lib.format.open_memmap(self._coming, mode="w+", dtype=part.type.dtype, shape=part.type.shape, fortran_order=fortran)
            # A map whose pages find no room on the disk would end the process.
            if hasattr(os, "posix_fallocate"):
                with self._coming.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, self._coming.stat().st_size)
        return np.asarray(self._array)

    def drop(self) -> None:
        """What is kept is of another plan."""
        self.kept = None
        self._note.unlink(missing_ok=True)

    def note(self, kept: Callable[[], Kept], *, now: bool = False) -> None:
        """Once a while, or `now`: what is there."""
        if self._array is None or (not now and time.monotonic() < self._noted + NOTE_SECONDS):
            return
        with _said(self.path):
            k = kept()
            self._array.flush()  # type: ignore[attr-defined]
            words = {
                "same": self._same,
                "run_id": k.run_id.hex(),
                "plan_key": k.plan_key.hex(),
                "platform": k.platform,
                "axis": k.axis.value,
                "ranges": k.ranges,
            }
            new = self._note.with_name(self._note.name + ".new")
            new.write_text(json.dumps(words))
            new.replace(self._note)
        self._noted = time.monotonic()

    def finish(self, matrix: Array) -> Array:
        """The whole file under its name, read as a map. `matrix`: the answer, in the file already or not."""
        with _said(self.path):
            if self._array is None:
                with self._coming.open("wb") as file:
                    np.save(file, matrix)
            else:
                self._array.flush()  # type: ignore[attr-defined]
            self._coming.replace(self.path)
            self._whole = True
            self._note.unlink(missing_ok=True)
            found: Array = np.load(self.path, mmap_mode="r") if matrix.size else np.load(self.path)
            return found

    def _found(self) -> Kept | None:
        """What an earlier process left of the same question; anything else is of no use."""
        try:
            words = json.loads(self._note.read_text())
            if words["same"] != self._same:
                return None
            np.lib.format.open_memmap(self._coming, mode="r")
            ranges = tuple((int(start), int(stop)) for start, stop in words["ranges"])
            return Kept(bytes.fromhex(words["run_id"]), bytes.fromhex(words["plan_key"]), str(words["platform"]), Axis(words["axis"]), ranges)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def save_sparse(path: str | os.PathLike[str], matrix: Any) -> None:
    """A scipy.sparse matrix as scipy.sparse.save_npz writes it, there when it is whole."""
    from scipy.sparse import save_npz

    coming = Path(path).with_name(Path(path).name + ".part")
    with _said(Path(path)):
        with coming.open("wb") as file:
            save_npz(file, matrix)
        coming.replace(path)


def require_npz(path: str | os.PathLike[str]) -> None:
    if Path(path).suffix != ".npz":
        raise GraphError("a sparse matrix goes to a .npz file", reason="MALFORMED", name="to", got=str(path), allowed="a name that ends in .npz")


def require_one_matrix(verb: str, seed: Any, options: Mapping[str, Any]) -> None:
    """What is asked for with to= is one matrix."""
    if options.get("batched", False) is not False:
        raise GraphError("to= is for one matrix", reason="MALFORMED", name="to", got="batched points", hint="name a file for each point")
    if seed is not None:
        raise GraphError("to= is for matrices", reason="MALFORMED", name="to", got=f"{verb} with a tangent", hint="a product fits in memory")


def joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sorted, and those that touch as one."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, stop))
    return tuple(found)


def _locked(path: Path, of: Path) -> IO[bytes]:
    """The file, which no other process writes to as long as it is open."""
    # Neither truncated, since it may be gone on with, nor for appending, which room cannot be made for everywhere.
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    try:
        import fcntl
    except ImportError:  # not everywhere
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same = os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        file.close()
        raise Error("another process is writing this file", reason="NOT_WRITABLE", name="to", got=str(of), hint="wait for it, or name another file") from None
    if same:
        return file
    file.close()  # the other has just finished and given the file its name
    return _locked(path, of)


@contextlib.contextmanager
def _said(path: Path) -> Any:
    """What the file system refuses, as an error of ours."""
    import errno

    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OverBudget("the disk has not the room for the matrix", name="to", got=str(path), hint="free some, or name a file elsewhere") from None
        raise Error(f"the file cannot be written: {error.strerror}", reason="NOT_WRITABLE", name="to", got=str(path)) from None
