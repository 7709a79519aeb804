"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or unreachable."""

from __future__ import annotations

from typing import Any

from podstead.registry.admission.base import Attributes, Base, Operation

SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(Base):
    """Adds a NoExecute toleration for each of TAINTS that the pod does not tolerate by itself.

    At an update too: whoever writes the list that they once sent (kubectl apply does) takes none of these away.
    """

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.object
        writes = attributes.operation in (Operation.CREATE, Operation.UPDATE) and not attributes.subresource
        if not writes or attributes.info.resource != "pods" or pod is None:
            return
        tolerations: list[dict[str, Any]] = list(pod["spec"].get("tolerations") or ())
        missing = [taint for taint in TAINTS if not any(_tolerates(known, taint) for known in tolerations)]
        added = [
            {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
            for taint in missing
        ]
        if added:
            pod["spec"]["tolerations"] = tolerations + added


def _tolerates(toleration: dict[str, Any], taint: str) -> bool:
    return toleration.get("key") in (None, "", taint) and toleration.get("effect") in (None, "", "NoExecute")
