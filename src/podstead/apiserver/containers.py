"""Which node and container a request to pods/exec, attach or log is for (Kubernetes: the pod subresources)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.objects.errors import bad_request

_DEFAULT_ANNOTATION = "kubectl.kubernetes.io/default-container"


def _names(pod: Mapping[str, Any], field: str) -> list[str]:
    return [str(container["name"]) for container in (pod.get("spec") or {}).get(field) or []]


def pick(pod: Mapping[str, Any], wanted: str) -> str:
    """Return the container to use: `wanted`, else the annotated default, else the only one. Raises StatusError 400."""
    name = pod["metadata"]["name"]
    containers, init = _names(pod, "containers"), _names(pod, "initContainers")
    known = {*containers, *init, *_names(pod, "ephemeralContainers")}
    if wanted:
        if wanted not in known:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    annotated = str((pod["metadata"].get("annotations") or {}).get(_DEFAULT_ANNOTATION, ""))
    if annotated in known:
        return annotated
    if len(containers) == 1:
        return containers[0]
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]"
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    raise bad_request(message)


def node_of(pod: Mapping[str, Any]) -> str:
    """Return the name of the node that the pod is bound to, "" where it is not."""
    return str((pod.get("spec") or {}).get("nodeName") or "")
