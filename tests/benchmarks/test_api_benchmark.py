"""The API benchmark runs to its end, its table has all rows, and its client tells a watch that is not whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROWS = (
    "GET one configmap of 1 KiB, 1 connection",
    "GET one configmap of 1 KiB, 16 connections",
    "LIST 50, 1 connection",
    "LIST 50, 16 connections",
    "LIST 200, 1 connection",
    "LIST 200, 16 connections",
    "create, 1 writer",
    "create, 16 writers",
    "update, 1 writer",
    "update, 16 writers",
    "watch, 5 watchers, 32 updates",
    "official client: get",
    "official client: list 50",
    "official client: create",
    "memory (PSS) at rest",
    "memory (PSS) for 200 configmaps of 1 KiB, just created",
    "memory (PSS) for 200 configmaps of 1 KiB",
    "create, 1 writer, 100 objects present",
    "create, 1 writer, 200 objects present",
    "processor time of a create, 200 present by 100",
)
WITHOUT_LIMIT = ("memory (PSS) at rest",)


@pytest.mark.timeout(60)
def test_a_quick_run_shows_every_row_and_leaves_nothing(tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    argv = [sys.executable, str(BENCHMARKS / "api.py"), "--quick", "--directory", str(tmp_path), "--json", str(values)]
    done = subprocess.run(argv, text=True, capture_output=True, timeout=55)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(values.read_text())["rows"]}
    assert tuple(rows) == ROWS
    shown = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert tuple(shown) == ROWS
    assert all(row["podstead"]["values"] for row in rows.values())
    assert tuple(name for name, row in rows.items() if "limit" not in row) == WITHOUT_LIMIT
    assert [path.name for path in tmp_path.iterdir()] == [values.name]
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


class _Seen:
    """What a watcher has received."""

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self._body = b"".join(json.dumps(event).encode() + b"\n" for event in events)

    def body(self) -> bytes:
        return self._body


def _event(serial: int, revision: int) -> dict[str, Any]:
    metadata = {"name": "one", "resourceVersion": str(revision)}
    return {"type": "MODIFIED", "object": {"metadata": metadata, "data": {"serial": str(serial)}}}


@pytest.fixture
def raw_client(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import raw_client

    return raw_client


def test_a_watch_that_has_every_update_in_order_is_accepted(raw_client: Any) -> None:
    whole = _Seen([_event(1, 5), _event(2, 7)])
    assert raw_client.verified([whole, whole], {"one": [1, 2]}) == whole.body()


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([_event(1, 5)], id="one is missing"),
        pytest.param([_event(1, 5), _event(2, 7), _event(2, 8)], id="one came twice"),
        pytest.param([_event(1, 7), _event(2, 5)], id="revisions go back"),
        pytest.param([_event(2, 5), _event(1, 7)], id="updates are exchanged"),
    ],
)
def test_a_watch_that_is_not_whole_is_refused(raw_client: Any, events: list[dict[str, Any]]) -> None:
    with pytest.raises(raw_client.RequestFailed):
        raw_client.verified([_Seen(events)], {"one": [1, 2]})


def test_watchers_that_differ_are_refused(raw_client: Any) -> None:
    whole, short = _Seen([_event(1, 5), _event(2, 7)]), _Seen([_event(1, 5)])
    with pytest.raises(raw_client.RequestFailed, match="different"):
        raw_client.verified([whole, short], {"one": [1, 2]})
