"""Which nodes a pod may be on by its own word: nodeSelector, node affinity, tolerations. No I/O.

Source: Kubernetes documentation, "Assigning Pods to Nodes", "Taints and Tolerations".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from podstead.objects.pod import Pod, Toleration
from podstead.objects.selectors import Operator, Requirement

Object = Mapping[str, Any]

_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.NOT_EXISTS,
    "Gt": Operator.GREATER,
    "Lt": Operator.LESS,
}


def tolerates(tolerations: Iterable[Toleration], taint: Mapping[str, str]) -> bool:
    """Tell whether one of `tolerations` matches `taint` (a decoded core/v1 Taint)."""
    return bool(tolerating(tolerations, taint))


def tolerating(tolerations: Iterable[Toleration], taint: Mapping[str, str]) -> list[Toleration]:
    """Return those of `tolerations` that match `taint`."""
    return [
        one
        for one in tolerations
        if (not one.effect or one.effect == taint["effect"])
        and (not one.key or one.key == taint["key"])
        and (one.operator == "Exists" or (one.value == taint.get("value", "") and bool(one.key)))
    ]


def matches_node(pod: Pod, node: Object) -> bool:
    """Tell whether nodeSelector and the required node affinity of `pod` let it be on `node` (a decoded Node)."""
    meta = node["metadata"]
    labels = meta.get("labels") or {}
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    required = (pod.spec.affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_fits_term(term, labels, meta["name"]) for term in required.get("nodeSelectorTerms") or ())


def _fits_term(term: Object, labels: Mapping[str, str], name: str) -> bool:
    """A term without expressions matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    by_label = all(_requirement(one).matches(labels) for one in expressions)
    return by_label and all(_requirement(one).matches({"metadata.name": name}) for one in fields)


def _requirement(expression: Object) -> Requirement:
    values = expression.get("values") or ()
    return Requirement(expression["key"], _OPERATORS[expression["operator"]], frozenset(values))
