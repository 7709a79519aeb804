"""The downward API: what a field of a pod, or a resource of one of its containers, is as text.

Source: Kubernetes documentation, "Downward API": available fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from podstead.objects.pod import Pod
from podstead.objects.quantity import Quantity, QuantityText

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]\Z", re.DOTALL)
_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\", '"': r"\"",
}  # fmt: skip
_OF_THE_NODE = ("cpu", "memory", "ephemeral-storage")
"""What a container that has no limit may use as much of as the node has."""


def metadata_text(pod: Pod, path: str) -> str:
    """Return a field of the pod's metadata: labels and annotations as lines `key="escaped value"` in the keys' order.

    Raises ValueError for a path that names no such field; a label that is not there is empty.
    """
    meta = pod.metadata
    plain = {"metadata.name": meta.name, "metadata.namespace": meta.namespace, "metadata.uid": meta.uid}
    if path in plain:
        return plain[path]
    maps = {"labels": meta.labels, "annotations": meta.annotations}
    if path in ("metadata.labels", "metadata.annotations"):
        entries = maps[path.removeprefix("metadata.")]
        return "\n".join(f"{key}={quoted(value)}" for key, value in sorted(entries.items()))
    if match := _SUBSCRIPT.match(path):
        return maps[match[1]].get(match[2], "")
    raise ValueError(f"unsupported fieldPath: {path}")


def resource_text(
    pod: Pod, container: str, resource: str, divisor: QuantityText, allocatable: Mapping[str, QuantityText]
) -> str:
    """Return `limits.NAME` or `requests.NAME` of a container in units of `divisor` (0: one), rounded up.

    Where there is no limit, `allocatable` says what the node has. Raises ValueError for a container or a resource that
    is not there.
    """
    found = pod.spec.container(container)
    if found is None:
        raise ValueError(f"container {container} not found")
    which, _, name = resource.partition(".")
    if which not in ("limits", "requests") or not name:
        raise ValueError(f"unsupported container resource : {resource}")
    amounts = found.resources.limits if which == "limits" else found.resources.requests
    amount: QuantityText = amounts.get(name, 0)
    if which == "limits" and name in _OF_THE_NODE and not Quantity.parse(amount):
        amount = allocatable.get(name, 0)
    quantity, unit = Quantity.parse(amount), Quantity.parse(divisor) or Quantity.parse(1)
    if name == "cpu":
        return str(-(-quantity.milli() // unit.milli()))
    return str(-(-quantity.value() // unit.value()))


def quoted(text: str) -> str:
    """Return `text` in double quotes as Go's %q writes it: what is not printable is escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if (escape := _ESCAPES.get(character)) is not None:
        return escape
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
