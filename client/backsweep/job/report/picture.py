"""A part of a graph as inline SVG: operands above their users, the nodes at issue marked by frame, weight and word.

Layers are longest paths among the nodes shown; within one, nodes stand below the mean of their operands. A stub says
that operands or users are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..scene import Scene, Shown
from .markup import Markup, tag

_BOX_WIDTH, _BOX_HEIGHT, _GAP, _RISE = 132.0, 40.0, 16.0, 34.0
_MARGIN = 14.0
_MAX_LABEL = 19
"""Characters that fit in a box."""


def picture(scene: Scene) -> Markup:
    """The figure; it scrolls sideways where the page is narrower."""
    place, width, height = _places(scene.nodes)
    by_number = {node.number: node for node in scene.nodes}
    drawn = [_edge(place[operand], place[node.number]) for node in scene.nodes for operand in node.operands]
    for node in scene.nodes:
        drawn += _box(node, *place[node.number])
    marked = [f"node {node.number} ({node.label}): {node.mark}" for node in scene.nodes if node.mark]
    whole, part = f"{scene.holder or 'The graph'}, {scene.total} nodes", f"{len(by_number)} of the graph's {scene.total} nodes"
    whole = whole if len(by_number) == scene.total else f"{scene.holder}: {part}" if scene.holder else part
    caption = whole + (f"; marked: {', '.join(marked)}" if marked else "")
    svg = tag("svg", tag("title", caption), *drawn, viewBox=f"0 0 {width:.0f} {height:.0f}", width=f"{width:.0f}", height=f"{height:.0f}", role="img")
    return tag("figure", tag("figcaption", caption), tag("div", svg, class_="scroll", tabindex="0", role="region", aria_label=caption), class_="graph")


def _places(nodes: Sequence[Shown]) -> tuple[dict[int, tuple[float, float]], float, float]:
    """Left upper corners by node number, and the size of it all. Nodes come after their operands."""
    layer: dict[int, int] = {}
    for node in nodes:
        layer[node.number] = 1 + max((layer[operand] for operand in node.operands), default=-1)
    # An input stands just above its first user, not at the top of everything.
    for node in reversed(nodes):
        users = [layer[other.number] for other in nodes if node.number in other.operands]
        if not node.operands and users:
            layer[node.number] = max(0, min(users) - 1)
    rows: dict[int, list[Shown]] = {}
    for node in nodes:
        rows.setdefault(layer[node.number], []).append(node)
    order: dict[int, float] = {}
    for level in sorted(rows):
        rows[level].sort(key=lambda n: sum(order[o] for o in n.operands) / len(n.operands) if n.operands else n.number)
        order.update({node.number: k - (len(rows[level]) - 1) / 2 for k, node in enumerate(rows[level])})
    widest = max(len(row) for row in rows.values())
    width = 2 * _MARGIN + widest * _BOX_WIDTH + (widest - 1) * _GAP
    level_of = {level: k for k, level in enumerate(sorted(rows))}
    height = 2 * _MARGIN + len(rows) * _BOX_HEIGHT + (len(rows) - 1) * _RISE
    centre = width / 2 - _BOX_WIDTH / 2
    place = {n: (centre + at * (_BOX_WIDTH + _GAP), _MARGIN + level_of[layer[n]] * (_BOX_HEIGHT + _RISE)) for n, at in order.items()}
    return place, width, height


def _edge(above: tuple[float, float], below: tuple[float, float]) -> Markup:
    x1, y1 = above[0] + _BOX_WIDTH / 2, above[1] + _BOX_HEIGHT
    x2, y2 = below[0] + _BOX_WIDTH / 2, below[1]
    middle = (y1 + y2) / 2
    return tag("path", d=f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}", class_="edge")


def _box(node: Shown, x: float, y: float) -> list[Markup]:
    kind = "node" if not node.mark else "node holds" if node.holds else "node marked"
    centre = f"{x + _BOX_WIDTH / 2:.1f}"
    first = f"{node.number} {node.label}"
    second = node.type if not node.mark else node.mark if node.holds else f"{node.mark}!"
    drawn = []
    for hidden, y1, y2 in ((node.hidden_operands, y - 9, y), (node.hidden_users, y + _BOX_HEIGHT, y + _BOX_HEIGHT + 9)):
        if hidden:
            drawn.append(tag("line", x1=centre, x2=centre, y1=f"{y1:.1f}", y2=f"{y2:.1f}", class_="edge stub"))
    tip = tag("title", f"node {node.number}: {node.label}, {node.type}" + (f", {node.mark}" if node.mark else ""))
    box = tag("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{_BOX_WIDTH:g}", height=f"{_BOX_HEIGHT:g}", rx="5", class_=kind)
    words = [
        tag("text", _cut(first), x=centre, y=f"{y + 16:.1f}", text_anchor="middle", class_=f"{kind} name"),
        tag("text", _cut(second), x=centre, y=f"{y + 31:.1f}", text_anchor="middle", class_=f"{kind} type"),
    ]
    return [*drawn, tag("g", tip, box, *words)]


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"
