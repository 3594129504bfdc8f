"""What the gateway is deployed with: manifests, container image, locks, scripts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.config import Settings

ROOT = Path(__file__).parent.parent
K8S = ROOT / "k8s"
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((K8S / "kustomization.yaml").read_text())
CONFIGURATION = K8S / "gateway.yaml"
NOT_RESOURCES = {"kustomization.yaml", CONFIGURATION.name}


def _manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(K8S.glob("*.yaml")):
        if path.name not in NOT_RESOURCES:
            for one in yaml.safe_load_all(path.read_text()):
                yield f"{one['kind']}/{one['metadata']['name']}", one


MANIFESTS = dict(_manifests())
DEPLOYMENTS = {name: one for name, one in MANIFESTS.items() if one["kind"] == "Deployment"}
GATEWAY = MANIFESTS["Deployment/gateway"]


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def _container(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = _pod(deployment)["containers"]
    found: dict[str, Any] = container
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_misspelt_field_is_noticed() -> None:
    broken = {**MANIFESTS["Service/gateway"], "spec": {"portz": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_kustomization_names_every_manifest_once() -> None:
    files = {path.name for path in K8S.glob("*.yaml")} - NOT_RESOURCES
    assert sorted(KUSTOMIZATION["resources"]) == sorted(files)
    assert len(MANIFESTS) == len(list(_manifests()))


def test_configuration_in_the_cluster_is_accepted() -> None:
    settings = Settings.model_validate(yaml.safe_load(CONFIGURATION.read_text()))
    ports = {port["name"]: port["containerPort"] for port in _container(GATEWAY)["ports"]}
    assert settings.server.host == "0.0.0.0"  # noqa: S104 - a pod has only its own address
    assert settings.auth.mode == "required"
    assert ports["http"] == settings.server.port
    assert settings.server.shutdown_seconds < _pod(GATEWAY)["terminationGracePeriodSeconds"] - 5


def test_configuration_is_mounted_where_the_gateway_reads_it() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert generated["files"] == [CONFIGURATION.name]
    volumes = {volume["name"]: volume for volume in _pod(GATEWAY)["volumes"]}
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    (mount,) = (m for m in _container(GATEWAY)["volumeMounts"] if m["name"] == "config")
    assert _container(GATEWAY)["args"][-1] == f"{mount['mountPath']}/{CONFIGURATION.name}"


def test_every_variable_of_the_configuration_comes_from_the_secret() -> None:
    wanted = set(re.findall(r"\$\{(\w+)\}", re.sub(r"#.*", "", CONFIGURATION.read_text())))
    given = {
        env["name"]: env["valueFrom"]["secretKeyRef"]["key"] for env in _container(GATEWAY)["env"]
    }
    assert wanted == set(given)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pods_have_no_rights_they_do_not_need(name: str) -> None:
    pod, container = _pod(DEPLOYMENTS[name]), _container(DEPLOYMENTS[name])
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert container["livenessProbe"]
    assert container["readinessProbe"]


def test_probes_ask_the_health_pages() -> None:
    container = _container(GATEWAY)
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_selectors_find_the_pods(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    own = deployment["metadata"]["name"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS[f"Service/{own}"]["spec"]["selector"] == labels
    policy = MANIFESTS[f"NetworkPolicy/{own}"]["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_two_replicas_survive_a_drained_node() -> None:
    scaled = MANIFESTS["HorizontalPodAutoscaler/gateway"]["spec"]
    budget = MANIFESTS["PodDisruptionBudget/gateway"]["spec"]
    assert GATEWAY["spec"]["replicas"] == scaled["minReplicas"] == 2
    assert scaled["scaleTargetRef"]["name"] == GATEWAY["metadata"]["name"]
    assert budget["selector"] == GATEWAY["spec"]["selector"]
    assert budget["maxUnavailable"] == 1


def _dockerfile() -> list[tuple[str, str]]:
    """The instructions, as (word, rest), with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def _stages() -> list[list[tuple[str, str]]]:
    stages: list[list[tuple[str, str]]] = []
    for word, rest in _dockerfile():
        if word == "FROM":
            stages.append([])
        elif stages:
            stages[-1].append((word, rest))
    return stages


def test_image_is_built_in_two_stages_and_runs_without_root() -> None:
    builder, final = _stages()
    assert [rest for word, rest in final if word == "USER"] == ["10001:10001"]
    assert _pod(GATEWAY)["securityContext"]["runAsUser"] == 10001
    assert all("--from=builder" in rest for word, rest in final if word == "COPY")
    assert any("--require-hashes" in rest for word, rest in builder if word == "RUN")
    assert {"HEALTHCHECK", "EXPOSE", "ENTRYPOINT", "CMD"} <= {word for word, _ in final}


def test_image_copies_what_exists_and_is_not_ignored() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [
        source for word, rest in _stages()[0] if word == "COPY" for source in shlex.split(rest)[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in kept


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _bare(requirement: str) -> str:
    """The normalised name of the package that a line asks for."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize(
    ("lock", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("dev",))]
)
def test_lock_names_every_dependency(lock: str, extras: tuple[str, ...]) -> None:
    project = _project()
    wanted = project["dependencies"] + [
        line for extra in extras for line in project["optional-dependencies"][extra]
    ]
    pinned = re.findall(r"^(\S+)==", (ROOT / lock).read_text(), re.MULTILINE)
    assert {_bare(line) for line in wanted} <= {_bare(name) for name in pinned}


def test_locks_agree_and_every_pin_has_a_hash() -> None:
    runtime, dev = (
        set(re.findall(r"^\S+==[^\\]+ \\$", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    )
    assert runtime
    assert runtime <= dev
    for block in re.split(r"^(?=\S+==)", (ROOT / "requirements-dev.lock").read_text(), flags=re.M):
        assert "--hash=sha256:" in block or not block.strip()


@pytest.mark.parametrize(
    "script", [".ci/run", "scripts/venv", "scripts/system-packages", "scripts/browser-clients"]
)
def test_script_can_be_run(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert "set -eu" in path.read_text()
    subprocess.run(["/bin/sh", "-n", path], check=True)  # noqa: S603 - a script of ours
