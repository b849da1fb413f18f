"""An independent client, `buf curl`, with requests written by hand as JSON: no Python-only assumptions."""

import base64
import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.server import Server

ROOT = Path(__file__).resolve().parents[2]

# f(x) = sum(x * x), x a vector of three, as the bytes of a Graph. Written down, so that a change of the format is seen:
#   op_set 1 | "multiply" | "sum" | {axes: [0]} | x: float64[3]; multiply 0 0; sum 1; output "" = node 2
GRAPH = bytes.fromhex(
    "0801"  # op_set = 1
    "1208" + b"multiply".hex() + "1203" + b"sum".hex() + "1a0d" + "0a04" + b"axes".hex() + "1205" + "2a03" + "0a0100"  # ints [0]
    "222a"
    + ("0a0a" + "0a01" + b"x".hex() + "1205" + "0801" + "120103")  # input x, FLOAT64, shape [3]
    + ("12020001" + "1a020201" + "2203000001" + "2a03000000" + "32020001" + "3a00" + "420102" + "4a0100")
)
# The same with z = x * x called so (the op `name`), and the sum of z * z:
#   "multiply" | "name" | "sum" | {label: "z"} | {axes: [0]} | x; multiply 0 0; name 1; multiply 2 2; sum 3; output "" = node 4
NAMED = bytes.fromhex(
    "0801"
    + ("1208" + b"multiply".hex() + "1204" + b"name".hex() + "1203" + b"sum".hex())
    + ("1a0c" + "0a05" + b"label".hex() + "1203" + "2201" + b"z".hex())  # text "z"
    + ("1a0d" + "0a04" + b"axes".hex() + "1205" + "2a03" + "0a0100")
    + "2236"
    + ("0a0a" + "0a01" + b"x".hex() + "1205" + "0801" + "120103")
    + ("120400010002" + "1a0402010201" + "2206000001020203" + "2a06000000000000" + "320400010002" + "3a00" + "420104" + "4a0100")
)
# x * x alone: a vector.
SQUARES = bytes.fromhex(
    "0801"
    + "1208"
    + b"multiply".hex()
    + "2225"
    + ("0a0a" + "0a01" + b"x".hex() + "1205" + "0801" + "120103")
    + ("120100" + "1a0102" + "22020000" + "2a020000" + "320100" + "3a00" + "420101" + "4a0100")
)
X = (1.0, -2.0, 3.5)


def digest(data: bytes) -> dict[str, str]:
    return {"sha256": base64.b64encode(hashlib.sha256(data).digest()).decode(), "sizeBytes": str(len(data))}


def doubles(*values: float, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"dtype": "DATA_TYPE_FLOAT64", "shape": list(map(str, shape)), "data": base64.b64encode(struct.pack(f"<{len(values)}d", *values)).decode()}


DIGEST = digest(GRAPH)
BINDING = {"input": "x", "inline": doubles(*X, shape=(3,))}
TANGENT = {"input": "x", "inline": doubles(1.0, -1.0, 2.0, shape=(3,))}


def curl(server: Server, method: str, request: Any) -> tuple[list[Any], str]:
    """The responses, and what was said on stderr."""
    buf = Path(sys.executable).with_name("buf")
    url = f"http://{server.address}/{method}"
    schema = ["--schema", str(ROOT / "proto")] if method.startswith("backsweep") else ["--reflect"]
    done = subprocess.run(
        [buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *schema, "--data", json.dumps(request), url], capture_output=True, text=True, timeout=60
    )
    decoder, text, values = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:].strip()
    return values, done.stderr


def test_the_graph_is_the_one_described() -> None:
    from backsweep.v1 import graph_pb2

    for graph, ops in ((GRAPH, ["multiply", "sum"]), (NAMED, ["multiply", "name", "sum"]), (SQUARES, ["multiply"])):
        message = graph_pb2.Graph.FromString(graph)
        assert list(message.ops) == ops
        assert message.SerializeToString(deterministic=True) == graph


ROWS: list[tuple[str, Any, Any]] = [
    ("grpc.health.v1.Health/Check", {}, {"status": "SERVING"}),
    ("backsweep.v1.BacksweepService/Upload", {"digest": DIGEST, "data": base64.b64encode(GRAPH).decode()}, {"stored": [DIGEST]}),
    ("backsweep.v1.BacksweepService/FindMissing", {"digests": [DIGEST]}, {}),
    (
        "backsweep.v1.BacksweepService/Compute",
        {"graph": DIGEST, "bindings": [BINDING], "queries": [{"gradient": {}}]},
        {
            "results": [
                {
                    "arrays": {
                        "arrays": [{"dtype": "DATA_TYPE_FLOAT64", "shape": ["3"], "data": base64.b64encode(struct.pack("<3d", *[2 * x for x in X])).decode()}]
                    }
                }
            ]
        },
    ),
]


