"""Object metadata: names, labels, annotations, owner references, finalizers, and the API's words on what is wrong.

The `*_problems` functions return what is wrong with one value (empty: nothing); a name rule is such a function with a
second argument that says whether the value is only the prefix of a generated name. Rules: kubernetes.io, "Object Names
and IDs", "Labels and Selectors", "Annotations".
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from podstead.objects.errors import FieldError

Meta = Mapping[str, Any]
NameRule = Callable[[str, bool], list[str]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_KEY_PART})?"
_DATA_KEY = "[-._a-zA-Z0-9]+"

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
ANNOTATIONS_SIZE = 256 * 1024
IMMUTABLE = "field is immutable"

# Names are made of what cannot be misread or spell words by accident; five characters, as clients expect.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_GENERATED_BASE_LENGTH = LABEL_LENGTH - _SUFFIX_LENGTH

_DRAWN_AT_ONCE = 256
_random: list[str] = []


def new_uid() -> str:
    """Return a new uid: a random UUID (RFC 9562, version 4)."""
    while True:
        try:
            digits = _random.pop()
        except IndexError:
            # One read for many: each lets go of the interpreter, and whoever then has it keeps it for a while.
            drawn = os.urandom(16 * _DRAWN_AT_ONCE).hex()
            _random.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
            continue
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def generate_name(base: str) -> str:
    """Return `base`, cut so that the result stays within a label's 63 characters, with five random characters."""
    return base[:_GENERATED_BASE_LENGTH] + "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))


# What is wrong with one value.


