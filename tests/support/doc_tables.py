"""The tables in docs/ that are made from the code's own: what of a pod is implemented, and which kinds are served.

`.venv/bin/python tests/support/doc_tables.py` writes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from podstead.objects.definitions import definition
from podstead.objects.kinds import COMPUTED, DISCOVERED, REVIEWS
from podstead.objects.validation.unsupported import TABLE

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- made by tests/support/doc_tables.py -->", "<!-- to here -->"
CORE = "io.k8s.api.core.v1."
# Said in words below the table, for these checks look at more than one field, or at parts of a value.
CHECKED = {
    "PodMeta": "annotations of AppArmor and of static pods are refused",
    "PodSpec": "`serviceAccount` must be as `serviceAccountName`",
    "ResourceRequirements": "limits of `ephemeral-storage` and huge pages are refused",
    "EmptyDirVolumeSource": "`sizeLimit` only with `medium: Memory`; no huge pages",
}


def places() -> Iterator[tuple[str, str]]:
    """Yield (path, row) of every part of a pod, each row once, in the order of the spec."""
    seen: set[str] = set()

    def walk(path: str, name: str) -> Iterator[tuple[str, str]]:
        if name in seen:
            return
        seen.add(name)
        yield path, name
        for field, part in TABLE[name].parts.items():
            yield from walk(f"{path}.{field}", part)

    yield from walk("spec", "PodSpec")


def pod_table() -> Iterator[str]:
    yield "| part | implemented | only as | refused |"
    yield "| --- | --- | --- | --- |"
    for path, name in places():
        row = TABLE[name]
        fields = definition(CORE + name).fields
        known = {*row.implemented, *row.parts}
        done = [f"{field}{_without(row.refused.get(field, ()))}" for field in fields if field in known]
        neutral = [f"{field}: {_values(row.neutral[field])}" for field in fields if field in row.neutral]
        refused = [field for field in fields if field not in known and field not in row.neutral]
        cells = (f"`{path}`", _words(done), _words(neutral), _words(refused))
        yield f"| {' | '.join(cells)} |"


def _without(values: tuple[str, ...]) -> str:
    return f" (not {', '.join(values)})" if values else ""


def _values(values: tuple[object, ...]) -> str:
    return " or ".join(json.dumps(value) for value in values)


def _words(fields: list[str]) -> str:
    return ", ".join(fields) or "-"


def pod_lines() -> Iterator[str]:
    yield from pod_table()
    yield ""
    yield from (f"- `{path}`: {CHECKED[name]}." for path, name in places() if name in CHECKED)


def kind_lines() -> Iterator[str]:
    yield "| kind | names | in a namespace | subresources | acted on by |"
    yield "| --- | --- | --- | --- | --- |"
    for info in (info for info in DISCOVERED if info not in (*REVIEWS, *COMPUTED)):
        names = ", ".join((info.plural, *info.short_names))
        below = ", ".join(one.name for one in info.subresources) or "-"
        scope, actor = "yes" if info.namespaced else "no", info.acted_on_by or "nothing yet"
        yield f"| {info.kind} ({info.api_version}) | {names} | {scope} | {below} | {actor} |"


PAGES: dict[str, Callable[[], Iterator[str]]] = {"pods.md": pod_lines, "kubectl.md": kind_lines}


def filled(page: str) -> str:
    """Return a page as it must be."""
    text = (DOCS / page).read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return f"{before}{BEGIN}\n\n" + "\n".join(PAGES[page]()) + f"\n\n{END}{after}"


def main() -> None:
    for page in PAGES:
        (DOCS / page).write_text(filled(page))


if __name__ == "__main__":
    main()
