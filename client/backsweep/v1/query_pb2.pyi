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

class Subject(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUBJECT_UNSPECIFIED: _ClassVar[Subject]
    SUBJECT_OWN: _ClassVar[Subject]
    SUBJECT_GIVEN: _ClassVar[Subject]
    SUBJECT_JVP: _ClassVar[Subject]
    SUBJECT_VJP: _ClassVar[Subject]
    SUBJECT_JACOBIAN: _ClassVar[Subject]
    SUBJECT_HVP: _ClassVar[Subject]
    SUBJECT_HESSIAN: _ClassVar[Subject]

class Judge(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JUDGE_UNSPECIFIED: _ClassVar[Judge]
    JUDGE_CENTRAL_2: _ClassVar[Judge]
    JUDGE_CENTRAL_4: _ClassVar[Judge]
    JUDGE_CENTRAL_6: _ClassVar[Judge]
    JUDGE_RICHARDSON: _ClassVar[Judge]
    JUDGE_COMPLEX_STEP: _ClassVar[Judge]
    JUDGE_TAYLOR: _ClassVar[Judge]

class NonFiniteKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NON_FINITE_KIND_UNSPECIFIED: _ClassVar[NonFiniteKind]
    NON_FINITE_KIND_NAN: _ClassVar[NonFiniteKind]
    NON_FINITE_KIND_INFINITE: _ClassVar[NonFiniteKind]

class Doubt(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOUBT_UNSPECIFIED: _ClassVar[Doubt]
    DOUBT_KINK: _ClassVar[Doubt]
    DOUBT_CANCELLATION: _ClassVar[Doubt]
    DOUBT_NOISE: _ClassVar[Doubt]
    DOUBT_NON_FINITE: _ClassVar[Doubt]
    DOUBT_UNRESOLVED: _ClassVar[Doubt]

class Slip(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLIP_UNSPECIFIED: _ClassVar[Slip]
    SLIP_SIGN: _ClassVar[Slip]
    SLIP_FACTOR: _ClassVar[Slip]
    SLIP_SCALED: _ClassVar[Slip]
    SLIP_TRANSPOSED: _ClassVar[Slip]
    SLIP_SWAPPED: _ClassVar[Slip]
    SLIP_MISSING_TERM: _ClassVar[Slip]
    SLIP_NOT_FINITE: _ClassVar[Slip]

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
SUBJECT_UNSPECIFIED: Subject
SUBJECT_OWN: Subject
SUBJECT_GIVEN: Subject
SUBJECT_JVP: Subject
SUBJECT_VJP: Subject
SUBJECT_JACOBIAN: Subject
SUBJECT_HVP: Subject
SUBJECT_HESSIAN: Subject
JUDGE_UNSPECIFIED: Judge
JUDGE_CENTRAL_2: Judge
JUDGE_CENTRAL_4: Judge
JUDGE_CENTRAL_6: Judge
JUDGE_RICHARDSON: Judge
JUDGE_COMPLEX_STEP: Judge
JUDGE_TAYLOR: Judge
NON_FINITE_KIND_UNSPECIFIED: NonFiniteKind
NON_FINITE_KIND_NAN: NonFiniteKind
NON_FINITE_KIND_INFINITE: NonFiniteKind
DOUBT_UNSPECIFIED: Doubt
DOUBT_KINK: Doubt
DOUBT_CANCELLATION: Doubt
DOUBT_NOISE: Doubt
DOUBT_NON_FINITE: Doubt
DOUBT_UNRESOLVED: Doubt
SLIP_UNSPECIFIED: Slip
SLIP_SIGN: Slip
SLIP_FACTOR: Slip
SLIP_SCALED: Slip
SLIP_TRANSPOSED: Slip
SLIP_SWAPPED: Slip
SLIP_MISSING_TERM: Slip
SLIP_NOT_FINITE: Slip
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
    __slots__ = ("own", "given", "seed", "directions", "max_worst", "judge", "coordinates", "blame")
    OWN_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_WORST_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    COORDINATES_FIELD_NUMBER: _ClassVar[int]
    BLAME_FIELD_NUMBER: _ClassVar[int]
    own: OwnDerivative
    given: GivenGradient
    seed: int
    directions: int
    max_worst: int
    judge: Judge
    coordinates: bool
    blame: bool
    def __init__(self, own: _Optional[_Union[OwnDerivative, _Mapping]] = ..., given: _Optional[_Union[GivenGradient, _Mapping]] = ..., seed: _Optional[int] = ..., directions: _Optional[int] = ..., max_worst: _Optional[int] = ..., judge: _Optional[_Union[Judge, str]] = ..., coordinates: bool = ..., blame: bool = ...) -> None: ...

class OwnDerivative(_message.Message):
    __slots__ = ("derivative",)
    DERIVATIVE_FIELD_NUMBER: _ClassVar[int]
    derivative: Subject
    def __init__(self, derivative: _Optional[_Union[Subject, str]] = ...) -> None: ...

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
    __slots__ = ("outcome", "why", "worst", "directions", "smallest_excluded_error", "truncation_bound", "roundoff_bound", "seed", "evaluations", "subject", "judge", "doubt", "place", "side", "slip", "blamed", "examined", "curve", "taylor", "tried")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    SMALLEST_EXCLUDED_ERROR_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_BOUND_FIELD_NUMBER: _ClassVar[int]
    ROUNDOFF_BOUND_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    DOUBT_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    SLIP_FIELD_NUMBER: _ClassVar[int]
    BLAMED_FIELD_NUMBER: _ClassVar[int]
    EXAMINED_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    TAYLOR_FIELD_NUMBER: _ClassVar[int]
    TRIED_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    why: str
    worst: _containers.RepeatedCompositeFieldContainer[Entry]
    directions: int
    smallest_excluded_error: float
    truncation_bound: float
    roundoff_bound: float
    seed: int
    evaluations: int
    subject: Subject
    judge: Judge
    doubt: Doubt
    place: Place
    side: str
    slip: Slip
    blamed: _containers.RepeatedCompositeFieldContainer[Blame]
    examined: int
    curve: Curve
    taylor: _containers.RepeatedCompositeFieldContainer[Taylor]
    tried: _containers.RepeatedCompositeFieldContainer[Tried]
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., why: _Optional[str] = ..., worst: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., directions: _Optional[int] = ..., smallest_excluded_error: _Optional[float] = ..., truncation_bound: _Optional[float] = ..., roundoff_bound: _Optional[float] = ..., seed: _Optional[int] = ..., evaluations: _Optional[int] = ..., subject: _Optional[_Union[Subject, str]] = ..., judge: _Optional[_Union[Judge, str]] = ..., doubt: _Optional[_Union[Doubt, str]] = ..., place: _Optional[_Union[Place, _Mapping]] = ..., side: _Optional[str] = ..., slip: _Optional[_Union[Slip, str]] = ..., blamed: _Optional[_Iterable[_Union[Blame, _Mapping]]] = ..., examined: _Optional[int] = ..., curve: _Optional[_Union[Curve, _Mapping]] = ..., taylor: _Optional[_Iterable[_Union[Taylor, _Mapping]]] = ..., tried: _Optional[_Iterable[_Union[Tried, _Mapping]]] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("function", "node", "op")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    function: int
    node: int
    op: str
    def __init__(self, function: _Optional[int] = ..., node: _Optional[int] = ..., op: _Optional[str] = ...) -> None: ...

class Blame(_message.Message):
    __slots__ = ("place", "entry")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    place: Place
    entry: Entry
    def __init__(self, place: _Optional[_Union[Place, _Mapping]] = ..., entry: _Optional[_Union[Entry, _Mapping]] = ...) -> None: ...

class Curve(_message.Message):
    __slots__ = ("steps", "errors", "truncation_bounds", "roundoff_bounds", "step")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_BOUNDS_FIELD_NUMBER: _ClassVar[int]
    ROUNDOFF_BOUNDS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedScalarFieldContainer[float]
    errors: _containers.RepeatedScalarFieldContainer[float]
    truncation_bounds: _containers.RepeatedScalarFieldContainer[float]
    roundoff_bounds: _containers.RepeatedScalarFieldContainer[float]
    step: float
    def __init__(self, steps: _Optional[_Iterable[float]] = ..., errors: _Optional[_Iterable[float]] = ..., truncation_bounds: _Optional[_Iterable[float]] = ..., roundoff_bounds: _Optional[_Iterable[float]] = ..., step: _Optional[float] = ...) -> None: ...

class Taylor(_message.Message):
    __slots__ = ("direction", "steps", "remainders", "roundoff_bounds", "order", "fitted", "expected")
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    REMAINDERS_FIELD_NUMBER: _ClassVar[int]
    ROUNDOFF_BOUNDS_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    FITTED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    direction: int
    steps: _containers.RepeatedScalarFieldContainer[float]
    remainders: _containers.RepeatedScalarFieldContainer[float]
    roundoff_bounds: _containers.RepeatedScalarFieldContainer[float]
    order: float
    fitted: int
    expected: int
    def __init__(self, direction: _Optional[int] = ..., steps: _Optional[_Iterable[float]] = ..., remainders: _Optional[_Iterable[float]] = ..., roundoff_bounds: _Optional[_Iterable[float]] = ..., order: _Optional[float] = ..., fitted: _Optional[int] = ..., expected: _Optional[int] = ...) -> None: ...

class Tried(_message.Message):
    __slots__ = ("direction", "mode", "expected", "got", "bound", "coordinate")
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    GOT_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    COORDINATE_FIELD_NUMBER: _ClassVar[int]
    direction: int
    mode: str
    expected: float
    got: float
    bound: float
    coordinate: int
    def __init__(self, direction: _Optional[int] = ..., mode: _Optional[str] = ..., expected: _Optional[float] = ..., got: _Optional[float] = ..., bound: _Optional[float] = ..., coordinate: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("input", "index", "expected", "got", "bound", "output", "point", "ratio", "slip")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    GOT_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    SLIP_FIELD_NUMBER: _ClassVar[int]
    input: str
    index: _containers.RepeatedScalarFieldContainer[int]
    expected: float
    got: float
    bound: float
    output: str
    point: int
    ratio: float
    slip: Slip
    def __init__(self, input: _Optional[str] = ..., index: _Optional[_Iterable[int]] = ..., expected: _Optional[float] = ..., got: _Optional[float] = ..., bound: _Optional[float] = ..., output: _Optional[str] = ..., point: _Optional[int] = ..., ratio: _Optional[float] = ..., slip: _Optional[_Union[Slip, str]] = ...) -> None: ...
