"""Arrays keep every bit, are named by the digest sha256sum prints, and never fill a shape halfway."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backsweep.v1 import types_pb2 as pb
from backsweep.wire import arrays
from backsweep.wire.arrays import ArrayRef, Digest
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES, Type

F64 = DTYPES["float64"]
NAN = np.frombuffer(b"\x2a\0\0\0\0\0\xf8\xff", "<f8")  # a NaN with a payload


ARRAYS = [
    np.array(1.5),
    np.array([0.0, -0.0, np.inf, -np.inf, np.nan]),
    NAN,
    np.arange(6, dtype="float32").reshape(2, 3),
    np.array([[2**63 - 1], [-(2**63)]]),
    np.array([-1, 2**31 - 1], "int32"),
    np.array([[True, False], [False, True]]),
    np.zeros((0, 3)),
    np.zeros((3, 0), bool),
    np.arange(12.0).reshape(3, 4).T,
    np.arange(12.0)[::-2],
    np.asfortranarray(np.arange(6, dtype="int32").reshape(2, 3)),
    np.arange(4, dtype=">f8"),
    np.broadcast_to(np.array(2.0), (2, 2)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{list(a.shape)}")
def test_an_array_survives_the_wire_bit_for_bit(array: np.ndarray) -> None:
    message = pb.Array.FromString(arrays.encode_array(array).SerializeToString())
    back = arrays.decode_array(message)
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("=")
    assert back.tobytes() == np.ascontiguousarray(array, array.dtype.newbyteorder("=")).tobytes()
    assert not back.flags.writeable
    assert message.data == np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def test_contiguous_bytes_are_not_copied() -> None:
    array = np.arange(1000.0)
    assert np.shares_memory(np.frombuffer(arrays.to_bytes(array), np.uint8), array)
    data = arrays.to_bytes(array).tobytes()
    assert np.shares_memory(arrays.from_bytes(Type(F64, (1000,)), data), np.frombuffer(data, np.uint8))
    assert not arrays.from_bytes(Type(F64, (1000,)), bytearray(data)).flags.writeable


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.array([1], "uint8"), np.array([1.0], "float16"), np.array([None])])
def test_other_dtypes_are_refused_with_those_there_are(array: np.ndarray) -> None:
    for use in (arrays.encode_array, arrays.array_ref):
        with pytest.raises(GraphError) as caught:
            use(array)
        assert caught.value.reason == "DTYPE" and caught.value.allowed == ", ".join(DTYPES)


def array(dtype: int = 1, shape: tuple[int, ...] = (), data: bytes = bytes(8)) -> Callable[[], object]:
    return lambda: arrays.decode_array(pb.Array(dtype=dtype, shape=shape, data=data))  # type: ignore[arg-type]


def reference(dtype: int = 1, shape: tuple[int, ...] = (), sha256: bytes = bytes(32), size: int = 8) -> Callable[[], object]:
    digest = pb.Digest(sha256=sha256, size_bytes=size)
    return lambda: arrays.decode_array_ref(pb.ArrayRef(dtype=dtype, shape=shape, digest=digest))  # type: ignore[arg-type]


WRONG = [
    ("an array without a dtype", array(dtype=0), "DTYPE", "DATA_TYPE_UNSPECIFIED"),
    ("an array of a reserved dtype", array(dtype=6), "DTYPE", "6"),
    ("an array of an unknown dtype", array(dtype=77), "DTYPE", "77"),
    ("an array with a byte too few", array(data=bytes(7)), "SHAPE", "7 bytes"),
    ("an array with a byte too many", array(data=bytes(9)), "SHAPE", "9 bytes"),
    ("an array without its bytes", array(shape=(2,), data=b""), "SHAPE", "0 bytes"),
    ("an empty array with bytes", array(shape=(0,)), "SHAPE", "8 bytes"),
    ("an array with a negative length", array(shape=(-1,)), "SHAPE", "(-1,)"),
    ("an array whose lengths are all negative", array(shape=(-1, -1)), "SHAPE", "(-1, -1)"),
    ("an array of 33 axes", array(shape=(1,) * 33), "SHAPE", "33"),
    ("an array of 2**63 bytes", array(shape=(2**60,)), "SHAPE", "float64[1152921504606846976]"),
    ("an empty array of too long an axis", array(shape=(0, 2**62), data=b""), "SHAPE", "float64[0, 4611686018427387904]"),
    ("a bool of 2", array(dtype=5, data=b"\2"), "MALFORMED", "byte 2"),
    ("a reference without a dtype", reference(dtype=0), "DTYPE", "DATA_TYPE_UNSPECIFIED"),
    ("a reference of another size", reference(size=16), "SHAPE", "16 bytes"),
    ("a reference of a negative size", reference(size=-8), "MALFORMED", "-8"),
    ("a reference by hexadecimal", reference(sha256=b"00" * 32), "MALFORMED", "64 bytes"),
    ("a reference without a hash", reference(sha256=b""), "MALFORMED", "0 bytes"),
]


@pytest.mark.parametrize("decode, reason, got", [pytest.param(*rest, id=sentence) for sentence, *rest in WRONG])
def test_it_is_refused(decode: Callable[[], object], reason: str, got: str) -> None:
    with pytest.raises(GraphError) as caught:
        decode()
    assert (caught.value.reason, caught.value.got) == (reason, got)
    assert caught.value.allowed


def test_the_most_axes_and_an_empty_array_are_taken() -> None:
    assert arrays.decode_array(pb.Array(dtype=pb.DATA_TYPE_FLOAT64, shape=(1,) * 32, data=bytes(8))).ndim == 32
    assert arrays.decode_array(pb.Array(dtype=pb.DATA_TYPE_BOOL, shape=(4, 0))).shape == (4, 0)


def test_a_type_survives_the_wire() -> None:
    for type in (Type(F64), Type(DTYPES["bool"], (2, 0, 3))):
        assert arrays.decode_type(arrays.encode_type(type)) == type


def test_the_digest_of_an_array_is_that_of_sha256sum_of_its_raw_file(tmp_path: Path) -> None:
    golden = "56fcd53db227304bb553056827d672ff1eaf3401de6a458e8129195bba3c1ce0"
    values = np.array([[1.0, 2.0], [3.0, -0.0]]).T  # not in C order in memory
    (tmp_path / "values").write_bytes(np.ascontiguousarray(values).astype("<f8").tobytes())
    done = subprocess.run(["sha256sum", tmp_path / "values"], capture_output=True, text=True, check=True)
    reference = arrays.array_ref(values)
    assert reference.digest.sha256.hex() == done.stdout.split()[0] == golden
    assert reference == ArrayRef(Type(F64, (2, 2)), Digest(bytes.fromhex(golden), 32))
    assert arrays.decode_array_ref(arrays.encode_array_ref(reference)) == reference


def test_the_digest_of_nothing_is_the_known_one() -> None:
    digest = arrays.digest_of(b"")
    assert str(digest) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0"
    assert digest.subject == f"blobs/{digest}"
    assert arrays.decode_digest(arrays.encode_digest(digest)) == digest


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(np.frombuffer(b"abc", np.uint8))])
def test_a_digest_is_over_bytes_however_they_are_held(data: bytes) -> None:
    assert arrays.digest_of(data) == Digest(hashlib.sha256(b"abc").digest(), 3)
    doubles = np.arange(3.0)
    assert arrays.digest_of(doubles.data).size_bytes == 24