def array(kind: str, *numbers: float) -> Any:
    """An array as JSON: float64 ("d") or int64 ("q")."""
    dtype = {"d": "DATA_TYPE_FLOAT64", "q": "DATA_TYPE_INT64"}[kind]
    return {"dtype": dtype, "shape": [str(len(numbers))], "data": base64.b64encode(struct.pack(f"<{len(numbers)}{kind}", *numbers)).decode()}


def test_buf_curl_gets_a_sparse_hessian_by_its_rows(server: Server) -> None:
    curl(server, "backsweep.v1.BacksweepService/Upload", {"digest": DIGEST, "data": base64.b64encode(GRAPH).decode()})
    query = {"hessian": {}, "layout": "LAYOUT_SPARSE"}
    (answer,), _ = curl(server, "backsweep.v1.BacksweepService/Compute", {"graph": DIGEST, "bindings": [BINDING], "queries": [query]})
    (result,) = answer["results"]
    assert result["matrix"]["sparse"] == {
        "rows": "3",
        "columns": "3",
        "indptr": array("q", 0, 1, 2, 3),
        "indices": array("q", 0, 1, 2),
        "values": array("d", 2, 2, 2),
    }


@pytest.mark.parametrize("method, request_, wanted", ROWS, ids=[row[0].rpartition("/")[2] for row in ROWS])
def test_buf_curl_gets_a_gradient(server: Server, method: str, request_: Any, wanted: Any) -> None:
    if method.endswith("Compute"):
        curl(server, "backsweep.v1.BacksweepService/Upload", {"digest": DIGEST, "data": base64.b64encode(GRAPH).decode()})
    answers, said = curl(server, method, request_)
    assert answers, said
    (answer,) = answers
    answer.pop("usage", None)
    if method.endswith("FindMissing"):
        assert answer in ({}, {"missing": [DIGEST]})
    else:
        assert answer == wanted


def diagonal(*values: float) -> dict[str, Any]:
    """A matrix of numbers in a diagonal."""
    return {"matrix": {"dense": doubles(*[v if i == j else 0.0 for i, v in enumerate(values) for j in range(len(values))], shape=(len(values),) * 2)}}


def vector(*values: float) -> dict[str, Any]:
    return {"arrays": {"arrays": [doubles(*values, shape=(len(values),))]}}


S = [4 * x * x for x in X]
"""The squares of the derivatives 2 x of x * x. All numbers here are doubles without rounding."""

CURVATURES: list[tuple[bytes, Any, Any]] = [
    (NAMED, {"gaussNewton": {"through": ["z"]}, "layout": "LAYOUT_DENSE"}, diagonal(*[2 * s for s in S])),
    (NAMED, {"gaussNewton": {"through": ["z"], "tangents": [TANGENT]}}, vector(2 * S[0], -2 * S[1], 4 * S[2])),
    (SQUARES, {"fisher": {"family": "FAMILY_NORMAL"}, "layout": "LAYOUT_DENSE"}, diagonal(*S)),
    (SQUARES, {"fisher": {"family": "FAMILY_NORMAL", "tangents": [TANGENT]}}, vector(S[0], -S[1], 2 * S[2])),
    (SQUARES, {"empiricalFisher": {}, "layout": "LAYOUT_DENSE"}, diagonal(*S)),
    (SQUARES, {"empiricalFisher": {"tangents": [TANGENT]}}, vector(S[0], -S[1], 2 * S[2])),
]


def test_buf_curl_gets_every_curvature(server: Server) -> None:
    """One call for each graph: a process of buf takes longer than the answer."""
    for graph in (NAMED, SQUARES):
        rows = [(query, wanted) for of, query, wanted in CURVATURES if of is graph]
        curl(server, "backsweep.v1.BacksweepService/Upload", {"digest": digest(graph), "data": base64.b64encode(graph).decode()})
        request = {"graph": digest(graph), "bindings": [BINDING], "queries": [query for query, _ in rows]}
        answers, said = curl(server, "backsweep.v1.BacksweepService/Compute", request)
        assert answers, said
        assert answers[0]["results"] == [wanted for _, wanted in rows]


def test_buf_curl_is_told_the_reason_of_an_error(server: Server) -> None:
    answers, said = curl(server, "backsweep.v1.BacksweepService/Compute", {"graph": {"sha256": "AAAA", "sizeBytes": "1"}})
    assert not answers
    told = json.loads(said)
    assert told["code"] == "invalid_argument"
    (detail,) = told["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    assert b"MALFORMED" in base64.b64decode(detail["value"] + "==")
