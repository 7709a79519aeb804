"""What a pod's probes come to: status, events, and which container is ended how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podstead import clock
from podstead.node.probes import prober
from podstead.node.probes.prober import PodProbes
from podstead.node.probes.result import SUCCESS, Outcome, Result, errored, failure
from podstead.node.runtime.base import ContainerState, ContainerStatus, RuntimeFailure
from podstead.objects.pod import from_object

STARTED = clock.now()
# A first probe that is due at once: its delay has passed when the test begins.
PROBE = {"exec": {"command": ["x"]}, "initialDelaySeconds": 1, "failureThreshold": 1, "timeoutSeconds": 1}


def status(attempt: int = 0, state: ContainerState = ContainerState.RUNNING) -> ContainerStatus:
    return ContainerStatus(
        id=f"id{attempt}",
        sandbox_id="s",
        pod_uid="u",
        name="c1",
        attempt=attempt,
        state=state,
        image="a",
        image_id="b",
        log_path=Path("/dev/null"),
        created_at=STARTED,
        started_at=STARTED - timedelta(seconds=5),
    )


@dataclass
class Host:
    """A pod's worker, as far as its probes see it. `results` are by kind of probe; none: never done."""

    obj: dict[str, Any]
    to_end: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)
    stopped: list[tuple[str, float, str]] = field(default_factory=list)
    stop_errors: list[Exception] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    published: int = 0
    state: ContainerState = ContainerState.RUNNING

    def __post_init__(self) -> None:
        self.pod = from_object(self.obj)
        self.context: Any = SimpleNamespace(runtime=self)
        self.first_seen = STARTED - timedelta(minutes=1)
        self.wake = self.happened.set
        self.probes = PodProbes(self, self._stop)

    def record(self, container: str, type_: str, reason: str, message: str) -> None:
        assert type_ == "Warning"
        self.told.append((reason, message))
        self.happened.set()

    async def container_status(self, container_id: str) -> ContainerStatus:
        """The runtime's."""
        return status(state=self.state)

    async def publish(self) -> None:
        self.published += 1
        self.happened.set()

    async def _stop(self, container: ContainerStatus, grace: float, message: str) -> None:
        if self.stop_errors:
            raise self.stop_errors.pop(0)
        self.stopped.append((container.id, grace, message))
        self.happened.set()

    def run(self, one: ContainerStatus | None = None) -> None:
        self.probes.sync({"c1": [one or status()]}, "10.0.0.9")

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not what():
                self.happened.clear()
                await self.happened.wait()


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Host]]:
    hosts: list[Host] = []
    results: dict[int, Result] = {}

    async def execute(_runtime: object, _target: object, probe: Any, _command: object) -> Result:
        return results[probe.timeout_seconds]

    def made(*, policy: str = "Always", known: dict[str, Any] | None = None, **probes: Result) -> Host:
        container: dict[str, Any] = {"name": "c1", "image": "a"}
        for number, (kind, result) in enumerate(probes.items(), start=1):
            results[number] = result
            container[f"{kind}Probe"] = {**PROBE, "timeoutSeconds": number}
        obj = {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 7, "containers": [container]},
            "status": {"containerStatuses": [known] if known else []},
        }
        hosts.append(Host(obj))
        return hosts[-1]

    monkeypatch.setattr(prober, "execute", execute)
    yield made
    for host in hosts:
        await host.probes.close()


async def test_a_container_is_ready_once_its_probe_says_so_and_that_is_published(make: Callable[..., Host]) -> None:
    host = make(readiness=SUCCESS)
    assert not host.probes.ready(status())
    host.run()
    assert not host.probes.ready(status())
    await host.until(lambda: host.published)
    assert host.probes.ready(status())
    host.run(status(1))
    assert not host.probes.ready(status(1)), "the next run begins anew"


async def test_others_wait_for_the_startup_probe(make: Callable[..., Host]) -> None:
    host = make(startup=failure("not yet"), readiness=SUCCESS, liveness=failure("dead"))
    host.run()
    await host.until(lambda: host.stopped)
    assert host.told == [("Unhealthy", "Startup probe failed: not yet")]
    assert not host.probes.started(status())


@pytest.mark.parametrize(("policy", "ending"), [("Always", ", will be restarted"), ("Never", "")])
async def test_a_failed_liveness_probe_ends_the_container_with_the_pods_grace(
    make: Callable[..., Host], policy: str, ending: str
) -> None:
    host = make(liveness=failure("500"), policy=policy)
    host.run()
    await host.until(lambda: host.stopped)
    assert host.stopped == [("id0", 7.0, f"Container c1 failed liveness probe{ending}")]
    assert host.told == [("Unhealthy", "Liveness probe failed: 500")]


async def test_a_container_that_cannot_be_stopped_is_tried_again(
    make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prober, "_STOP_RETRY", 0.0)
    host = make(liveness=failure("500"))
    host.stop_errors = [RuntimeFailure("busy")]
    host.run()
    await host.until(lambda: host.stopped)
    assert ("FailedKillPod", "error killing pod: busy") in host.told


async def test_a_probe_has_a_grace_of_its_own(make: Callable[..., Host]) -> None:
    host = make(liveness=failure("500"))
    probe = {**PROBE, "timeoutSeconds": 1, "terminationGracePeriodSeconds": 3}
    host.obj["spec"]["containers"][0]["livenessProbe"] = probe
    host.pod = from_object(host.obj)
    host.run()
    await host.until(lambda: host.stopped)
    assert host.stopped[0][1] == 3.0


async def test_a_container_that_ended_by_itself_is_not_said_to_be_killed(make: Callable[..., Host]) -> None:
    host = make(liveness=failure(""), readiness=SUCCESS)
    host.state = ContainerState.EXITED
    host.run()
    await host.until(lambda: host.told and host.published)
    assert host.stopped == []


async def test_of_a_pod_that_is_to_end_only_readiness_is_asked(make: Callable[..., Host]) -> None:
    host = make(liveness=failure("500"), readiness=SUCCESS)
    host.to_end = True
    host.run()
    await host.until(lambda: host.published)
    assert (host.stopped, host.told) == ([], [])


async def test_what_a_probe_could_not_do_and_a_warning_are_told_as_such(make: Callable[..., Host]) -> None:
    host = make(readiness=errored("no such port"), liveness=Result(Outcome.WARNING, "moved"))
    host.run()
    await host.until(lambda: len(host.told) == 2)
    assert sorted(host.told) == [
        ("ProbeWarning", "Liveness probe warning: moved"),
        ("Unhealthy", "Readiness probe errored and resulted in unknown state: no such port"),
    ]


async def test_what_the_api_says_of_an_adopted_container_holds(make: Callable[..., Host]) -> None:
    known = {"name": "c1", "containerID": "podstead://id0", "started": True, "ready": True}
    host = make(startup=failure("no"), readiness=failure("no"), known=known)
    host.first_seen = clock.now()
    host.run()
    assert host.probes.started(status())
    assert host.probes.ready(status())
    assert not host.probes.ready(status(1)), "of another run it says nothing"


async def test_a_container_whose_hook_runs_is_not_probed_yet(make: Callable[..., Host]) -> None:
    host = make(readiness=SUCCESS)
    host.probes.sync({"c1": [status()]}, "10.0.0.9", {"id0"})
    assert not host.probes.ready(status())
    host.run()
    await host.until(lambda: host.published)
    assert host.probes.ready(status())
