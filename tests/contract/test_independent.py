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
X = (1.0, -2.0, 3.5)
DIGEST = {"sha256": base64.b64encode(hashlib.sha256(GRAPH).digest()).decode(), "sizeBytes": str(len(GRAPH))}
BINDING = {"input": "x", "inline": {"dtype": "DATA_TYPE_FLOAT64", "shape": ["3"], "data": base64.b64encode(struct.pack("<3d", *X)).decode()}}


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

    message = graph_pb2.Graph.FromString(GRAPH)
    assert list(message.ops) == ["multiply", "sum"]
    assert message.SerializeToString(deterministic=True) == GRAPH


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


def test_buf_curl_is_told_the_reason_of_an_error(server: Server) -> None:
    answers, said = curl(server, "backsweep.v1.BacksweepService/Compute", {"graph": {"sha256": "AAAA", "sizeBytes": "1"}})
    assert not answers
    told = json.loads(said)
    assert told["code"] == "invalid_argument"
    (detail,) = told["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    assert b"MALFORMED" in base64.b64decode(detail["value"] + "==")
