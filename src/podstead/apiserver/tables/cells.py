"""The texts that cells of many kinds are made of: labels, selectors, containers, quantities, shortened lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podstead.apiserver.tables.base import Column, Object
from podstead.objects.quantity import Quantity
from podstead.objects.selectors import selector_text

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"

CONTAINERS = Column("Containers", "The names of the template's containers.", priority=1)
IMAGES = Column("Images", "The images of the template's containers.", priority=1)
SELECTOR = Column("Selector", "Which pods belong to the object.", priority=1)


def spec_of(obj: Object) -> dict[str, Any]:
    return obj.get("spec") or {}


def status_of(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}


def text(holder: Mapping[str, Any], field: str, missing: str = "") -> str:
    """Return a field as text; `missing` where it is absent or null."""
    value = holder.get(field)
    return missing if value is None else str(value)


def is_deleted(obj: Object) -> bool:
    """Tell whether the object's deletion has begun."""
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def condition(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the first condition of a type, {} where there is none."""
    return next((entry for entry in status.get("conditions") or () if entry.get("type") == kind), {})


def containers(template: Mapping[str, Any] | None) -> list[str]:
    """Return two cells, the names and the images of a pod template's containers."""
    listed = ((template or {}).get("spec") or {}).get("containers") or ()
    return [",".join(str(each.get(key) or "") for each in listed) for key in ("name", "image")]


def labels(given: Mapping[str, str] | None) -> str:
    """Return `a=b,c=d`, sorted, or `<none>`."""
    return ",".join(f"{key}={value}" for key, value in sorted((given or {}).items())) or NONE


def selector(given: Mapping[str, Any] | None) -> str:
    """Return a metav1.LabelSelector as most kinds show it: `<none>` for an empty one, `<error>` for a wrong one."""
    try:
        return selector_text(given) or NONE
    except ValueError:
        return "<error>"


def selector_in_full(given: Mapping[str, Any]) -> str:
    """Return a metav1.LabelSelector as Kubernetes' Go type prints itself (it reaches the policy bindings' tables)."""
    exact = "".join(f"{key}: {value}," for key, value in sorted((given.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{each.get('key', '')},Operator:{each.get('operator', '')},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in given.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{exact}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def quantity(value: Any) -> str:
    """Return a quantity in its canonical form; `0` where there is none, as a real server's zero value."""
    try:
        return Quantity.parse(value).canonical() if value is not None else "0"
    except ValueError:
        return str(value)


def shortened(values: Sequence[str], limit: int = 3, *, separator: str = ",") -> str:
    """Return the first `limit` values and how many more there are: `a,b,c + 2 more...`."""
    text = separator.join(values[:limit])
    return f"{text} + {len(values) - limit} more..." if len(values) > limit else text


def joined(values: Iterable[Any] | None) -> str:
    return ",".join(str(value) for value in values or ())
