"""An applied configuration: checked as strictly as server-side apply does, whatever fieldValidation says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podstead.objects.apply.fieldset import spelled
from podstead.objects.apply.merging import ConfigurationError, field_set
from podstead.objects.apply.shapes import KeyMissingError, Kind, Shape, shape_of
from podstead.objects.definitions import Definition
from podstead.objects.errors import StatusError, bad_request
from podstead.objects.schema import prune

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Configuration:
    """`raw` as it was sent (its empty maps are owned), `checked` with values in canonical form."""

    definition: Definition
    raw: Object
    checked: Object


def configuration(definition: Definition, raw: Any, group: str, version: str, kind: str) -> Configuration:
    """Check a decoded body. Raises StatusError 400.

    Kubernetes answers some of these with a 500 and no reason; the texts are its own.
    """
    if type(raw) is not dict:
        raise bad_request("error decoding YAML: the configuration is no object")
    sent = raw.get("apiVersion") or ""
    wanted = f"{group}/{version}" if group else version
    if sent != wanted:
        raise bad_request(
            f"Incorrect version specified in apply patch. Specified patch version: {sent}, expected: {wanted}"
        )
    metadata = raw.get("metadata")
    if type(metadata) is dict and metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    what = f"{_text(metadata, 'namespace')}/{_text(metadata, 'name')}; {group}/{version}, Kind={raw.get('kind') or ''}"
    if raw.get("kind") != kind:
        raise bad_request(f"failed to create typed patch object ({what}): no corresponding type for this kind here")
    shape = shape_of(definition.name)
    try:
        checked, unknown = prune(definition, raw)
        field_set(shape, raw, strict=True)
    except StatusError as error:
        problem = error.message.partition(" cannot be handled as a ")[2].partition(": ")[2] or error.message
        raise bad_request(f"failed to create typed patch object ({what}): {problem}") from None
    except ConfigurationError as error:
        raise bad_request(f"failed to create typed patch object ({what}): {error}") from None
    if unknown:
        paths = _undeclared(shape, raw, "") or [f".{path}" for path in unknown]
        problems = [f"{path}: field not declared in schema" for path in paths]
        listed = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in problems)
        raise bad_request(f"failed to create typed patch object ({what}): {listed}")
    checked.setdefault("metadata", {})
    return Configuration(definition, raw, checked)


def _text(metadata: Any, field: str) -> str:
    value = metadata.get(field) if type(metadata) is dict else ""
    return value if isinstance(value, str) else ""


def _undeclared(shape: Shape, value: Any, path: str) -> list[str]:
    """Return the paths of fields that structs do not have, items named by their keys."""
    if shape.kind is Kind.MAP and type(value) is dict:
        found = []
        for name, item in value.items():
            if shape.item is None and not shape.names(name):
                found.append(f"{path}.{name}")
            else:
                found += _undeclared(shape.child(name), item, f"{path}.{name}")
        return found
    if shape.kind is Kind.LIST and type(value) is list and shape.item is not None:
        found = []
        for item in value:
            try:
                found += _undeclared(shape.item, item, path + spelled(shape.segment(item)))
            except KeyMissingError:
                continue
        return found
    return []
