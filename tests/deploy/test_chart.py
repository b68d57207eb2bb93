"""The Helm chart: what it renders is what Kubernetes takes, and what the worker knows."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fewnerd_stream.settings import Settings, load_settings
from tests.deploy.schemas import KUBERNETES, write_schemas
from tests.support.commands import parse
from tests.support.gotools import GoUnavailable, program

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/fewnerd-stream"
VALUES = sorted(Path(__file__).with_name("values").glob("*.yaml"))
HELM = ("helm.sh/helm/v3/cmd/helm", "v3.19.0")
KUBECONFORM = ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.7.0")

Objects = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def helm(require: Callable[[str], None]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Helm."""
    try:
        path = program(*HELM)
    except GoUnavailable as error:
        require(str(error))
        raise

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([path, *arguments], capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def conforms(
    require: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], None]:
    """Hold manifests against the schemas."""
    try:
        path = program(*KUBECONFORM)
        location = write_schemas(tmp_path_factory.mktemp("schemas"))
    except GoUnavailable as error:
        require(str(error))
        raise

    def check(manifests: str) -> None:
        arguments = [str(path), "-strict", "-schema-location", location, "-output", "text", "-"]
        done = subprocess.run(arguments, input=manifests, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return check


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Render the chart with values files and further values; raises what Helm says."""

    def run(*files: Path, **values: object) -> str:
        arguments = ["template", "news", str(CHART), "--kube-version", KUBERNETES]
        for file in files:
            arguments += ["--values", str(file)]
        for name, value in values.items():
            arguments += ["--set", f"{name.replace('__', '.')}={value}"]
        done = helm(*arguments)
        if done.returncode != 0:
            raise ValueError(done.stderr)
        return done.stdout

    return run


def objects(manifests: str) -> Objects:
    """Give the objects by their kind."""
    found = [each for each in yaml.safe_load_all(manifests) if each]
    by_kind = {each["kind"]: each for each in found}
    assert len(by_kind) == len(found)
    return by_kind


def container(workload: dict[str, Any]) -> dict[str, Any]:
    """Give a workload's only container."""
    [only] = workload["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def test_helm_finds_nothing_wrong(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """``helm lint``, strictly, with each values file."""
    assert len(VALUES) >= 4
    for file in VALUES:
        done = helm("lint", "--strict", str(CHART), "--values", str(file), "--kube-version", KUBERNETES)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", VALUES, ids=lambda path: path.stem)
def test_kubernetes_takes_it(render: Callable[..., str], conforms: Callable[[str], None], file: Path) -> None:
    """Every object is one that the schemas know, every member too."""
    conforms(render(file))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("terminationGracePeriodSeconds", "terminationGracePeriod"),
        ("maxUnavailable: 1", "maxUnavailable: [1]"),
        ("minReplicaCount: 2", "minReplicaCount: two"),
        ("path: /metrics", "paths: /metrics"),
    ],
)
def test_the_check_would_notice(
    render: Callable[..., str], conforms: Callable[[str], None], right: str, wrong: str
) -> None:
    """A member that does not exist, and a value of another type, in our objects and in those of others."""
    manifests = render(Path(__file__).with_name("values") / "scaled.yaml")
    assert right in manifests
    with pytest.raises(AssertionError):
        conforms(manifests.replace(right, wrong))


@pytest.mark.parametrize("file", VALUES, ids=lambda path: path.stem)
def test_its_variables_are_settings(
    render: Callable[..., str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one that the worker knows, none is there twice, and together they are taken."""
    made = objects(render(file))
    workload = made.get("Deployment") or made["StatefulSet"]
    names = {f"FEWNERD_{name.upper()}" for name in Settings.model_fields}
    for each in (workload, made.get("Job")):
        if each is None:
            continue
        variables = container(each)["env"]
        assert {variable["name"] for variable in variables} <= names
        assert len({variable["name"] for variable in variables}) == len(variables)
        for variable in variables:
            monkeypatch.setenv(variable["name"], variable.get("value", "a-secret-or-a-name"))
        # Files are mounted there only.
        for name in ("SSL_CAFILE", "SSL_CERTFILE", "SSL_KEYFILE"):
            monkeypatch.delenv(f"FEWNERD_{name}", raising=False)
        load_settings()


@pytest.mark.parametrize("file", VALUES, ids=lambda path: path.stem)
def test_its_commands_exist(render: Callable[..., str], file: Path) -> None:
    """The worker's and the job's."""
    made = objects(render(file))
    workload = made.get("Deployment") or made["StatefulSet"]
    assert parse(container(workload)["args"]) == "worker"
    if "Job" in made:
        assert parse(container(made["Job"])["args"]) == "topics create"


@pytest.mark.parametrize("file", VALUES, ids=lambda path: path.stem)
def test_it_may_do_little(render: Callable[..., str], file: Path) -> None:
    """Not root, nothing to write but /tmp, no capability, no token of the cluster's."""
    made = objects(render(file))
    for kind in {"Deployment", "StatefulSet", "Job"} & set(made):
        pod = made[kind]["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        security = container(made[kind])["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        writable = [mount for mount in container(made[kind])["volumeMounts"] if not mount.get("readOnly")]
        assert [mount["mountPath"] for mount in writable] == ["/tmp"]
        assert "limits" in container(made[kind])["resources"]


def test_a_worker_has_time_to_drain(render: Callable[..., str]) -> None:
    """Its drain and ten seconds, whatever the drain is."""
    plain = objects(render())["Deployment"]
    longer = objects(render(Path(__file__).with_name("values") / "named.yaml"))["StatefulSet"]
    for workload, drain in ((plain, load_settings().drain), (longer, 46)):
        assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == drain + 10


def test_probes_ask_where_the_worker_answers(render: Callable[..., str]) -> None:
    """On its port; and the service and what Prometheus selects lead there."""
    made = objects(render(port=9000, serviceMonitor__enabled="true"))
    worker = container(made["Deployment"])
    assert {"name": "FEWNERD_HTTP", "value": "0.0.0.0:9000"} in worker["env"]
    assert worker["ports"] == [{"name": "http", "containerPort": 9000}]
    paths = {name: worker[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/live", "liveness": "/live", "readiness": "/ready"}
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert made["Service"]["spec"]["selector"].items() <= labels.items()
    selected = made["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= made["Service"]["metadata"]["labels"].items()
    [endpoint] = made["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["port"] == made["Service"]["spec"]["ports"][0]["name"]


def test_the_job_is_no_worker(render: Callable[..., str]) -> None:
    """Neither the service nor the disruption budget nor the workload selects its pod."""
    made = objects(render())
    labels = made["Job"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        made["Deployment"]["spec"]["selector"]["matchLabels"],
    ):
        assert not selector.items() <= labels.items()


def test_names_are_for_a_fixed_number(render: Callable[..., str]) -> None:
    """A StatefulSet's workers are named after their pods; a Deployment's have no name."""
    made = objects(render(kind="StatefulSet"))
    named = {v["name"]: v for v in container(made["StatefulSet"])["env"]}["FEWNERD_INSTANCE_ID"]
    assert named["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert made["StatefulSet"]["spec"]["serviceName"] == made["Service"]["metadata"]["name"]
    assert "INSTANCE_ID" not in render()


def test_it_scales_by_the_lag_of_inputs(render: Callable[..., str]) -> None:
    """One trigger for each input topic, never for the group as a whole; as many workers as partitions."""
    made = objects(
        render(autoscaling__enabled="true", settings__input_topics="{one,two}", settings__partitions=3)
    )
    spec = made["ScaledObject"]["spec"]
    assert "replicas" not in made["Deployment"]["spec"]
    assert spec["scaleTargetRef"]["name"] == made["Deployment"]["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 6)
    assert [trigger["metadata"]["topic"] for trigger in spec["triggers"]] == ["one", "two"]
    for trigger in spec["triggers"]:
        known = trigger["metadata"]
        assert known["consumerGroup"] == load_settings().group
        assert known["offsetResetPolicy"] == "earliest"
        assert known["ensureEvenDistributionOfPartitions"] == "true"
        assert all(isinstance(value, str) for value in known.values())
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert {each["stabilizationWindowSeconds"] for each in behavior.values()} == {300}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings__instance_id": "a"}, "instance_id"),
        ({"settings__sasl_password": "hunter2"}, "sasl_password"),
        ({"kind": "StatefulSet", "autoscaling__enabled": "true"}, "autoscaling is for a Deployment"),
        ({"autoscaling__enabled": "true", "autoscaling__maxReplicas": 13}, "the input topics have 12"),
        ({"autoscaling__enabled": "true", "autoscaling__minReplicas": 0}, "minReplicas"),
        ({"replicaCount": 3}, "replicaCount"),
        (
            {"secrets__group__name": "a", "secrets__group__key": "b"},
            "group stands under settings and under secrets",
        ),
    ],
)
def test_what_cannot_be_is_refused(render: Callable[..., str], values: dict[str, object], said: str) -> None:
    """In words, before anything is installed."""
    with pytest.raises(ValueError, match=said):
        render(**values)
