"""Events as `kubectl describe` shows them: written soon, repeats counted, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podstead import clock
from podstead.client.events import NORMAL, WARNING, EventRecorder, reference
from podstead.objects.errors import StatusError
from podstead.objects.meta import new_uid
from support.registry import ADMIN, open_registry

POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "default", "uid": new_uid()}}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    async with open_registry(tmp_path / "state.db") as registry:
        yield registry.client(ADMIN)


@asynccontextmanager
async def _running(recorder: EventRecorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def _events(client: Any) -> list[dict[str, Any]]:
    return [dict(one) for one in (await client.list("events", "default")).items]


async def test_an_event_tells_who_what_where_and_when(client: Any) -> None:
    recorder = EventRecorder(client, "kubelet", "n1")
    async with _running(recorder):
        recorder.event(reference(POD, "spec.containers{c}"), NORMAL, "Started", "Started container c")
    (event,) = await _events(client)
    assert event["involvedObject"]["fieldPath"] == "spec.containers{c}"
    assert event["involvedObject"]["uid"] == POD["metadata"]["uid"]
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Started", "Started container c")
    assert event["source"] == {"component": "kubelet", "host": "n1"}
    assert (event["reportingComponent"], event["reportingInstance"], event["count"]) == ("kubelet", "n1", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"]


async def test_repeats_are_counted_up(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = EventRecorder(client, "kubelet")
    times = iter([datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(3)])
    async with _running(recorder):
        with monkeypatch.context() as patched:
            patched.setattr(clock, "now", lambda: next(times))
            for _ in range(3):
                recorder.event(reference(POD), WARNING, "BackOff", "again")
        recorder.event(reference(POD), WARNING, "BackOff", "another")
    again, another = sorted(await _events(client), key=lambda event: -event["count"])
    assert (again["count"], again["message"], another["count"]) == (3, "again", 1)
    assert (again["firstTimestamp"], again["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:02Z")


async def test_a_repeat_of_an_event_that_was_deleted_is_written_anew(client: Any) -> None:
    recorder = EventRecorder(client, "kubelet")
    async with _running(recorder):
        recorder.event(reference(POD), NORMAL, "A", "a")
    (first,) = await _events(client)
    await client.delete("events", first["metadata"]["name"], "default")
    async with _running(recorder):
        recorder.event(reference(POD), NORMAL, "A", "a")
    (second,) = await _events(client)
    assert (second["count"], second["metadata"]["name"] != first["metadata"]["name"]) == (1, True)


async def test_events_of_one_moment_have_names_of_their_own(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    recorder = EventRecorder(client, "kubelet")
    async with _running(recorder):
        with monkeypatch.context() as patched:
            patched.setattr(clock, "now", lambda: moment)
            for number in range(20):
                recorder.event(reference(POD), NORMAL, f"A{number}", "a")
    assert len({event["metadata"]["name"] for event in await _events(client)}) == 20


async def test_similar_events_are_combined_from_the_tenth_on(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = EventRecorder(client, "kubelet")
    async with _running(recorder):
        for number in range(15):
            recorder.event(reference(POD, f"spec.containers{{{number}}}"), WARNING, "Failed", f"message {number}")
    events = await _events(client)
    assert sorted(event["message"] for event in events if event["count"] == 1) == [f"message {n}" for n in range(9)]
    (combined,) = [event for event in events if event["count"] > 1]
    assert (combined["count"], combined["message"]) == (6, "(combined from similar events): message 14")
    # Ten minutes without one, and they are told one by one again.
    later = clock.now() + timedelta(seconds=601)
    async with _running(recorder):
        with monkeypatch.context() as patched:
            patched.setattr(clock, "now", lambda: later)
            recorder.event(reference(POD), WARNING, "Failed", "message 15")
    assert "message 15" in [event["message"] for event in await _events(client)]


async def test_one_object_cannot_flood(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    recorder = EventRecorder(client, "kubelet")

    async def record(moment: datetime, count: int, obj: dict[str, Any] = POD) -> list[dict[str, Any]]:
        async with _running(recorder):
            with monkeypatch.context() as patched:
                patched.setattr(clock, "now", lambda: moment)
                for _ in range(count):
                    recorder.event(reference(obj), NORMAL, "A", "a")
        return await _events(client)

    (event,) = await record(start, 40)
    assert event["count"] == 25
    # What was not written was counted all the same.
    (event,) = await record(start + timedelta(seconds=300), 2)
    assert event["count"] == 41
    other = {**POD, "metadata": {**POD["metadata"], "name": "other", "uid": new_uid()}}
    assert len(await record(start, 1, other)) == 2


async def test_a_very_long_name_and_message_still_make_an_event(client: Any) -> None:
    name = "x" * 253
    pod = {**POD, "metadata": {**POD["metadata"], "name": name}}
    recorder = EventRecorder(client, "kubelet")
    async with _running(recorder):
        recorder.event(reference(pod), NORMAL, "A", "é" * 2000)
    (event,) = await _events(client)
    assert event["involvedObject"]["name"] == name
    assert len(event["message"].encode()) <= 1024


async def test_an_event_about_a_node_is_in_the_default_namespace(client: Any) -> None:
    recorder = EventRecorder(client, "kubelet")
    async with _running(recorder):
        recorder.event({"kind": "Node", "name": "n1", "uid": "n1"}, NORMAL, "Starting", "Starting kubelet.")
    (event,) = await _events(client)
    assert event["involvedObject"] == {"kind": "Node", "name": "n1", "uid": "n1"}


@pytest.mark.parametrize("error", [ValueError("a fault"), StatusError(403, "Forbidden", "it ends")])
async def test_one_that_cannot_be_written_takes_no_other_along(
    client: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A fault ended the task, and with it the server."""
    real = client.create

    async def failing(resource: str, obj: dict[str, Any], namespace: str) -> Any:
        if obj["message"] == "bad":
            raise error
        return await real(resource, obj, namespace)

    monkeypatch.setattr(client, "create", failing)
    recorder = EventRecorder(client, "kubelet")
    async with _running(recorder):
        for message in ("bad", "good"):
            recorder.event(reference(POD), NORMAL, "A", message)
    assert [event["message"] for event in await _events(client)] == ["good"]


async def test_a_server_that_hangs_does_not_hold_up_the_end(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("podstead.client.events._LAST_WORDS", 0.01)
    monkeypatch.setattr(client, "create", hanging)
    recorder = EventRecorder(client, "kubelet")
    async with asyncio.timeout(5), _running(recorder):
        recorder.event(reference(POD), NORMAL, "A", "a")
