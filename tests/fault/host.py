"""python -m fault.host ADDRESS_PORT: a Ray of several nodes on loopback, each with processes of its own, run by lines on standard input.

`add CPUS` adds a node (the first is the head) and answers with its processes, `state` with what Ray holds, both as JSON. The environment
(token, loopback, where it writes) is the starter's to set, before Ray is imported. The starter also ends it, by its session; when the
starter is gone, and the lines end, it ends itself with all nodes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ray.cluster_utils import Cluster

from backsweep_engine.execute.cluster import session

STORE_BYTES = 256 << 20


def main(port: int) -> None:
    cluster = Cluster(shutdown_at_exit=False)
    for line in sys.stdin:
        match line.split():
            case ["add", cpus]:
                head = {} if cluster.head_node else {"gcs_server_port": port, "include_dashboard": False}
                node = cluster.add_node(num_cpus=int(cpus), object_store_memory=STORE_BYTES, node_ip_address="127.0.0.1", **head)
                _say({name: [one.process.pid for one in processes] for name, processes in node.all_processes.items()} | {"address": cluster.address})
            case ["state"]:
                _say(_state(cluster))
    session.kill(os.getpid(), spare=os.getpid())


def _state(cluster: Any) -> dict[str, Any]:
    """CPUs and bytes of the object store that are taken, over all living nodes, and jobs that still run."""
    state = cluster.global_state
    total, free = state.cluster_resources(), state.available_resources()
    used = {name: total.get(name, 0.0) - free.get(name, 0.0) for name in ("CPU", "object_store_memory")}
    return {**used, "jobs": sum(not job["IsDead"] for job in state.job_table())}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
