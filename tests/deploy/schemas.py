"""JSON schemas of what the chart makes, put together without a cluster or its network.

Kubernetes' own come with a Python package, those of KEDA and the Prometheus operator from the definitions in
their modules. All are strict: a member that is not known is a mistake.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import yaml

from tests.support.gotools import module

KUBERNETES: Final = "1.37.0"
CUSTOM: Final = (
    ("github.com/kedacore/keda/v2", "v2.18.0", "config/crd/bases/keda.sh_scaledobjects.yaml"),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
)
LOCATION: Final = "{{ .ResourceKind }}{{ .KindSuffix }}.json"


def write_schemas(folder: Path) -> str:
    """Write all schemas into a folder; return kubeconform's ``-schema-location`` for them."""
    packaged = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    source = packaged / f"v{KUBERNETES}-local-strict"
    for kind in ("deployment-apps", "statefulset-apps", "job-batch", "poddisruptionbudget-policy", "service"):
        _copy(source / f"{kind}-v1.json", folder)
    _copy(source / "_definitions.json", folder)
    for name, version, path in CUSTOM:
        definition = yaml.safe_load((module(name, version) / path).read_text())["spec"]
        for known in definition["versions"]:
            schema = _strict(known["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            kind = definition["names"]["kind"].lower()
            group = definition["group"].partition(".")[0]
            (folder / f"{kind}-{group}-{known['name']}.json").write_text(json.dumps(schema))
    return str(folder / LOCATION)


def _copy(path: Path, folder: Path) -> None:
    """Copy a schema, its references turned from the address that it names towards its neighbours."""
    schema = json.loads(
        path.read_text(encoding="utf-8").replace('"/api/_definitions.json', '"_definitions.json')
    )
    del schema["$id"]
    (folder / path.name).write_text(json.dumps(schema))


def _strict(schema: Any) -> Any:
    """Refuse members that are not described."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    described = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if described and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made
