"""The manifests are ones that Kubernetes takes, with settings that the processes take."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from relay.process import signals
from relay.settings import Settings
from service.checking.__main__ import MEMORY_BYTES
from service.settings import from_environment as service_settings
from service.web.bodies.held_bodies import MAX_HELD_BYTES
from service.web.server import server
from tests.deploy.fetched import definitions, fetched
from tests.documents import DOCS, ROOT, code, tables
from tests.relay.operating import SECRET_KEY

HOME = ROOT / "deploy/kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((HOME / "kustomization.yaml").read_text())
MANIFESTS: list[dict[str, Any]] = [
    manifest
    for name in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((HOME / name).read_text())
]
CONFIG = {
    one["name"]: dict(literal.split("=", 1) for literal in one["literals"])
    for one in KUSTOMIZATION["configMapGenerator"]
}
# What a secret holds besides, as docs/deploy.md has it.
SECRETS = {
    "outbox-migrate": {"DATABASE_URL": "postgresql://owner:x@db/shop"},
    "outbox-relay": {
        "DATABASE_URL": "postgresql://relay:x@db/shop",
        "OUTBOX_SECRET_KEY": SECRET_KEY,
        "KAFKA_SASL_PASSWORD": "x",
    },
    "outbox-service": {
        "DATABASE_URL": "postgresql://service:x@db/shop",
        "OUTBOX_SECRET_KEY": SECRET_KEY,
        "WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    },
}
MIB = 2**20
# Between the last that a process does and the kill.
MARGIN_SECONDS = 2
# What the service promises from SIGTERM on.
SERVICE_STOP_SECONDS = 10


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [one for one in MANIFESTS if one["kind"] in kinds]


def named(kind: str, name: str) -> dict[str, Any]:
    [found] = [one for one in of_kind(kind) if one["metadata"]["name"] == name]
    return found


WORKLOADS = of_kind("Deployment", "Job")
PODS = {one["metadata"]["name"]: one["spec"]["template"] for one in WORKLOADS}
CONTAINERS: dict[str, dict[str, Any]] = {
    name: pod["spec"]["containers"][0] for name, pod in PODS.items()
}


def environment(name: str) -> dict[str, str]:
    """What the container has."""
    result: dict[str, str] = {}
    for source in CONTAINERS[name]["envFrom"]:
        if "secretRef" in source:
            result |= SECRETS[source["secretRef"]["name"]]
        else:
            result |= CONFIG[source["configMapRef"]["name"]]
    return result


def selected(selector: dict[str, str]) -> list[str]:
    """The workloads whose pods it selects."""
    return [
        name for name, pod in PODS.items() if selector.items() <= pod["metadata"]["labels"].items()
    ]


def mebibytes(quantity: str) -> int:
    assert quantity.endswith("Mi")
    return int(quantity.removesuffix("Mi"))


def schema(release: str, manifest: dict[str, Any]) -> jsonschema_rs.Validator:
    known = fetched(lambda: definitions(release))
    group, _, version = manifest["apiVersion"].rpartition("/")
    wanted = {"group": group, "version": version, "kind": manifest["kind"]}
    [name] = [
        name
        for name, one in known.items()
        if wanted in one.get("x-kubernetes-group-version-kind", [])
    ]
    return jsonschema_rs.validator_for({"$ref": f"#/$defs/{name}", "$defs": known})


@pytest.mark.parametrize("release", ["1.30", "1.37"])
def test_every_manifest_fits_the_schemas_of_kubernetes(release: str) -> None:
    for manifest in MANIFESTS:
        validator = schema(release, manifest)
        faults = [f"{one.instance_path}: {one.message}" for one in validator.iter_errors(manifest)]
        assert faults == [], manifest["metadata"]["name"]


def test_a_field_that_is_mistyped_would_be_noticed() -> None:
    relay = named("Deployment", "outbox-relay")
    wrong = relay | {"spec": relay["spec"] | {"replica": 3}}
    [fault] = schema("1.37", wrong).iter_errors(wrong)
    assert "'replica'" in fault.message


def test_kustomize_has_every_file_of_the_folder_and_every_image() -> None:
    files = {path.name for path in HOME.iterdir()}
    assert files == {"kustomization.yaml", *KUSTOMIZATION["resources"]}
    images = {container["image"] for container in CONTAINERS.values()}
    assert images == {one["name"] for one in KUSTOMIZATION["images"]}


def test_there_are_two_relays_one_service_and_a_job_and_nothing_twice() -> None:
    assert {(one["kind"], one["metadata"]["name"]) for one in WORKLOADS} == {
        ("Deployment", "outbox-relay"),
        ("Deployment", "outbox-service"),
        ("Job", "outbox-migrate"),
    }
    assert named("Deployment", "outbox-relay")["spec"]["replicas"] == 2
    names = [(one["kind"], one["metadata"]["name"]) for one in MANIFESTS]
    assert len(set(names)) == len(names)
    assert all(len(pod["spec"]["containers"]) == 1 for pod in PODS.values())


def test_each_process_takes_the_settings_that_it_is_given() -> None:
    relay = Settings.from_environment(environment("outbox-relay")).require_kafka()
    service, ignored = service_settings(environment("outbox-service"))
    migrate = Settings.from_environment(environment("outbox-migrate"))
    assert (relay.ignored, ignored, migrate.ignored) == ((), [], ())
    assert (relay.host, service.host) == ("0.0.0.0", "0.0.0.0")
    assert service.hosts != ("*",)


def test_no_setting_that_is_secret_lies_in_a_manifest() -> None:
    text = "".join(path.read_text() for path in HOME.iterdir())
    assert not re.search(r"postgresql://|whsec_|PASSWORD|SECRET_KEY|kind: Secret", text)


def test_the_document_names_every_secret_and_its_keys() -> None:
    [rows] = tables(DOCS / "deploy.md", "Kubernetes")
    documented = {name.strip("`"): set(code(keys)) for name, _, keys in rows}
    assert documented.keys() == SECRETS.keys()
    for name, keys in SECRETS.items():
        assert keys.keys() - {"OUTBOX_SECRET_KEY"} <= documented[name]


def test_commands_are_those_of_the_image() -> None:
    commands = {name: container["args"][0] for name, container in CONTAINERS.items()}
    assert set(commands.values()) == {"outbox-relay", "outbox-service"}
    # With an entry point they would be its arguments.
    assert "ENTRYPOINT" not in (ROOT / "Dockerfile").read_text()


def test_probes_and_prometheus_ask_the_port_on_which_the_process_listens() -> None:
    for name, setting in (("outbox-relay", "RELAY_PORT"), ("outbox-service", "SERVICE_PORT")):
        container, port = CONTAINERS[name], CONFIG[name][setting]
        [declared] = container["ports"]
        assert str(declared["containerPort"]) == port
        for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            assert container[probe]["httpGet"] == {"path": path, "port": declared["name"]}
        annotations = PODS[name]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == port
    [exposed] = named("Service", "outbox-service")["spec"]["ports"]
    assert exposed["targetPort"] == CONTAINERS["outbox-service"]["ports"][0]["name"]


def test_no_container_has_more_rights_than_it_needs() -> None:
    [user] = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name, pod in PODS.items():
        spec = pod["spec"]
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": int(user),
            "runAsGroup": int(user),
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name
        assert CONTAINERS[name]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        shared = {"volumes", "hostNetwork", "hostPID", "hostIPC", "serviceAccountName"}
        assert not shared & spec.keys(), name


def test_a_pod_is_given_the_time_in_which_its_process_stops() -> None:
    relay = PODS["outbox-relay"]["spec"]
    assert relay["terminationGracePeriodSeconds"] >= signals.STOP_SECONDS + MARGIN_SECONDS
    service = PODS["outbox-service"]["spec"]
    command, pause = CONTAINERS["outbox-service"]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert server.GRACEFUL_SHUTDOWN_SECONDS < SERVICE_STOP_SECONDS
    stops_within = int(pause) + SERVICE_STOP_SECONDS + MARGIN_SECONDS
    assert service["terminationGracePeriodSeconds"] >= stops_within


def measured(text: str) -> int:
    """The figure of docs/benchmarks.md in MiB."""
    rows = [row for table in tables(DOCS / "benchmarks.md", "`make bench`") for row in table]
    [figure] = [value for what, value, *_ in rows if what == text]
    return int(figure.removesuffix(" MiB"))


def test_memory_is_given_as_it_was_measured() -> None:
    relay = Settings.from_environment(environment("outbox-relay"))
    peak = max(measured("peak memory of the relay"), measured("their peak memory"))
    given = CONTAINERS["outbox-relay"]["resources"]
    assert peak <= mebibytes(given["requests"]["memory"])
    # And what docs/operations.md says that requests to endpoints, and their runs, may hold.
    held = relay.push_in_flight_bytes // MIB + 15 * relay.push_connections
    assert peak + held <= mebibytes(given["limits"]["memory"])
    given = CONTAINERS["outbox-service"]["resources"]
    assert measured("memory of the service") <= mebibytes(given["requests"]["memory"])
    # And bodies that are read, and the process that checks payloads.
    held = (MAX_HELD_BYTES + MEMORY_BYTES) // MIB
    assert measured("memory of the service") + held <= mebibytes(given["limits"]["memory"])


def test_a_node_that_is_emptied_takes_one_at_a_time() -> None:
    for name in ("outbox-relay", "outbox-service"):
        budget = named("PodDisruptionBudget", name)["spec"]
        assert selected(budget["selector"]["matchLabels"]) == [name]
        assert budget["maxUnavailable"] == 1
        deployment = named("Deployment", name)["spec"]
        assert deployment["replicas"] >= 2
        assert selected(deployment["selector"]["matchLabels"]) == [name]
    assert selected(named("Service", "outbox-service")["spec"]["selector"]) == ["outbox-service"]


def ports(rules: list[dict[str, Any]]) -> set[int | str]:
    return {port["port"] for rule in rules for port in rule["ports"] if port["protocol"] == "TCP"}


def test_the_network_lets_each_process_to_what_its_settings_name_and_no_further() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind("NetworkPolicy")}
    all_pods = policies.pop("outbox")
    assert selected(all_pods["podSelector"]["matchLabels"]) == list(PODS)
    assert set(all_pods["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in all_pods
    assert ports(all_pods["egress"]) == {53, 5432}
    for name, spec in policies.items():
        assert selected(spec["podSelector"]["matchLabels"]) == [name]
        [listens] = CONTAINERS[name]["ports"]
        assert ports(spec["ingress"]) == {listens["name"]}
        assert all(rule["from"] for rule in spec["ingress"])
    config = CONFIG["outbox-relay"]
    kafka, endpoints = policies["outbox-relay"]["egress"]
    assert int(config["KAFKA_BOOTSTRAP_SERVERS"].rpartition(":")[2]) in ports([kafka])
    assert ports([endpoints]) == {int(port) for port in config["RELAY_PUSH_PORTS"].split(",")}
    assert "egress" not in policies["outbox-service"]


@pytest.mark.parametrize("path", sorted(HOME.glob("*.yaml")), ids=lambda path: path.name)
def test_no_key_is_there_twice(path: Path) -> None:
    """YAML's reader would take the last one."""
    for document in yaml.compose_all(path.read_text(), Loader=yaml.SafeLoader):
        demand_once(document)


def demand_once(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), keys
        for _, value in node.value:
            demand_once(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            demand_once(value)
