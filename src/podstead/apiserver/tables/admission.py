"""The tables of webhook configurations and admission policies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import UNSET, selector_in_full, spec_of, text


def _webhooks(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _policy(rules: str) -> Callable[[Object, datetime], list[Cell]]:
    """Return the cells of a policy whose rules are in the field `rules` of its spec."""

    def cells(obj: Object, now: datetime) -> list[Cell]:
        spec = spec_of(obj)
        kind = spec.get("paramKind")
        shown = UNSET if kind is None else f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}"
        return [name_of(obj), len(spec.get(rules) or ()), shown, age(obj, now)]

    return cells


def _binding(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    reference, parameter = spec.get("paramRef") or {}, UNSET
    if reference.get("name"):
        # Whether the parameter is in a namespace is not known here: without one, it may be in any.
        parameter = f"{reference.get('namespace') or '*'}/{reference['name']}"
    elif reference.get("selector") is not None:
        parameter = selector_in_full(reference["selector"])
    return [name_of(obj), text(spec, "policyName"), parameter, age(obj, now)]


_WEBHOOKS = TableFormat(
    (NAME, Column("Webhooks", "How many webhooks the configuration has.", type="integer"), AGE), _webhooks
)
_PARAM_KIND = Column("ParamKind", "The kind of the objects that the policy takes its parameters from.")
_BINDING = TableFormat(
    (
        NAME,
        Column("PolicyName", "The policy that is put in force."),
        Column("ParamRef", "Where the policy's parameters come from."),
        AGE,
    ),
    _binding,
)

TABLES = {
    "mutatingadmissionpolicies": TableFormat(
        (NAME, Column("Mutations", "How many mutations the policy has.", type="integer"), _PARAM_KIND, AGE),
        _policy("mutations"),
    ),
    "mutatingadmissionpolicybindings": _BINDING,
    "mutatingwebhookconfigurations": _WEBHOOKS,
    "validatingadmissionpolicies": TableFormat(
        (NAME, Column("Validations", "How many validations the policy has.", type="integer"), _PARAM_KIND, AGE),
        _policy("validations"),
    ),
    "validatingadmissionpolicybindings": _BINDING,
    "validatingwebhookconfigurations": _WEBHOOKS,
}
