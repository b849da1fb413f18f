"""Ten public programs: as they stand each is answered or told what to write; with that written, its derivative is the independent one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backsweep as bs
from support.ports import PORTS, Port

SERVICE = bs.local()


def submitted(port: Port, f: Any) -> bs.Function:
    point, data = port.make()
    return SERVICE.submit(f, **{k: bs.float64[np.shape(x)] for k, x in point.items()}, **data)


def assert_near(got: Any, wanted: Any, tolerance: float) -> None:
    wanted = np.asarray(wanted)
    assert np.shape(got) == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.max(np.abs(wanted)))


@pytest.mark.parametrize("name", PORTS)
def test_a_program_as_it_stands_is_answered_or_told_what_to_write(name: str) -> None:
    port = PORTS[name]
    if not port.met:
        submitted(port, port.published)
        return
    with pytest.raises(bs.GraphError) as caught:
        submitted(port, port.published)
    assert port.met in caught.value.hint
    assert caught.value.source.partition(":")[0] in ("mechanics.py", "inference.py", "learning.py")


@pytest.mark.parametrize("name", PORTS)
def test_the_port_is_the_program(name: str) -> None:
    port = PORTS[name]
    point, data = port.make()
    wanted = port.published(**point, **data)
    assert_near(port.ported(**point, **data), wanted, port.close)
    assert_near(submitted(port, port.ported)(*point.values()), wanted, port.close)


@pytest.mark.parametrize("name", PORTS)
def test_its_derivative_is_the_independent_one_and_checks(name: str) -> None:
    port = PORTS[name]
    point, data = port.make()
    f = submitted(port, port.ported)
    scalar = np.ndim(port.ported(**point, **data)) == 0
    found = f.gradient(*point.values()) if scalar else f.jacobian(*point.values())
    for got, (key, wanted) in zip(found if len(point) > 1 else (found,), port.slope(**point, **data).items(), strict=True):
        assert_near(got, wanted, port.tolerance), key
    f.check(*point.values()).raise_if_wrong()


def test_there_are_ten_of_them_and_each_names_its_source() -> None:
    assert len(PORTS) == 10
    assert all(port.source and port.changed for port in PORTS.values())