def too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def in_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def _pattern(what: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{what} (e.g. {listed}regex used for validation is '{pattern}')"


_LABEL_TEXT = _pattern(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_TEXT = _pattern(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_LABEL_1035_TEXT = _pattern(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_KEY_TEXT = _pattern(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _KEY_PART,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_TEXT = _pattern(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_DATA_KEY_TEXT = _pattern(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _DATA_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)

_label_re, _subdomain_re, _label_1035_re, _key_re, _label_value_re, _data_key_re = (
    re.compile(rf"(?:{pattern})\Z") for pattern in (_LABEL, _SUBDOMAIN, _LABEL_1035, _KEY_PART, _LABEL_VALUE, _DATA_KEY)
)


def _size(value: str) -> int:
    return len(value.encode("utf-8", "surrogatepass"))


def dns_label_problems(value: str) -> list[str]:
    """An RFC 1123 label: 63 lower-case letters, digits and hyphens."""
    problems = [too_long(LABEL_LENGTH)] if _size(value) > LABEL_LENGTH else []
    if not _label_re.match(value):
        problems.append("must not contain dots" if _subdomain_re.match(value) else _LABEL_TEXT)
    return problems


def dns_subdomain_problems(value: str) -> list[str]:
    """An RFC 1123 subdomain: labels joined by dots, 253 characters in all."""
    problems = [too_long(SUBDOMAIN_LENGTH)] if _size(value) > SUBDOMAIN_LENGTH else []
    if not _subdomain_re.match(value):
        problems.append(_SUBDOMAIN_TEXT)
    return problems


def dns_1035_label_problems(value: str) -> list[str]:
    """An RFC 1035 label: as RFC 1123's, but it begins with a letter."""
    problems = [too_long(LABEL_LENGTH)] if _size(value) > LABEL_LENGTH else []
    if not _label_1035_re.match(value):
        problems.append(_LABEL_1035_TEXT)
    return problems


def label_key_problems(value: str) -> list[str]:
    """A label's key, also of annotations, finalizers, resources: `[PREFIX/]NAME`."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            f"a valid label key {_KEY_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    problems: list[str] = []
    if slash:
        found = dns_subdomain_problems(prefix) if prefix else ["must be non-empty"]
        problems += [f"prefix part {problem}" for problem in found]
    if not name:
        problems.append("name part must be non-empty")
    elif _size(name) > LABEL_LENGTH:
        problems.append(f"name part {too_long(LABEL_LENGTH)}")
    if not _key_re.match(name):
        problems.append(f"name part {_KEY_TEXT}")
    return problems


def label_value_problems(value: str) -> list[str]:
    problems = [too_long(LABEL_LENGTH)] if _size(value) > LABEL_LENGTH else []
    if not _label_value_re.match(value):
        problems.append(_LABEL_VALUE_TEXT)
    return problems


def data_key_problems(value: str) -> list[str]:
    """A key of a ConfigMap's or a Secret's data: what can be a file's name."""
    problems = [too_long(SUBDOMAIN_LENGTH)] if _size(value) > SUBDOMAIN_LENGTH else []
    if not _data_key_re.match(value):
        problems.append(_DATA_KEY_TEXT)
    if value in (".", ".."):
        problems.append(f"must not be '{value}'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def _without_trailing_dash(value: str) -> str:
    # A generated name continues after the prefix, so one trailing hyphen of it is not the end of the name.
    return value[:-1] + "a" if len(value) > 1 and value.endswith("-") else value


def subdomain_name(value: str, prefix: bool) -> list[str]:
    """Name rule of most kinds."""
    return dns_subdomain_problems(_without_trailing_dash(value) if prefix else value)


def label_name(value: str, prefix: bool) -> list[str]:
    """Name rule of namespaces."""
    return dns_label_problems(_without_trailing_dash(value) if prefix else value)


def path_segment_name(value: str, prefix: bool) -> list[str]:
    """Name rule of kinds whose names only have to fit into a URL's path."""
    if not prefix and value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{character}'" for character in "/%" if character in value]


# The fields of metadata.


def quoted(value: object) -> str:
    """The way an error shows a value: text quoted, numbers and booleans bare."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def invalid(path: str, value: object, detail: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {quoted(value)}: {detail}")


def duplicate(path: str, value: object) -> FieldError:
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {quoted(value)}")


def unsupported(path: str, value: object, supported: Sequence[str]) -> FieldError:
    listed = ", ".join(quoted(choice) for choice in supported)
    return FieldError(path, "FieldValueNotSupported", f"Unsupported value: {quoted(value)}: supported values: {listed}")


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", f"Forbidden: {detail}")


def not_found(path: str, value: object) -> FieldError:
    return FieldError(path, "FieldValueNotFound", f"Not found: {quoted(value)}")


def longer_than(path: str, limit: int) -> FieldError:
    return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def drop_duplicate_owners(meta: dict[str, Any]) -> list[str]:
    """Leave each of metadata.ownerReferences there once; return the uids of those that were there more often."""
    kept: list[Meta] = []
    twice: dict[str, None] = {}
    for reference in meta.get("ownerReferences") or ():
        if reference in kept:
            twice[str(reference.get("uid") or "")] = None
        else:
            kept.append(reference)
    if twice:
        meta["ownerReferences"] = kept
    return list(twice)


def validate_object_meta(
    meta: Meta, namespaced: bool, name_rule: NameRule = subdomain_name, path: str = "metadata"
) -> list[FieldError]:
    """What is wrong with the metadata of an object to create, after its name has been generated."""
    return [*_names(meta, namespaced, name_rule, path), *_mutable_fields(meta, path)]


def validate_object_meta_update(new: Meta, old: Meta, path: str = "metadata") -> list[FieldError]:
    """What is wrong with new metadata in place of old. `resourceVersion` has to be there: a caller that allows
    unconditional updates fills in the current one first.
    """
    errors: list[FieldError] = []
    if old.get("deletionTimestamp"):
        added = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if added:
            listed = ", ".join(map(quoted, added))
            text = "no new finalizers can be added if the object is being deleted, found new finalizers "
            errors.append(forbidden(f"{path}.finalizers", f"{text}[]string{{{listed}}}"))
    if not new.get("resourceVersion"):
        errors.append(invalid(f"{path}.resourceVersion", "", "must be specified for an update"))
    if (new.get("generation") or 0) < (old.get("generation") or 0):
        errors.append(invalid(f"{path}.generation", new.get("generation") or 0, "must not be decremented"))
    return [*errors, *_immutable_fields(new, old, path), *_mutable_fields(new, path)]


def validate_labels(labels: Mapping[str, str], path: str) -> Iterator[FieldError]:
    for key, value in labels.items():
        yield from (invalid(path, key, problem) for problem in label_key_problems(key))
        yield from (invalid(path, value, problem) for problem in label_value_problems(value))


def validate_annotations(annotations: Mapping[str, str], path: str) -> Iterator[FieldError]:
    total = 0
    for key, value in annotations.items():
        # Case does not matter in an annotation's key, prefix included.
        yield from (invalid(path, key, problem) for problem in label_key_problems(key.lower()))
        total += _size(key) + _size(value)
    if total > ANNOTATIONS_SIZE:
        yield longer_than(path, ANNOTATIONS_SIZE)


def _names(meta: Meta, namespaced: bool, name_rule: NameRule, path: str) -> Iterator[FieldError]:
    base, name, namespace = (meta.get(key) or "" for key in ("generateName", "name", "namespace"))
    if base:
        yield from (invalid(f"{path}.generateName", base, problem) for problem in name_rule(base, True))
    if not name:
        yield required(f"{path}.name", "name or generateName is required")
    else:
        yield from (invalid(f"{path}.name", name, problem) for problem in name_rule(name, False))
    if not namespaced:
        if namespace:
            yield forbidden(f"{path}.namespace", "not allowed on this type")
    elif not namespace:
        yield required(f"{path}.namespace")
    else:
        yield from (invalid(f"{path}.namespace", namespace, problem) for problem in dns_label_problems(namespace))


def _immutable_fields(new: Meta, old: Meta, path: str) -> Iterator[FieldError]:
    for name in ("name", "namespace", "uid"):
        if (new.get(name) or "") != (old.get(name) or ""):
            yield invalid(f"{path}.{name}", new.get(name) or "", IMMUTABLE)
    for name in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if new.get(name) != old.get(name):
            yield invalid(f"{path}.{name}", new.get(name), IMMUTABLE)


def _mutable_fields(meta: Meta, path: str) -> Iterator[FieldError]:
    if (meta.get("generation") or 0) < 0:
        yield invalid(f"{path}.generation", meta["generation"], "must be greater than or equal to 0")
    yield from validate_labels(meta.get("labels") or {}, f"{path}.labels")
    yield from validate_annotations(meta.get("annotations") or {}, f"{path}.annotations")
    yield from _owner_references(meta.get("ownerReferences") or (), f"{path}.ownerReferences")
    yield from _finalizers(meta.get("finalizers") or (), f"{path}.finalizers")


def _owner_references(references: Sequence[Meta], path: str) -> Iterator[FieldError]:
    controller = ""
    for reference in references:
        api_version = reference.get("apiVersion") or ""
        if not api_version.rpartition("/")[2] or api_version.count("/") > 1:
            yield invalid(f"{path}.apiVersion", api_version, "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not reference.get(name):
                yield invalid(f"{path}.{name}", "", "must not be empty")
        if (reference.get("apiVersion"), reference.get("kind")) == ("v1", "Event"):
            yield invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner")
        if reference.get("controller"):
            this = f"{reference.get('kind')}/{reference.get('name')}"
            if controller:
                text = 'Only one reference can have Controller set to true. Found "true" in references for'
                yield invalid(path, list(references), f"{text} {controller} and {this}")
            controller = controller or this


def _finalizers(finalizers: Sequence[str], path: str) -> Iterator[FieldError]:
    for finalizer in finalizers:
        yield from (invalid(path, finalizer, problem) for problem in label_key_problems(finalizer))
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        yield invalid(path, list(finalizers), "finalizer orphan and foregroundDeletion cannot be both set")
