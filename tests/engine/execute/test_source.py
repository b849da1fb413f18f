"""Generated source: only numbers and names of its own in it, and each line known to be of its node."""

from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Fault
from backsweep_engine.execute import source as source_module
from backsweep_engine.execute.program import Program
from backsweep_engine.execute.source import Place, Source, place_in
from backsweep_engine.graph import Graph, Node, Ref
from backsweep_engine.plan.regions import TILE
from support.graphs import F64, build, scan


@pytest.mark.parametrize("text", ["x = 'a'", 'x = "a"', "x = 1\n", "x = 1; y = 2", "x = `y`", "x # y", "x\\", "x = \u00e9", "@x", "x = {y}"])
def test_no_string_can_be_written(text: str) -> None:
    with pytest.raises(Fault):
        Source().line(0, text)


def test_no_name_of_a_graph_comes_into_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs and outputs are called what would run if it were ever written down."""
    lines: list[str] = []
    write = Source.line

    def noted(self: Source, depth: int, text: str, place: Place | None = None) -> None:
        lines.append(text)
        write(self, depth, text, place)

    monkeypatch.setattr(source_module.Source, "line", noted)

    def renamed(graph: Graph) -> Graph:
        nodes = tuple([node._replace(attributes=(("name", f"evil{i}"),)) if node.op == "input" else node for i, node in enumerate(graph.nodes)])
        return Graph(nodes, graph.arity, graph.outputs, tuple([f"evil{k}" for k in range(len(graph.outputs))]))

    def loop(x: Any) -> Any:
        return scan(lambda c: (np.sin(c) * 2, c), [x], length=3)

    for f, type in ((loop, F64[()]), (lambda x: np.exp(x) + 1, F64[2 * TILE]), (lambda x: np.cumsum(x) * 2, F64[5])):
        program = Program(renamed(build(f, x=type)))
        for _ in range(2):
            program.run([np.ones(type.shape)])
    assert len(lines) > 20 and not any("evil" in line for line in lines)


def test_the_place_of_an_error_is_the_line_it_passed() -> None:
    source = Source()
    source.line(0, "def make():")
    source.line(1, "x = 1")
    source.line(1, f"{source.give(np.linalg.inv)}(x)", Place(7, "inverse"))
    with pytest.raises(np.linalg.LinAlgError) as caught:
        source.compiled()()
    assert place_in(caught.value.__traceback__) == Place(7, "inverse")


def test_a_node_inside_a_loop_is_told_as_the_loop() -> None:
    broken = Graph((Node("input", (), (("name", "x"),), (F64[20],), 0), Node("cumsum", (Ref(0),), (("axis", 3),), (F64[20],), 1)), 1, (Ref(1),), ("",))
    graph = build(lambda x: scan(lambda c: np.cumsum(c), [x], length=3)[0], x=F64[20])
    nodes = tuple([n._replace(attributes=tuple((k, broken if k == "body" else v) for k, v in n.attributes)) if n.op == "scan" else n for n in graph.nodes])
    with pytest.raises(Fault) as caught:
        Program(Graph(nodes, graph.arity, graph.outputs, graph.output_names)).run([np.ones(20)])
    assert caught.value.op == "scan"
