"""Arrays from .npz files of strangers: sizes are checked before anything is allocated, nothing is unpickled."""

from __future__ import annotations

import tokenize
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import DTYPES

Array = np.ndarray[Any, Any]

MAX_FILE_BYTES = 4 << 30
"""Of all arrays of a file together, unpacked."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(folder: Path, name: str) -> dict[str, Array]:
    """The arrays of a file by their names; Error (NO_FILE, ARRAYS ...) names the file as the suite does, and the array at fault."""
    try:
        with zipfile.ZipFile(folder / name) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > MAX_FILE_BYTES:
                raise GraphError("the arrays of a file are too large", reason="TOO_LARGE", got=f"{total} bytes", allowed=f"{MAX_FILE_BYTES} bytes", name=name)
            arrays = {}
            for member in members:
                with archive.open(member) as file:
                    key = member.filename.removesuffix(".npy")
                    arrays[key] = _array(file, member.file_size, f"{name}: {key}")
            return arrays
    except OSError as error:
        raise Error("a file of arrays cannot be read", reason="NO_FILE", got=name, hint=error.strerror or "") from None
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, SyntaxError, tokenize.TokenError) as error:
        raise GraphError("a file does not hold arrays", reason="ARRAYS", name=name, got=f"{name}: {error}", allowed="what numpy.savez writes") from None


def _array(file: IO[bytes], size: int, name: str) -> Array:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name} has .npy version {version}")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.name not in DTYPES:
        raise GraphError("an array has a dtype backsweep does not support", reason="DTYPE", name=name, got=f"{name}: {dtype}", allowed=", ".join(DTYPES))
    count = 1
    for length in shape:
        count *= int(length)
    if count < 0 or count * dtype.itemsize > size:
        raise ValueError(f"{name} says it has shape {shape} but holds {size} bytes")
    file.seek(0)
    array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
