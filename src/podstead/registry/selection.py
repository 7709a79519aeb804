"""Which objects a list or a watch is about: label selector, field selector, or one name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from podstead.objects import errors
from podstead.objects.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector
from podstead.registry.entry import Entry

FieldsOf = Callable[[Entry], dict[str, str]]
"""Returns an entry's selectable fields, label to value."""


class Selection:
    """A predicate over entries; `trivial` if it takes all. `name` is set where a field selector names one object."""

    __slots__ = ("_fields", "_fields_of", "_labels", "name", "trivial")

    def __init__(self, labels: LabelSelector | None, fields: FieldSelector | None, fields_of: FieldsOf) -> None:
        self._labels = labels
        self._fields = fields
        self._fields_of = fields_of
        self.trivial = labels is None and fields is None
        self.name = ""
        for path, operator, value in fields.requirements if fields else ():
            if path == "metadata.name" and operator in ("=", "=="):
                self.name = value

    def matches(self, entry: Entry) -> bool:
        if self.name and entry.name != self.name:
            return False
        if self._labels is not None and not self._labels.matches(entry.labels):
            return False
        return self._fields is None or self._fields.matches(self._fields_of(entry))


def select(label_selector: str, field_selector: str, supported: Iterable[str], fields_of: FieldsOf) -> Selection:
    """Parse both selectors. Raises StatusError 400 for what cannot be parsed or selected by."""
    try:
        labels = parse_label_selector(label_selector) if label_selector else None
        fields = parse_field_selector(field_selector) if field_selector else None
    except ValueError as error:
        raise errors.bad_request(str(error)) from error
    for path, _, _ in fields.requirements if fields else ():
        if path not in supported:
            raise errors.bad_request(f"field label not supported: {path}")
    if labels is not None and labels.empty:
        labels = None
    if fields is not None and not fields.requirements:
        fields = None
    return Selection(labels, fields, fields_of)
