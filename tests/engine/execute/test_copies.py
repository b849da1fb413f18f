"""What lanes fetch, on a real Ray in a process of its own: an object for every node, freed after; and a lane that waits for it still answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from backsweep_engine.execute.cluster.child import environment_of

pytestmark = pytest.mark.cluster

SECONDS = 90.0
SCRIPT = """
import json, sys, time
import numpy as np, ray
from backsweep_engine.execute.cluster import joining
from backsweep_engine.execute.cluster.copies import Copies
from backsweep_engine.execute.cluster.lane import Place, lane_class
from backsweep_engine.execute.cluster.messages import Resources, Settings
from support.waiting import wait_until

joining.begin(Settings(1, 200 << 20, None, Resources(1.0, 0), sys.argv[1], 60, 60, 0))
told = {}

def held():
    return ray.cluster_resources()["object_store_memory"] - ray.available_resources().get("object_store_memory", 0.0)

before = held()
array = np.random.default_rng(0).normal(size=1 << 20)
copies = Copies((array,))
a, b = copies.at("a"), copies.at("b")
told["a node has one object"] = copies.at("a") == a and copies.at("b") == b
told["two nodes have two"] = a != b
told["the same bits"] = all(ray.get(one)[0].tobytes() == array.tobytes() for one in (a, b))
copies.forget("b")
c = copies.at("b")
told["a node that is forgotten gets another"] = c not in (a, b)
told["objects are held meanwhile"] = wait_until(lambda: held() - before >= 2 * array.nbytes, 15)
del copies, a, b, c
told["and none after"] = wait_until(lambda: held() <= before, 15)

lane = lane_class(Resources(1.0, 0)).remote()
ray.get(lane.place.remote())

@ray.remote(num_cpus=0)
class Late:
    def give(self):
        time.sleep(40)
        return ()

late = Late.remote().give.remote()
lane.compute.remote(0, "k", [ray.put(None)], (), 0, 1, (), [late])
answered, _ = ray.wait([lane.place.remote()], timeout=20)
told["a lane answers while it waits for inputs"] = bool(answered) and not ray.wait([late], timeout=0)[0] and isinstance(ray.get(answered[0]), Place)
print(json.dumps(told))
ray.shutdown()
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bswc-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # short: Ray puts sockets inside
        environment = environment_of({**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}, own=True)
        run = subprocess.run([sys.executable, "-P", "-c", SCRIPT, folder], capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize(
    "fact",
    [
        "a node has one object",
        "two nodes have two",
        "the same bits",
        "a node that is forgotten gets another",
        "objects are held meanwhile",
        "and none after",
        "a lane answers while it waits for inputs",
    ],
)
def test_each_node_fetches_its_own_objects_and_a_lane_that_waits_for_them_answers(told: dict[str, Any], fact: str) -> None:
    assert told[fact], told
