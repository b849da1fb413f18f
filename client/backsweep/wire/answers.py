"""Answers: results, promises, notes and usage, engine values <-> messages (verdicts: verdicts.py).

NaN and infinity are results, carried with their bits. What a client decodes it owns: arrays are
writable copies, never views of a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2, types_pb2
from backsweep_engine import query as ask
from backsweep_engine.answer import Answer, NonFinite
from backsweep_engine.errors import Error
from backsweep_engine.plan.plan import Promise

from .arrays import decode_array, encode_array
from .blocks import fault
from .patterns import decode_sparse, encode_sparse
from .verdicts import decode_verdict, encode_verdict

MAX_UINT64 = (1 << 64) - 1

_KINDS: dict[str, query_pb2.NonFiniteKind] = {"nan": query_pb2.NON_FINITE_KIND_NAN, "inf": query_pb2.NON_FINITE_KIND_INFINITE}
_KIND_OF = {int(number): kind for kind, number in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request took."""

    bytes_received: int = 0
    bytes_sent: int = 0
    blocks: int = 0
    blocks_repeated: int = 0
    workers: int = 0
    seconds: float = 0.0
    executor: str = ""


def is_matrix(query: ask.Query) -> bool:
    """Whether its answer is one matrix rather than arrays like the inputs or outputs."""
    if isinstance(query, ask.Curvature) and not query.product:
        return True
    return isinstance(query, ask.Jacobian | ask.Hessian) or bool(getattr(query, "many", False))


def encode_result(query: ask.Query, answer: Answer, outputs: Sequence[str] = ()) -> query_pb2.Result:
    """`outputs`: the name of each part, for the notes."""
    result = query_pb2.Result(non_finite=[encode_note(note, outputs[note.part] if note.part < len(outputs) else "") for note in answer.notes])
    if answer.verdict is not None:
        result.verdict.CopyFrom(encode_verdict(answer.verdict))
    elif answer.pattern is not None:
        for array in answer.arrays:
            result.matrix.sparse.CopyFrom(encode_sparse(answer.pattern, array))
    elif is_matrix(query):
        for array in answer.arrays:
            result.matrix.dense.CopyFrom(encode_array(array))
    elif answer.arrays:
        result.arrays.arrays.extend(map(encode_array, answer.arrays))
    return result


def decode_result(message: query_pb2.Result, query: int = 0) -> Answer:
    """`query`: the number of the query it answers."""
    arrays: Iterable[types_pb2.Array] = ()
    verdict = None
    notes = tuple([decode_note(note, query) for note in message.non_finite])
    match message.WhichOneof("answer"):
        case "arrays":
            arrays = message.arrays.arrays
        case "matrix":
            if message.matrix.WhichOneof("form") == "sparse":
                pattern, values = decode_sparse(message.matrix.sparse)
                return Answer((values,), None, notes, pattern)
            arrays = (message.matrix.dense,)
        case "verdict":
            verdict = decode_verdict(message.verdict)
    try:
        owned = tuple([decode_array(array).copy() for array in arrays])
    except Error as error:
        fault(error.message, got=error.got, allowed=error.allowed)
    return Answer(owned, verdict, notes)


def encode_note(note: NonFinite, output: str = "") -> query_pb2.NonFinite:
    """`output`: the name of the part it is about."""
    return query_pb2.NonFinite(part=note.part, node=note.node, op=note.op, output=output, kind=_KINDS[note.kind], in_derivative=note.in_derivative)


def decode_note(message: query_pb2.NonFinite, query: int = 0) -> NonFinite:
    node = message.node if message.HasField("node") else None
    return NonFinite(query, message.part, node, message.op, _KIND_OF.get(message.kind, "nan"), message.in_derivative)


def encode_promise(promise: Promise) -> pb.Promise:
    return pb.Promise(flops=min(promise.flops, MAX_UINT64), peak_bytes=promise.peak_bytes, result_bytes=promise.result_bytes, blocks=max(1, promise.blocks))


def decode_promise(message: pb.Promise) -> Promise:
    return Promise(message.flops, message.peak_bytes, message.result_bytes, message.blocks)


def encode_usage(usage: Usage) -> pb.Usage:
    return pb.Usage(
        bytes_received=usage.bytes_received,
        bytes_sent=usage.bytes_sent,
        blocks=usage.blocks,
        blocks_repeated=usage.blocks_repeated,
        workers=usage.workers,
        seconds=usage.seconds,
        executor=usage.executor,
    )


def decode_usage(message: pb.Usage) -> Usage:
    return Usage(message.bytes_received, message.bytes_sent, message.blocks, message.blocks_repeated, message.workers, message.seconds, message.executor)
