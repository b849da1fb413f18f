from backsweep.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Layout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYOUT_UNSPECIFIED: _ClassVar[Layout]
    LAYOUT_DENSE: _ClassVar[Layout]
    LAYOUT_SPARSE: _ClassVar[Layout]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_AUTO: _ClassVar[Mode]
    MODE_FORWARD: _ClassVar[Mode]
    MODE_REVERSE: _ClassVar[Mode]

class Family(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAMILY_UNSPECIFIED: _ClassVar[Family]
    FAMILY_NORMAL: _ClassVar[Family]
    FAMILY_BERNOULLI: _ClassVar[Family]
    FAMILY_CATEGORICAL: _ClassVar[Family]
    FAMILY_POISSON: _ClassVar[Family]

class NonFiniteKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NON_FINITE_KIND_UNSPECIFIED: _ClassVar[NonFiniteKind]
    NON_FINITE_KIND_NAN: _ClassVar[NonFiniteKind]
    NON_FINITE_KIND_INFINITE: _ClassVar[NonFiniteKind]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_RIGHT: _ClassVar[Outcome]
    OUTCOME_WRONG: _ClassVar[Outcome]
    OUTCOME_CANNOT_TELL: _ClassVar[Outcome]
LAYOUT_UNSPECIFIED: Layout
LAYOUT_DENSE: Layout
LAYOUT_SPARSE: Layout
MODE_UNSPECIFIED: Mode
MODE_AUTO: Mode
MODE_FORWARD: Mode
MODE_REVERSE: Mode
FAMILY_UNSPECIFIED: Family
FAMILY_NORMAL: Family
FAMILY_BERNOULLI: Family
FAMILY_CATEGORICAL: Family
FAMILY_POISSON: Family
NON_FINITE_KIND_UNSPECIFIED: NonFiniteKind
NON_FINITE_KIND_NAN: NonFiniteKind
NON_FINITE_KIND_INFINITE: NonFiniteKind
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_RIGHT: Outcome
OUTCOME_WRONG: Outcome
OUTCOME_CANNOT_TELL: Outcome

class Binding(_message.Message):
    __slots__ = ("input", "inline", "blob", "chunked", "type", "batched", "of_point")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    CHUNKED_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    BATCHED_FIELD_NUMBER: _ClassVar[int]
    OF_POINT_FIELD_NUMBER: _ClassVar[int]
    input: str
    inline: _types_pb2.Array
    blob: _types_pb2.ArrayRef
    chunked: ChunkedArray
    type: _types_pb2.Type
    batched: bool
    of_point: bool
    def __init__(self, input: _Optional[str] = ..., inline: _Optional[_Union[_types_pb2.Array, _Mapping]] = ..., blob: _Optional[_Union[_types_pb2.ArrayRef, _Mapping]] = ..., chunked: _Optional[_Union[ChunkedArray, _Mapping]] = ..., type: _Optional[_Union[_types_pb2.Type, _Mapping]] = ..., batched: bool = ..., of_point: bool = ...) -> None: ...

class ChunkedArray(_message.Message):
    __slots__ = ("type", "transfer")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    type: _types_pb2.Type
    transfer: int
    def __init__(self, type: _Optional[_Union[_types_pb2.Type, _Mapping]] = ..., transfer: _Optional[int] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("wrt", "block_rows", "layout", "value", "gradient", "value_and_gradient", "jvp", "vjp", "hvp", "jacobian", "hessian", "hessian_diagonal", "check", "gauss_newton", "fisher", "empirical_fisher")
    WRT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_ROWS_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_AND_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    JVP_FIELD_NUMBER: _ClassVar[int]
    VJP_FIELD_NUMBER: _ClassVar[int]
    HVP_FIELD_NUMBER: _ClassVar[int]
    JACOBIAN_FIELD_NUMBER: _ClassVar[int]
    HESSIAN_FIELD_NUMBER: _ClassVar[int]
    HESSIAN_DIAGONAL_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    GAUSS_NEWTON_FIELD_NUMBER: _ClassVar[int]
    FISHER_FIELD_NUMBER: _ClassVar[int]
    EMPIRICAL_FISHER_FIELD_NUMBER: _ClassVar[int]
    wrt: _containers.RepeatedScalarFieldContainer[str]
    block_rows: int
    layout: Layout
    value: Value
    gradient: Gradient
    value_and_gradient: ValueAndGradient
    jvp: Jvp
    vjp: Vjp
    hvp: Hvp
    jacobian: Jacobian
    hessian: Hessian
    hessian_diagonal: HessianDiagonal
    check: Check
    gauss_newton: GaussNewton
    fisher: Fisher
    empirical_fisher: EmpiricalFisher
    def __init__(self, wrt: _Optional[_Iterable[str]] = ..., block_rows: _Optional[int] = ..., layout: _Optional[_Union[Layout, str]] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., gradient: _Optional[_Union[Gradient, _Mapping]] = ..., value_and_gradient: _Optional[_Union[ValueAndGradient, _Mapping]] = ..., jvp: _Optional[_Union[Jvp, _Mapping]] = ..., vjp: _Optional[_Union[Vjp, _Mapping]] = ..., hvp: _Optional[_Union[Hvp, _Mapping]] = ..., jacobian: _Optional[_Union[Jacobian, _Mapping]] = ..., hessian: _Optional[_Union[Hessian, _Mapping]] = ..., hessian_diagonal: _Optional[_Union[HessianDiagonal, _Mapping]] = ..., check: _Optional[_Union[Check, _Mapping]] = ..., gauss_newton: _Optional[_Union[GaussNewton, _Mapping]] = ..., fisher: _Optional[_Union[Fisher, _Mapping]] = ..., empirical_fisher: _Optional[_Union[EmpiricalFisher, _Mapping]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Gradient(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ValueAndGradient(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Jvp(_message.Message):
    __slots__ = ("tangents", "many")
    TANGENTS_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    tangents: _containers.RepeatedCompositeFieldContainer[Binding]
    many: bool
    def __init__(self, tangents: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., many: bool = ...) -> None: ...

class Vjp(_message.Message):
    __slots__ = ("cotangents", "many")
    COTANGENTS_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    cotangents: _containers.RepeatedCompositeFieldContainer[Binding]
    many: bool
    def __init__(self, cotangents: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., many: bool = ...) -> None: ...

class Hvp(_message.Message):
    __slots__ = ("tangents", "many")
    TANGENTS_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    tangents: _containers.RepeatedCompositeFieldContainer[Binding]
    many: bool
    def __init__(self, tangents: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., many: bool = ...) -> None: ...

class Jacobian(_message.Message):
    __slots__ = ("mode",)
    MODE_FIELD_NUMBER: _ClassVar[int]
    mode: Mode
    def __init__(self, mode: _Optional[_Union[Mode, str]] = ...) -> None: ...

class Hessian(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HessianDiagonal(_message.Message):
    __slots__ = ("each_product", "estimate")
    EACH_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    each_product: EachProduct
    estimate: DiagonalEstimate
    def __init__(self, each_product: _Optional[_Union[EachProduct, _Mapping]] = ..., estimate: _Optional[_Union[DiagonalEstimate, _Mapping]] = ...) -> None: ...

class EachProduct(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DiagonalEstimate(_message.Message):
    __slots__ = ("samples", "seed")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    samples: int
    seed: int
    def __init__(self, samples: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class GaussNewton(_message.Message):
    __slots__ = ("through", "tangents", "many")
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    TANGENTS_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    through: _containers.RepeatedScalarFieldContainer[str]
    tangents: _containers.RepeatedCompositeFieldContainer[Binding]
    many: bool
    def __init__(self, through: _Optional[_Iterable[str]] = ..., tangents: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., many: bool = ...) -> None: ...

class Fisher(_message.Message):
    __slots__ = ("family", "tangents", "many")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    TANGENTS_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    family: Family
    tangents: _containers.RepeatedCompositeFieldContainer[Binding]
    many: bool
    def __init__(self, family: _Optional[_Union[Family, str]] = ..., tangents: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., many: bool = ...) -> None: ...

class EmpiricalFisher(_message.Message):
    __slots__ = ("tangents", "many")
    TANGENTS_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    tangents: _containers.RepeatedCompositeFieldContainer[Binding]
    many: bool
    def __init__(self, tangents: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., many: bool = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("own", "given", "seed", "directions", "max_worst")
    OWN_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_WORST_FIELD_NUMBER: _ClassVar[int]
    own: OwnDerivative
    given: GivenGradient
    seed: int
    directions: int
    max_worst: int
    def __init__(self, own: _Optional[_Union[OwnDerivative, _Mapping]] = ..., given: _Optional[_Union[GivenGradient, _Mapping]] = ..., seed: _Optional[int] = ..., directions: _Optional[int] = ..., max_worst: _Optional[int] = ...) -> None: ...

class OwnDerivative(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GivenGradient(_message.Message):
    __slots__ = ("gradient",)
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    gradient: _containers.RepeatedCompositeFieldContainer[Binding]
    def __init__(self, gradient: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("arrays", "matrix", "verdict", "non_finite")
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    MATRIX_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    arrays: _types_pb2.Arrays
    matrix: Matrix
    verdict: Verdict
    non_finite: _containers.RepeatedCompositeFieldContainer[NonFinite]
    def __init__(self, arrays: _Optional[_Union[_types_pb2.Arrays, _Mapping]] = ..., matrix: _Optional[_Union[Matrix, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., non_finite: _Optional[_Iterable[_Union[NonFinite, _Mapping]]] = ...) -> None: ...

class Matrix(_message.Message):
    __slots__ = ("dense", "sparse")
    DENSE_FIELD_NUMBER: _ClassVar[int]
    SPARSE_FIELD_NUMBER: _ClassVar[int]
    dense: _types_pb2.Array
    sparse: SparseMatrix
    def __init__(self, dense: _Optional[_Union[_types_pb2.Array, _Mapping]] = ..., sparse: _Optional[_Union[SparseMatrix, _Mapping]] = ...) -> None: ...

class SparseMatrix(_message.Message):
    __slots__ = ("rows", "columns", "indptr", "indices", "values")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    INDPTR_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: int
    indptr: _types_pb2.Array
    indices: _types_pb2.Array
    values: _types_pb2.Array
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[int] = ..., indptr: _Optional[_Union[_types_pb2.Array, _Mapping]] = ..., indices: _Optional[_Union[_types_pb2.Array, _Mapping]] = ..., values: _Optional[_Union[_types_pb2.Array, _Mapping]] = ...) -> None: ...

class NonFinite(_message.Message):
    __slots__ = ("part", "function", "node", "op", "output", "kind", "in_derivative")
    PART_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    IN_DERIVATIVE_FIELD_NUMBER: _ClassVar[int]
    part: int
    function: int
    node: int
    op: str
    output: str
    kind: NonFiniteKind
    in_derivative: bool
    def __init__(self, part: _Optional[int] = ..., function: _Optional[int] = ..., node: _Optional[int] = ..., op: _Optional[str] = ..., output: _Optional[str] = ..., kind: _Optional[_Union[NonFiniteKind, str]] = ..., in_derivative: bool = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("outcome", "why", "worst", "directions", "smallest_excluded_error", "truncation_bound", "roundoff_bound", "seed", "evaluations")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    SMALLEST_EXCLUDED_ERROR_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_BOUND_FIELD_NUMBER: _ClassVar[int]
    ROUNDOFF_BOUND_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    why: str
    worst: _containers.RepeatedCompositeFieldContainer[Entry]
    directions: int
    smallest_excluded_error: float
    truncation_bound: float
    roundoff_bound: float
    seed: int
    evaluations: int
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., why: _Optional[str] = ..., worst: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., directions: _Optional[int] = ..., smallest_excluded_error: _Optional[float] = ..., truncation_bound: _Optional[float] = ..., roundoff_bound: _Optional[float] = ..., seed: _Optional[int] = ..., evaluations: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("input", "index", "expected", "got", "bound", "output", "point")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    GOT_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    input: str
    index: _containers.RepeatedScalarFieldContainer[int]
    expected: float
    got: float
    bound: float
    output: str
    point: int
    def __init__(self, input: _Optional[str] = ..., index: _Optional[_Iterable[int]] = ..., expected: _Optional[float] = ..., got: _Optional[float] = ..., bound: _Optional[float] = ..., output: _Optional[str] = ..., point: _Optional[int] = ...) -> None: ...
