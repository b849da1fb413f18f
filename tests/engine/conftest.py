"""Golden texts: what was printed when someone last looked. BACKSWEEP_GOLDEN=1 writes them anew, to be read in the diff."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], str]:
    """golden(name, text): the committed text of that name."""

    def read(name: str, text: str) -> str:
        path = GOLDEN / name
        if os.environ.get("BACKSWEEP_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        return path.read_text(encoding="utf-8")

    return read
