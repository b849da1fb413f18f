"""Programs from public documentation, textbooks and tutorials, ported: what each met, and what had to be changed."""

from __future__ import annotations

from . import inference, learning, mechanics
from .port import Port

PORTS: dict[str, Port] = {port.name: port for family in (inference, learning, mechanics) for port in family.PORTS}
