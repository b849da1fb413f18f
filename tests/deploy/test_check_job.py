"""The indexed check Job, read as Kubernetes and as the command line would read it, without a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from backsweep.job.options import options

KUSTOMIZE = Path(__file__).parents[2] / "deploy" / "kustomize"
CHECK = KUSTOMIZE / "check"
KUBERNETES = ("1.30", "1.34", "1.37")
RESOURCES = [yaml.safe_load((CHECK / name).read_text()) for name in yaml.safe_load((CHECK / "kustomization.yaml").read_text())["resources"]]


def job() -> dict[str, Any]:
    (found,) = [one for one in RESOURCES if one["kind"] == "Job"]
    return dict(found["spec"])


def asked(shard: int) -> argparse.Namespace:
    """What the container of a shard asks for, with the variable Kubernetes fills in."""
    (container,) = job()["template"]["spec"]["containers"]
    (variable,) = container["env"]
    words = [word.replace(f"$({variable['name']})", str(shard)) for word in (*container["command"], *container["args"])]
    assert words[:2] == ["backsweep", "check"] and not [word for word in words if "$" in word]
    parser = argparse.ArgumentParser()
    options(parser)
    return parser.parse_args(words[2:])


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource["kind"])
def test_each_resource_is_valid_kubernetes(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_shards_are_as_many_as_the_job_has_indices_and_share_one_state() -> None:
    shards = [asked(n) for n in range(job()["completions"])]
    assert [s.shard for s in shards] == [(n, job()["completions"]) for n in range(job()["completions"])]
    assert len({s.state for s in shards}) == 1 and len({s.out for s in shards}) == job()["completions"]


def test_a_finding_is_not_tried_again_and_what_could_not_run_is() -> None:
    (codes,) = [rule["onExitCodes"]["values"] for rule in job()["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert codes == [1, 2], "wrong, cannot tell: results.exit_status"
    assert job()["template"]["spec"]["restartPolicy"] == "Never" and job()["backoffLimitPerIndex"] > 0


def test_the_pod_may_reach_the_service_of_the_base() -> None:
    policy = yaml.safe_load((KUSTOMIZE / "base" / "network-policy.yaml").read_text())
    (wanted,) = [source["podSelector"]["matchLabels"] for rule in policy["spec"]["ingress"] for source in rule["from"]]
    assert wanted.items() <= job()["template"]["metadata"]["labels"].items()
    service = yaml.safe_load((KUSTOMIZE / "base" / "service.yaml").read_text())
    assert asked(0).connect == f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
