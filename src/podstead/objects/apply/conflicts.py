"""The answer to an apply that would change what others own: 409 with a cause for each field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from podstead.objects.apply.fieldset import Tree, paths
from podstead.objects.errors import StatusError

UPDATE, APPLY = "Update", "Apply"


class Owner(NamedTuple):
    """Whose entry it is. `api_version` is empty for an Apply, which keeps its entry from version to version."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        """As conflicts name it: "kubectl" with subresource "status" using v1."""
        text = json.dumps(self.manager, ensure_ascii=False)
        if self.subresource:
            text += f" with subresource {json.dumps(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


def conflict(found: Mapping[Owner, Tree]) -> StatusError:
    """Return the 409 for the fields, by owner, that an apply would take. There must be one at least."""
    fields = [(owner, path) for owner in sorted(found) for path in paths(found[owner])]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path} for owner, path in fields
    ]
    if len(fields) == 1:
        owner, path = fields[0]
        return StatusError(
            409, "Conflict", f"Apply failed with 1 conflict: conflict with {owner}: {path}", {"causes": causes}
        )
    lines = []
    for owner in sorted(found):
        lines.append(f"conflicts with {owner}:")
        lines += [f"- {path}" for path in paths(found[owner])]
    message = f"Apply failed with {len(fields)} conflicts: " + "\n".join(lines)
    return StatusError(409, "Conflict", message, {"causes": causes})
