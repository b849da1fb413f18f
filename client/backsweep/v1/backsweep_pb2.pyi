from backsweep.v1 import graph_pb2 as _graph_pb2
from backsweep.v1 import query_pb2 as _query_pb2
from backsweep.v1 import types_pb2 as _types_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Differentiability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIFFERENTIABILITY_UNSPECIFIED: _ClassVar[Differentiability]
    DIFFERENTIABILITY_SMOOTH: _ClassVar[Differentiability]
    DIFFERENTIABILITY_KINKS: _ClassVar[Differentiability]
    DIFFERENTIABILITY_ZERO: _ClassVar[Differentiability]
    DIFFERENTIABILITY_AS_SUBGRAPHS: _ClassVar[Differentiability]
    DIFFERENTIABILITY_NONE: _ClassVar[Differentiability]

class Derivative(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DERIVATIVE_UNSPECIFIED: _ClassVar[Derivative]
    DERIVATIVE_GRADIENT: _ClassVar[Derivative]
    DERIVATIVE_VALUE_AND_GRADIENT: _ClassVar[Derivative]
    DERIVATIVE_JVP: _ClassVar[Derivative]
    DERIVATIVE_VJP: _ClassVar[Derivative]
    DERIVATIVE_HVP: _ClassVar[Derivative]

class Axis(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AXIS_UNSPECIFIED: _ClassVar[Axis]
    AXIS_ROW: _ClassVar[Axis]
    AXIS_COLUMN: _ClassVar[Axis]
    AXIS_POINT: _ClassVar[Axis]
    AXIS_WHOLE: _ClassVar[Axis]
    AXIS_POSITION: _ClassVar[Axis]

class PatternArray(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PATTERN_ARRAY_UNSPECIFIED: _ClassVar[PatternArray]
    PATTERN_ARRAY_INDPTR: _ClassVar[PatternArray]
    PATTERN_ARRAY_INDICES: _ClassVar[PatternArray]
DIFFERENTIABILITY_UNSPECIFIED: Differentiability
DIFFERENTIABILITY_SMOOTH: Differentiability
DIFFERENTIABILITY_KINKS: Differentiability
DIFFERENTIABILITY_ZERO: Differentiability
DIFFERENTIABILITY_AS_SUBGRAPHS: Differentiability
DIFFERENTIABILITY_NONE: Differentiability
DERIVATIVE_UNSPECIFIED: Derivative
DERIVATIVE_GRADIENT: Derivative
DERIVATIVE_VALUE_AND_GRADIENT: Derivative
DERIVATIVE_JVP: Derivative
DERIVATIVE_VJP: Derivative
DERIVATIVE_HVP: Derivative
AXIS_UNSPECIFIED: Axis
AXIS_ROW: Axis
AXIS_COLUMN: Axis
AXIS_POINT: Axis
AXIS_WHOLE: Axis
AXIS_POSITION: Axis
PATTERN_ARRAY_UNSPECIFIED: PatternArray
PATTERN_ARRAY_INDPTR: PatternArray
PATTERN_ARRAY_INDICES: PatternArray

class CapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CapabilitiesResponse(_message.Message):
    __slots__ = ("op_set_min", "op_set_max", "ops", "limits", "executors", "engine_version", "platform", "dtypes", "queries", "rpcs")
    OP_SET_MIN_FIELD_NUMBER: _ClassVar[int]
    OP_SET_MAX_FIELD_NUMBER: _ClassVar[int]
    OPS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    DTYPES_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    RPCS_FIELD_NUMBER: _ClassVar[int]
    op_set_min: int
    op_set_max: int
    ops: _containers.RepeatedCompositeFieldContainer[OpRecord]
    limits: Limits
    executors: _containers.RepeatedCompositeFieldContainer[Executor]
    engine_version: str
    platform: str
    dtypes: _containers.RepeatedScalarFieldContainer[_types_pb2.DataType]
    queries: _containers.RepeatedScalarFieldContainer[str]
    rpcs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, op_set_min: _Optional[int] = ..., op_set_max: _Optional[int] = ..., ops: _Optional[_Iterable[_Union[OpRecord, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., executors: _Optional[_Iterable[_Union[Executor, _Mapping]]] = ..., engine_version: _Optional[str] = ..., platform: _Optional[str] = ..., dtypes: _Optional[_Iterable[_Union[_types_pb2.DataType, str]]] = ..., queries: _Optional[_Iterable[str]] = ..., rpcs: _Optional[_Iterable[str]] = ...) -> None: ...

class OpRecord(_message.Message):
    __slots__ = ("name", "since", "differentiability")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENTIABILITY_FIELD_NUMBER: _ClassVar[int]
    name: str
    since: int
    differentiability: Differentiability
    def __init__(self, name: _Optional[str] = ..., since: _Optional[int] = ..., differentiability: _Optional[_Union[Differentiability, str]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_graph_bytes", "max_nodes", "max_nesting", "max_constant_bytes", "max_blob_bytes", "max_inline_bytes", "max_result_bytes", "max_chunk_bytes", "max_queries", "max_find_missing", "budget_bytes", "store_bytes", "max_streams", "max_call_seconds", "max_run_seconds", "max_detach_seconds", "lease_seconds")
    MAX_GRAPH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_NODES_FIELD_NUMBER: _ClassVar[int]
    MAX_NESTING_FIELD_NUMBER: _ClassVar[int]
    MAX_CONSTANT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BLOB_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_INLINE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_QUERIES_FIELD_NUMBER: _ClassVar[int]
    MAX_FIND_MISSING_FIELD_NUMBER: _ClassVar[int]
    BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_CALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_RUN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_DETACH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    max_graph_bytes: int
    max_nodes: int
    max_nesting: int
    max_constant_bytes: int
    max_blob_bytes: int
    max_inline_bytes: int
    max_result_bytes: int
    max_chunk_bytes: int
    max_queries: int
    max_find_missing: int
    budget_bytes: int
    store_bytes: int
    max_streams: int
    max_call_seconds: float
    max_run_seconds: float
    max_detach_seconds: float
    lease_seconds: float
    def __init__(self, max_graph_bytes: _Optional[int] = ..., max_nodes: _Optional[int] = ..., max_nesting: _Optional[int] = ..., max_constant_bytes: _Optional[int] = ..., max_blob_bytes: _Optional[int] = ..., max_inline_bytes: _Optional[int] = ..., max_result_bytes: _Optional[int] = ..., max_chunk_bytes: _Optional[int] = ..., max_queries: _Optional[int] = ..., max_find_missing: _Optional[int] = ..., budget_bytes: _Optional[int] = ..., store_bytes: _Optional[int] = ..., max_streams: _Optional[int] = ..., max_call_seconds: _Optional[float] = ..., max_run_seconds: _Optional[float] = ..., max_detach_seconds: _Optional[float] = ..., lease_seconds: _Optional[float] = ...) -> None: ...

class Executor(_message.Message):
    __slots__ = ("name", "lanes", "platform")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    name: str
    lanes: int
    platform: str
    def __init__(self, name: _Optional[str] = ..., lanes: _Optional[int] = ..., platform: _Optional[str] = ...) -> None: ...

class FindMissingRequest(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedCompositeFieldContainer[_types_pb2.Digest]
    def __init__(self, digests: _Optional[_Iterable[_Union[_types_pb2.Digest, _Mapping]]] = ...) -> None: ...

class FindMissingResponse(_message.Message):
    __slots__ = ("missing",)
    MISSING_FIELD_NUMBER: _ClassVar[int]
    missing: _containers.RepeatedCompositeFieldContainer[_types_pb2.Digest]
    def __init__(self, missing: _Optional[_Iterable[_Union[_types_pb2.Digest, _Mapping]]] = ...) -> None: ...

class UploadRequest(_message.Message):
    __slots__ = ("digest", "offset_bytes", "data")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    digest: _types_pb2.Digest
    offset_bytes: int
    data: bytes
    def __init__(self, digest: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class UploadResponse(_message.Message):
    __slots__ = ("stored",)
    STORED_FIELD_NUMBER: _ClassVar[int]
    stored: _containers.RepeatedCompositeFieldContainer[_types_pb2.Digest]
    def __init__(self, stored: _Optional[_Iterable[_Union[_types_pb2.Digest, _Mapping]]] = ...) -> None: ...

class ReadBlobRequest(_message.Message):
    __slots__ = ("digest", "offset_bytes", "limit_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: _types_pb2.Digest
    offset_bytes: int
    limit_bytes: int
    def __init__(self, digest: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., offset_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ...) -> None: ...

class ReadBlobResponse(_message.Message):
    __slots__ = ("offset_bytes", "data")
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    offset_bytes: int
    data: bytes
    def __init__(self, offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("graph", "bindings", "queries")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    graph: _types_pb2.Digest
    bindings: _containers.RepeatedCompositeFieldContainer[_query_pb2.Binding]
    queries: _containers.RepeatedCompositeFieldContainer[_query_pb2.Query]
    def __init__(self, graph: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., bindings: _Optional[_Iterable[_Union[_query_pb2.Binding, _Mapping]]] = ..., queries: _Optional[_Iterable[_Union[_query_pb2.Query, _Mapping]]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("plans", "promise", "budget_bytes", "within_budget", "plan_key", "platform")
    PLANS_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    WITHIN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    PLAN_KEY_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[QueryPlan]
    promise: Promise
    budget_bytes: int
    within_budget: bool
    plan_key: bytes
    platform: str
    def __init__(self, plans: _Optional[_Iterable[_Union[QueryPlan, _Mapping]]] = ..., promise: _Optional[_Union[Promise, _Mapping]] = ..., budget_bytes: _Optional[int] = ..., within_budget: bool = ..., plan_key: _Optional[bytes] = ..., platform: _Optional[str] = ...) -> None: ...

class QueryPlan(_message.Message):
    __slots__ = ("promise", "text", "outline", "executor", "within_budget", "largest_op")
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    OUTLINE_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    WITHIN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    LARGEST_OP_FIELD_NUMBER: _ClassVar[int]
    promise: Promise
    text: str
    outline: Outline
    executor: str
    within_budget: bool
    largest_op: str
    def __init__(self, promise: _Optional[_Union[Promise, _Mapping]] = ..., text: _Optional[str] = ..., outline: _Optional[_Union[Outline, _Mapping]] = ..., executor: _Optional[str] = ..., within_budget: bool = ..., largest_op: _Optional[str] = ...) -> None: ...

class Promise(_message.Message):
    __slots__ = ("flops", "peak_bytes", "result_bytes", "blocks")
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    flops: int
    peak_bytes: int
    result_bytes: int
    blocks: int
    def __init__(self, flops: _Optional[int] = ..., peak_bytes: _Optional[int] = ..., result_bytes: _Optional[int] = ..., blocks: _Optional[int] = ...) -> None: ...

class DeriveRequest(_message.Message):
    __slots__ = ("graph", "derivative", "wrt")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    DERIVATIVE_FIELD_NUMBER: _ClassVar[int]
    WRT_FIELD_NUMBER: _ClassVar[int]
    graph: _types_pb2.Digest
    derivative: Derivative
    wrt: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, graph: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., derivative: _Optional[_Union[Derivative, str]] = ..., wrt: _Optional[_Iterable[str]] = ...) -> None: ...

class DeriveResponse(_message.Message):
    __slots__ = ("graph", "inputs", "outputs", "nodes", "nodes_before")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    NODES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    graph: _types_pb2.Digest
    inputs: _containers.RepeatedCompositeFieldContainer[_graph_pb2.Input]
    outputs: _containers.RepeatedCompositeFieldContainer[_graph_pb2.Input]
    nodes: int
    nodes_before: int
    def __init__(self, graph: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[_graph_pb2.Input, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_graph_pb2.Input, _Mapping]]] = ..., nodes: _Optional[int] = ..., nodes_before: _Optional[int] = ...) -> None: ...

class ComputeRequest(_message.Message):
    __slots__ = ("graph", "bindings", "queries")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    graph: _types_pb2.Digest
    bindings: _containers.RepeatedCompositeFieldContainer[_query_pb2.Binding]
    queries: _containers.RepeatedCompositeFieldContainer[_query_pb2.Query]
    def __init__(self, graph: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., bindings: _Optional[_Iterable[_Union[_query_pb2.Binding, _Mapping]]] = ..., queries: _Optional[_Iterable[_Union[_query_pb2.Query, _Mapping]]] = ...) -> None: ...

class ComputeResponse(_message.Message):
    __slots__ = ("results", "usage")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_query_pb2.Result]
    usage: Usage
    def __init__(self, results: _Optional[_Iterable[_Union[_query_pb2.Result, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("bytes_received", "bytes_sent", "blocks", "blocks_repeated", "workers", "seconds", "executor")
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_REPEATED_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    bytes_received: int
    bytes_sent: int
    blocks: int
    blocks_repeated: int
    workers: int
    seconds: float
    executor: str
    def __init__(self, bytes_received: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., blocks: _Optional[int] = ..., blocks_repeated: _Optional[int] = ..., workers: _Optional[int] = ..., seconds: _Optional[float] = ..., executor: _Optional[str] = ...) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ("graph", "bindings", "queries", "run_id", "max_seconds", "detach_seconds", "have")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DETACH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    graph: _types_pb2.Digest
    bindings: _containers.RepeatedCompositeFieldContainer[_query_pb2.Binding]
    queries: _containers.RepeatedCompositeFieldContainer[_query_pb2.Query]
    run_id: bytes
    max_seconds: float
    detach_seconds: float
    have: Have
    def __init__(self, graph: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., bindings: _Optional[_Iterable[_Union[_query_pb2.Binding, _Mapping]]] = ..., queries: _Optional[_Iterable[_Union[_query_pb2.Query, _Mapping]]] = ..., run_id: _Optional[bytes] = ..., max_seconds: _Optional[float] = ..., detach_seconds: _Optional[float] = ..., have: _Optional[_Union[Have, _Mapping]] = ...) -> None: ...

class Have(_message.Message):
    __slots__ = ("plan_key", "platform", "ranges", "patterns")
    PLAN_KEY_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    plan_key: bytes
    platform: str
    ranges: _containers.RepeatedCompositeFieldContainer[BlockRange]
    patterns: _containers.RepeatedCompositeFieldContainer[BlockRange]
    def __init__(self, plan_key: _Optional[bytes] = ..., platform: _Optional[str] = ..., ranges: _Optional[_Iterable[_Union[BlockRange, _Mapping]]] = ..., patterns: _Optional[_Iterable[_Union[BlockRange, _Mapping]]] = ...) -> None: ...

class BlockRange(_message.Message):
    __slots__ = ("query", "part", "axis", "start", "stop")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    query: int
    part: int
    axis: Axis
    start: int
    stop: int
    def __init__(self, query: _Optional[int] = ..., part: _Optional[int] = ..., axis: _Optional[_Union[Axis, str]] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ...) -> None: ...

class RunResponse(_message.Message):
    __slots__ = ("accepted", "block", "progress", "done", "pattern")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    block: BlockChunk
    progress: Progress
    done: Done
    pattern: PatternChunk
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., block: _Optional[_Union[BlockChunk, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., pattern: _Optional[_Union[PatternChunk, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("promise", "outlines", "plan_key", "platform", "attached", "executor")
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    OUTLINES_FIELD_NUMBER: _ClassVar[int]
    PLAN_KEY_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    promise: Promise
    outlines: _containers.RepeatedCompositeFieldContainer[Outline]
    plan_key: bytes
    platform: str
    attached: bool
    executor: str
    def __init__(self, promise: _Optional[_Union[Promise, _Mapping]] = ..., outlines: _Optional[_Iterable[_Union[Outline, _Mapping]]] = ..., plan_key: _Optional[bytes] = ..., platform: _Optional[str] = ..., attached: bool = ..., executor: _Optional[str] = ...) -> None: ...

class Outline(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("type", "in_blocks", "axis", "layout")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    IN_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    type: _types_pb2.Type
    in_blocks: bool
    axis: Axis
    layout: _query_pb2.Layout
    def __init__(self, type: _Optional[_Union[_types_pb2.Type, _Mapping]] = ..., in_blocks: bool = ..., axis: _Optional[_Union[Axis, str]] = ..., layout: _Optional[_Union[_query_pb2.Layout, str]] = ...) -> None: ...

class BlockChunk(_message.Message):
    __slots__ = ("query", "part", "axis", "start", "stop", "shape", "dtype", "offset_bytes", "data")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    query: int
    part: int
    axis: Axis
    start: int
    stop: int
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: _types_pb2.DataType
    offset_bytes: int
    data: bytes
    def __init__(self, query: _Optional[int] = ..., part: _Optional[int] = ..., axis: _Optional[_Union[Axis, str]] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[_types_pb2.DataType, str]] = ..., offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PatternChunk(_message.Message):
    __slots__ = ("query", "part", "rows", "columns", "positions", "array", "offset_bytes", "data")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    query: int
    part: int
    rows: int
    columns: int
    positions: int
    array: PatternArray
    offset_bytes: int
    data: bytes
    def __init__(self, query: _Optional[int] = ..., part: _Optional[int] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ..., positions: _Optional[int] = ..., array: _Optional[_Union[PatternArray, str]] = ..., offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("blocks_done", "blocks_total", "lanes", "seconds")
    BLOCKS_DONE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    blocks_done: int
    blocks_total: int
    lanes: int
    seconds: float
    def __init__(self, blocks_done: _Optional[int] = ..., blocks_total: _Optional[int] = ..., lanes: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("results", "usage")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_query_pb2.Result]
    usage: Usage
    def __init__(self, results: _Optional[_Iterable[_Union[_query_pb2.Result, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    def __init__(self, run_id: _Optional[bytes] = ...) -> None: ...

class CancelRunResponse(_message.Message):
    __slots__ = ("cancelled",)
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    cancelled: bool
    def __init__(self, cancelled: bool = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("request_id", "timeout_seconds", "compute", "array", "blob", "cancel")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    ARRAY_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    timeout_seconds: float
    compute: ComputeRequest
    array: ArrayChunk
    blob: UploadRequest
    cancel: Cancel
    def __init__(self, request_id: _Optional[int] = ..., timeout_seconds: _Optional[float] = ..., compute: _Optional[_Union[ComputeRequest, _Mapping]] = ..., array: _Optional[_Union[ArrayChunk, _Mapping]] = ..., blob: _Optional[_Union[UploadRequest, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("request_id", "status", "done", "block", "draining", "accepted", "pattern")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    status: Status
    done: Done
    block: BlockChunk
    draining: Draining
    accepted: Accepted
    pattern: PatternChunk
    def __init__(self, request_id: _Optional[int] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., block: _Optional[_Union[BlockChunk, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., pattern: _Optional[_Union[PatternChunk, _Mapping]] = ...) -> None: ...

class ArrayChunk(_message.Message):
    __slots__ = ("transfer", "type", "offset_bytes", "data")
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    transfer: int
    type: _types_pb2.Type
    offset_bytes: int
    data: bytes
    def __init__(self, transfer: _Optional[int] = ..., type: _Optional[_Union[_types_pb2.Type, _Mapping]] = ..., offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Draining(_message.Message):
    __slots__ = ("seconds",)
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    def __init__(self, seconds: _Optional[float] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...
