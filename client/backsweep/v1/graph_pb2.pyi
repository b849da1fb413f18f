from backsweep.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Graph(_message.Message):
    __slots__ = ("op_set", "ops", "attributes", "functions")
    OP_SET_FIELD_NUMBER: _ClassVar[int]
    OPS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    op_set: int
    ops: _containers.RepeatedScalarFieldContainer[str]
    attributes: _containers.RepeatedCompositeFieldContainer[AttributeRecord]
    functions: _containers.RepeatedCompositeFieldContainer[Function]
    def __init__(self, op_set: _Optional[int] = ..., ops: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Iterable[_Union[AttributeRecord, _Mapping]]] = ..., functions: _Optional[_Iterable[_Union[Function, _Mapping]]] = ...) -> None: ...

class Function(_message.Message):
    __slots__ = ("inputs", "op", "operand_count", "operand_node", "operand_result", "attribute", "output_name", "output_node", "output_result")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    OPERAND_COUNT_FIELD_NUMBER: _ClassVar[int]
    OPERAND_NODE_FIELD_NUMBER: _ClassVar[int]
    OPERAND_RESULT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_NAME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_NODE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_RESULT_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[Input]
    op: _containers.RepeatedScalarFieldContainer[int]
    operand_count: _containers.RepeatedScalarFieldContainer[int]
    operand_node: _containers.RepeatedScalarFieldContainer[int]
    operand_result: _containers.RepeatedScalarFieldContainer[int]
    attribute: _containers.RepeatedScalarFieldContainer[int]
    output_name: _containers.RepeatedScalarFieldContainer[str]
    output_node: _containers.RepeatedScalarFieldContainer[int]
    output_result: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, inputs: _Optional[_Iterable[_Union[Input, _Mapping]]] = ..., op: _Optional[_Iterable[int]] = ..., operand_count: _Optional[_Iterable[int]] = ..., operand_node: _Optional[_Iterable[int]] = ..., operand_result: _Optional[_Iterable[int]] = ..., attribute: _Optional[_Iterable[int]] = ..., output_name: _Optional[_Iterable[str]] = ..., output_node: _Optional[_Iterable[int]] = ..., output_result: _Optional[_Iterable[int]] = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ("name", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: _types_pb2.Type
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[_types_pb2.Type, _Mapping]] = ...) -> None: ...

class AttributeRecord(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: _containers.RepeatedScalarFieldContainer[str]
    value: _containers.RepeatedCompositeFieldContainer[AttributeValue]
    def __init__(self, name: _Optional[_Iterable[str]] = ..., value: _Optional[_Iterable[_Union[AttributeValue, _Mapping]]] = ...) -> None: ...

class AttributeValue(_message.Message):
    __slots__ = ("integer", "real", "truth", "text", "ints", "constant", "function", "dtype")
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTS_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    integer: int
    real: float
    truth: bool
    text: str
    ints: Ints
    constant: _types_pb2.Array
    function: int
    dtype: _types_pb2.DataType
    def __init__(self, integer: _Optional[int] = ..., real: _Optional[float] = ..., truth: bool = ..., text: _Optional[str] = ..., ints: _Optional[_Union[Ints, _Mapping]] = ..., constant: _Optional[_Union[_types_pb2.Array, _Mapping]] = ..., function: _Optional[int] = ..., dtype: _Optional[_Union[_types_pb2.DataType, str]] = ...) -> None: ...

class Ints(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...
