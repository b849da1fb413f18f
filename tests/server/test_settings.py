"""Settings come from the environment; a wrong one is a line that helps."""

import re
from dataclasses import fields

import pytest

from backsweep_server.settings import SettingError, Settings, from_environment


def test_nothing_set_is_the_defaults_on_loopback() -> None:
    settings = from_environment({})
    assert settings == Settings()
    assert settings.on_loopback
    assert from_environment({"BACKSWEEP_LANES": "", "LANES": "7", "BACKSWEEP_UNKNOWN": "x"}) == Settings()


@pytest.mark.parametrize(
    "variable, text, value",
    [
        ("BACKSWEEP_LISTEN", "0.0.0.0:50051", "0.0.0.0:50051"),
        ("BACKSWEEP_LISTEN", "[::1]:0", "[::1]:0"),
        ("BACKSWEEP_EXECUTOR", "Cluster", "cluster"),
        ("BACKSWEEP_LANES", " 3 ", 3),
        ("BACKSWEEP_MEMORY_BYTES", "1073741824", 1 << 30),
        ("BACKSWEEP_MAX_SECONDS", "0.5", 0.5),
        ("BACKSWEEP_LOG_LEVEL", "warning", "warning"),
        ("BACKSWEEP_CLUSTER_ADDRESS", "head:6379", "head:6379"),
        ("BACKSWEEP_CLUSTER_ADDRESS", "auto", "auto"),
        ("BACKSWEEP_EXECUTOR", "auto", "auto"),
        ("BACKSWEEP_WITHOUT_CLUSTER", "local", "local"),
        ("BACKSWEEP_LANE_CPUS", "0.5", 0.5),
    ],
)
def test_a_variable_sets_its_field(variable: str, text: str, value: object) -> None:
    settings = from_environment({variable: text})
    assert getattr(settings, variable.removeprefix("BACKSWEEP_").lower()) == value


@pytest.mark.parametrize(
    "variable, text, allowed",
    [
        ("BACKSWEEP_LISTEN", "50051", "HOST:PORT"),
        ("BACKSWEEP_LISTEN", "localhost:http", "HOST:PORT"),
        ("BACKSWEEP_LISTEN", "::1:50051", "[::1]:0"),
        ("BACKSWEEP_LISTEN", "host:65536", "HOST:PORT"),
        ("BACKSWEEP_EXECUTOR", "ray", "local or cluster"),
        ("BACKSWEEP_CLUSTER_ADDRESS", "ray://head:10001/", "HOST:PORT"),
        ("BACKSWEEP_WITHOUT_CLUSTER", "wait", "local or refuse"),
        ("BACKSWEEP_LANES", "0", "a whole number from 1 to 4096"),
        ("BACKSWEEP_LANES", "2.5", "a whole number"),
        ("BACKSWEEP_MEMORY_BYTES", "4GiB", "a whole number from 1048576 to"),
        ("BACKSWEEP_MAX_SECONDS", "nan", "a number from 0.1 to 1000000000"),
        ("BACKSWEEP_LEASE_SECONDS", "10", "a number from 600 to"),
        ("BACKSWEEP_NOTICE_SECONDS", "30", "at most BACKSWEEP_DRAIN_SECONDS, 20"),
    ],
)
def test_a_wrong_value_names_the_variable_what_was_got_and_what_is_allowed(variable: str, text: str, allowed: str) -> None:
    with pytest.raises(SettingError) as refused:
        from_environment({variable: text})
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{variable}: got ")
    assert text in line
    assert allowed in line


def test_every_number_has_a_range_and_a_unit() -> None:
    for field in fields(Settings):
        if isinstance(field.default, (int, float)):
            assert re.search(r"(_bytes|_seconds|_threads|_cpus)$|^max_|^lanes$", field.name), field.name
            with pytest.raises(SettingError):
                from_environment({f"BACKSWEEP_{field.name.upper()}": "-1"})
