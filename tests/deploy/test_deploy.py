"""The image and the one-pod base, read as Kubernetes would read them, without a cluster."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kustomize" / "base"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
KUBERNETES = ("1.30", "1.34", "1.37")  # the oldest still in long support, one between, the newest known
SIZES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

Resource = dict[str, Any]


def rendered() -> list[Resource]:
    """The base: its files as they are. Anything kustomize would transform needs kubectl and is refused here."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert set(kustomization) == {"apiVersion", "kind", "resources"}, "the base lists resources and transforms nothing"
    return [one for name in kustomization["resources"] for one in yaml.safe_load_all((BASE / name).read_text())]


RESOURCES = rendered()


def the(kind: str) -> Resource:
    (found,) = [one for one in RESOURCES if one["kind"] == kind]
    return found


def pod() -> Resource:
    return dict(the("Deployment")["spec"]["template"]["spec"])


def container() -> Resource:
    (only,) = pod()["containers"]
    return dict(only)


def size_bytes(quantity: str) -> int:
    return int(quantity[:-2]) * SIZES[quantity[-2:]]


def test_every_file_of_the_base_is_listed() -> None:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(file.name for file in BASE.glob("*.yaml") if file.name != "kustomization.yaml")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed; the files are read directly instead")
def test_kubectl_renders_what_the_other_tests_read() -> None:
    run = subprocess.run(["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(run.stdout)}
    assert by_name == {(one["kind"], one["metadata"]["name"]): one for one in RESOURCES}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource["kind"])
def test_each_resource_is_valid_kubernetes(resource: Resource, version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_validator_refuses_a_misspelt_field() -> None:
    wrong = {**the("Service"), "spec": {**the("Service")["spec"], "selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_the_settings_the_pod_reads_exist() -> None:
    assert container()["envFrom"] == [{"configMapRef": {"name": the("ConfigMap")["metadata"]["name"]}}]


def test_every_setting_is_one_the_server_knows() -> None:
    source = (ROOT / "server" / "backsweep_server" / "settings.py").read_text()
    for name in the("ConfigMap")["data"]:
        spelled = (name, name.removeprefix("BACKSWEEP_"), name.removeprefix("BACKSWEEP_").lower())
        assert any(re.search(rf"\b{word}\b", source) for word in spelled), f"settings.py does not know {name}"


def test_selectors_find_the_pod() -> None:
    labels = the("Deployment")["spec"]["template"]["metadata"]["labels"]
    policy = the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    for selector in (the("Deployment")["spec"]["selector"]["matchLabels"], the("Service")["spec"]["selector"], policy):
        assert selector
        assert selector.items() <= labels.items()


def test_one_port_from_the_listener_to_the_service() -> None:
    (port,) = container()["ports"]
    assert the("ConfigMap")["data"]["BACKSWEEP_LISTEN"] == f"0.0.0.0:{port['containerPort']}"
    assert [one["targetPort"] for one in the("Service")["spec"]["ports"]] == [port["name"]]
    assert the("NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE.read_text()


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_the_port_the_server_listens_on(probe: str) -> None:
    assert container()[probe]["grpc"] == {"port": container()["ports"][0]["containerPort"]}


def test_the_pod_is_not_root_and_writes_only_to_tmp() -> None:
    identity, cage = pod()["securityContext"], container()["securityContext"]
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE.read_text(), re.MULTILINE)[-1]
    assert identity["runAsNonRoot"] is True
    assert (str(identity["runAsUser"]), str(identity["runAsGroup"])) == user
    assert int(user[0]) > 0
    assert cage == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    (mount,) = container()["volumeMounts"]
    assert mount["mountPath"] == "/tmp"
    assert [volume["name"] for volume in pod()["volumes"] if "emptyDir" in volume] == [mount["name"]]


def test_the_budgets_fit_the_container() -> None:
    settings = the("ConfigMap")["data"]
    assert int(settings["BACKSWEEP_MEMORY_BYTES"]) + int(settings["BACKSWEEP_STORE_BYTES"]) < size_bytes(container()["resources"]["limits"]["memory"])


def test_calls_can_finish_before_the_pod_is_killed() -> None:
    assert int(the("ConfigMap")["data"]["BACKSWEEP_DRAIN_SECONDS"]) < pod()["terminationGracePeriodSeconds"]


def test_the_image_is_this_version_on_a_pinned_python() -> None:
    version = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    assert container()["image"] == f"backsweep:{version}"
    bases = {base.split()[0] for base in re.findall(r"^FROM (.+)$", DOCKERFILE.read_text(), re.MULTILINE)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())


def test_the_image_is_built_from_files_that_are_sent() -> None:
    """.dockerignore leaves everything out but what it names."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE) for name in line.split()}
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_the_dockerfile_passes_hadolint() -> None:
    run = subprocess.run([Path(sys.executable).with_name("hadolint"), "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
