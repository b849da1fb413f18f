"""The committed code in client/backsweep/v1 is that of proto/, and proto/ passes buf's lint.

The first comparison needs no generator: it holds the descriptors inside the committed modules
against those that buf compiles from proto/. The last one generates again and compares bytes; it
needs grpcio-tools, which lives in a venv of its own: `make test` makes it and names its Python in
BACKSWEEP_PROTO_PYTHON. A pytest by hand takes .venv-proto if it is there, and else skips.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
COMMITTED = ROOT / "client" / "backsweep" / "v1"
FILES = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))


def buf(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the buf of this environment (the buf-bin wheel puts it beside python)."""
    return subprocess.run([Path(sys.executable).with_name("buf"), *arguments], cwd=PROTO, capture_output=True, timeout=60, check=False)


def drop_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    """buf writes json_name where protoc's Python code leaves it out."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        drop_json_names(nested)


def pieces(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Each message, enum and service of a file by kind and name, then what is left of the file."""
    file.ClearField("source_code_info")
    for message in file.message_type:
        drop_json_names(message)
    for kind in ("message_type", "enum_type", "service"):
        for piece in getattr(file, kind):
            yield f"{kind} {piece.name}", str(piece)
        file.ClearField(kind)
    yield "file", str(file)


@pytest.fixture(scope="module")
def compiled() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    done = buf("build", "-o", "-", "--as-file-descriptor-set")
    assert done.returncode == 0, done.stderr.decode()
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(done.stdout).file}


@pytest.mark.parametrize("name", FILES)
def test_the_committed_code_describes_the_same_messages_as_the_proto(name: str, compiled: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    held = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    committed, wanted = dict(pieces(held)), dict(pieces(compiled[name]))
    stale = [piece for piece in sorted(committed | wanted) if committed.get(piece) != wanted.get(piece)]
    assert not stale, f"run `make proto`: {name} and its generated code differ in {', '.join(stale)}"


def test_every_committed_module_has_its_proto() -> None:
    kinds = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    wanted = {Path(name).stem + kind for name in FILES for kind in kinds}
    assert {path.name for path in COMMITTED.glob("*_pb2*.py*")} == wanted


def test_the_proto_passes_the_lint_of_buf() -> None:
    done = buf("lint")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_the_proto_is_formatted_as_buf_formats_it() -> None:
    done = buf("format", "--diff", "--exit-code")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def generator() -> str | None:
    """A Python that has grpcio-tools."""
    if named := os.environ.get("BACKSWEEP_PROTO_PYTHON"):
        return named
    if (python := ROOT / ".venv-proto" / "bin" / "python").exists():
        return str(python)
    return sys.executable if importlib.util.find_spec("grpc_tools") else None


def test_generating_again_gives_the_committed_bytes(tmp_path: Path) -> None:
    if (python := generator()) is None:
        pytest.skip("no grpcio-tools here: `make venv-proto` installs it in .venv-proto")
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [python, "-m", "grpc_tools.protoc", "-I.", *outputs, *FILES]
    done = subprocess.run(command, cwd=PROTO, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "backsweep" / "v1").iterdir()}
    committed = {path.name: path.read_bytes() for path in COMMITTED.glob("*_pb2*.py*")}
    stale = [name for name in sorted(committed | fresh) if committed.get(name) != fresh.get(name)]
    assert not stale, f"run `make proto`: {', '.join(stale)}"
