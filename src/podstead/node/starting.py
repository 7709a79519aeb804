"""The passes of a running pod: volumes, sandbox and images at once; containers made together, started in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from podstead import clock
from podstead.client.events import NORMAL, WARNING
from podstead.node.containers import ConfigError, Surroundings, container_config
from podstead.node.decisions import Action, changed, decide, decide_ephemeral, finished, superfluous
from podstead.node.etcfiles import hosts_file, resolv_conf
from podstead.node.pulling import ImagePuller
from podstead.node.runtime.base import (
    ContainerState,
    ContainerStatus,
    CreateFailed,
    Image,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from podstead.node.state import PassFailed, PodState
from podstead.node.status import Waiting, lost_attempt
from podstead.node.volumes.base import VolumeError
from podstead.objects.pod import Container

_PATIENCE = 0.25
"""Seconds for sandbox and volumes before a first status is written without them."""
_CONFIG_RETRY = 10.0
"""Seconds until a container that could not be configured is tried again."""
_HOSTS = "etc-hosts"
DEADLINE_EXCEEDED = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


@dataclass(frozen=True, slots=True)
class _Step:
    """One container that this pass makes (`image` set) or only starts (`container_id` set)."""

    container: Container
    attempt: int
    image: Image | None = None
    container_id: str = ""
    target_id: str = ""
    """The container whose PID namespace it joins."""


class PodStarting:
    """Brings a pod to running and keeps it there; `one_pass` returns the seconds to the next (None: when woken)."""

    def __init__(self, state: PodState) -> None:
        self.state = state
        self._context = state.context
        self._puller = ImagePuller(state.context, state.pod, state.record, state.wake)
        self._volumes: Mapping[str, Path] | None = None
        self._announced = False
        self._counted: dict[str, tuple[str, int]] = {}
        """By container: image and attempt after which the next one was let through; it counts once."""

    async def close(self) -> None:
        await self._puller.close()

    async def one_pass(self) -> float | None:
        left = self._deadline_left()
        if left is not None and left <= 0:
            self.state.failure = DEADLINE_EXCEEDED
            self.state.record("", NORMAL, *DEADLINE_EXCEEDED)
            return 0
        limit = asyncio.timeout(left)
        try:
            async with limit:
                delays = await self._bring_up()
        except TimeoutError:
            if not limit.expired():
                raise
            return 0  # The next pass sees the deadline.
        waits = [delay for delay in (*delays, self._deadline_left()) if delay is not None]
        return min(waits, default=None)

    async def _bring_up(self) -> list[float | None]:
        """Do what can be done now; returns the delays of what must wait."""
        state = self.state
        attempts = await state.containers()
        if finished(state.pod, attempts, state.replaced):
            state.complete = True
            return [0]
        attempts = await self._stop_changed(attempts)
        steps, delays = await self._plan(attempts)
        sandbox, volumes = await self._surroundings()
        if not self._announced:
            self._announced = True
            await state.publish()
        if steps:
            delays += await self._carry_out(steps, sandbox, volumes)
        await state.publish()
        await self._drop_superfluous()
        return delays

    async def _stop_changed(self, attempts: dict[str, list[ContainerStatus]]) -> dict[str, list[ContainerStatus]]:
        """End containers whose image was changed in the spec; returns the attempts as they are then."""
        state = self.state
        stopped = changed(state.pod, attempts)
        if not stopped:
            return attempts
        grace = state.grace()
        try:
            async with asyncio.TaskGroup() as group:
                for status in stopped:
                    message = f"Container {status.name} definition changed, will be restarted"
                    state.record(status.name, NORMAL, "Killing", message)
                    state.replaced.add(status.id)
                    group.create_task(self._context.runtime.stop_container(status.id, grace))
        except* RuntimeFailure as errors:
            raise PassFailed("FailedKillPod", f"error killing pod: {errors.exceptions[0]}") from errors
        return await state.containers()

    def _deadline_left(self) -> float | None:
        seconds = self.state.pod.spec.active_deadline_seconds
        if seconds is None:
            return None
        began = self.state.pod.status.start_time
        since = clock.parse(began) if began else self.state.first_seen
        return seconds - (clock.now() - since).total_seconds()

    async def _plan(self, attempts: Mapping[str, list[ContainerStatus]]) -> tuple[list[_Step], list[float | None]]:
        """Return what this pass does, in the order of the spec, and the delays of what must wait."""
        steps: list[_Step] = []
        delays: list[float | None] = []
        held = False
        for container in self.state.pod.spec.containers:
            latest = attempts[container.name][-1] if attempts.get(container.name) else None
            action = decide(self.state.pod, latest, self.state.replaced)
            if action is Action.START and latest is not None:
                steps.append(_Step(container, latest.attempt, container_id=latest.id))
                continue
            if action in (Action.NONE, Action.LEAVE):
                self.state.waiting.pop(container.name, None)
                continue
            if action is Action.RESTART and latest is not None and (rest := self._back_off(container, latest)) > 0:
                delays.append(rest)
                continue
            image, waiting, delay = await self._puller.image(container)
            if image is not None and not held:
                self._puller.used(container)
                steps.append(_Step(container, self._attempt(container, latest), image))
                continue
            # Containers start in the order of the spec: one whose image is on its way holds back those after it.
            held = held or self._puller.pulling(container)
            delays.append(delay)
            if waiting is not None:
                self.state.waiting[container.name] = waiting
        await self._plan_ephemeral(attempts, steps, delays)
        return steps, delays

    async def _plan_ephemeral(
        self, attempts: Mapping[str, list[ContainerStatus]], steps: list[_Step], delays: list[float | None]
    ) -> None:
        """Add what is to be done for containers that were added to look into the pod; they wait for nobody."""
        for container in self.state.pod.spec.ephemeral_containers:
            latest = attempts[container.name][-1] if attempts.get(container.name) else None
            action = decide_ephemeral(latest)
            if action is Action.START and latest is not None:
                steps.append(_Step(container, latest.attempt, container_id=latest.id))
            if action is not Action.CREATE:
                self.state.waiting.pop(container.name, None)
                continue
            target = ""
            if container.target_container_name:
                running = [one for one in attempts.get(container.target_container_name, ()) if one.pid]
                if not running:
                    message = f'unable to find target container "{container.target_container_name}"'
                    self.state.waiting[container.name] = Waiting("CreateContainerConfigError", message)
                    delays.append(_CONFIG_RETRY)
                    continue
                target = running[-1].id
            image, waiting, delay = await self._puller.image(container)
            if image is not None:
                self._puller.used(container)
                steps.append(_Step(container, 0, image, target_id=target))
                continue
            delays.append(delay)
            if waiting is not None:
                self.state.waiting[container.name] = waiting

    def _back_off(self, container: Container, latest: ContainerStatus) -> float:
        """Return how long the next attempt must wait; 0 counts it as made."""
        now = clock.now().timestamp()
        ended = latest.finished_at.timestamp() if latest.finished_at else now
        restarts, pod = self.state.restarts, self.state.pod
        if self._counted.get(container.name) == (container.image, latest.attempt):
            return 0.0  # Let through by an earlier pass, which then had to wait for the image.
        key = f"{container.name} {container.image}"  # As the kubelet's: another image begins anew.
        rest = restarts.remaining(key, ended, now)
        if rest <= 0:
            restarts.failed(key, now)
            self._counted[container.name] = container.image, latest.attempt
            return 0.0
        meta = pod.metadata
        full = f"{meta.name}_{meta.namespace}({meta.uid})"
        delay = f"{int(restarts.delay(key))}s"
        message = f"back-off {delay} restarting failed container={container.name} pod={full}"
        self.state.waiting[container.name] = Waiting("CrashLoopBackOff", message)
        event = f"Back-off restarting failed container {container.name} in pod {full}"
        self.state.record(container.name, WARNING, "BackOff", event)
        return rest

    def _attempt(self, container: Container, latest: ContainerStatus | None) -> int:
        if latest is not None:
            return latest.attempt + 1
        statuses = (self.state.obj.get("status") or {}).get("containerStatuses") or ()
        return lost_attempt(next((status for status in statuses if status["name"] == container.name), None))[0]

    async def _surroundings(self) -> tuple[SandboxStatus, Mapping[str, Path]]:
        """Return the sandbox and the volumes, made at once where they are missing; raises PassFailed."""
        late = None if self._announced else asyncio.create_task(self._announce_late())
        try:
            sandbox, volumes = await asyncio.gather(self._sandbox(), self._set_up_volumes(), return_exceptions=True)
        finally:
            if late is not None:
                late.cancel()
                await asyncio.wait([late])
        for outcome in (sandbox, volumes):
            if isinstance(outcome, BaseException):
                await self.state.publish()
                raise outcome
        assert not isinstance(sandbox, BaseException)
        assert not isinstance(volumes, BaseException)
        return sandbox, volumes

    async def _announce_late(self) -> None:
        """Where sandbox or volumes take their time, write what is so far; else the first status comes with them."""
        await asyncio.sleep(_PATIENCE)
        await self.state.publish()

    async def _sandbox(self) -> SandboxStatus:
        present = await self.state.sandbox()
        if present is not None and present.ready:
            self._write_hosts(present)
            return present
        pod, paths = self.state.pod, self._context.paths
        await self._context.network_ready.wait()
        if present is not None:
            self.state.record("", NORMAL, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            await self._context.runtime.stop_pod_sandbox(present.id)
        meta, spec = pod.metadata, pod.spec
        directory = paths.pod(self.state.uid)
        config = SandboxConfig(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            hostname=self._hostname,
            hosts_file=directory / _HOSTS,
            resolv_conf=directory / "resolv.conf",
            log_directory=paths.pod_log_dir(meta.namespace, meta.name, meta.uid),
        )
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / _HOSTS).unlink(missing_ok=True)
            config.resolv_conf.write_text(resolv_conf(spec.dns_policy, spec.dns_config))
            status = await self._context.runtime.run_pod_sandbox(config)
            self._write_hosts(status)
        except (RuntimeFailure, OSError) as error:
            raise PassFailed("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error
        return status

    @property
    def _hostname(self) -> str:
        return self.state.pod.spec.hostname or self.state.pod.metadata.name[:63].rstrip("-.")

    def _write_hosts(self, sandbox: SandboxStatus) -> None:
        """Write /etc/hosts unless it is there: a server that ended just after it made the sandbox wrote none."""
        hosts = self._context.paths.pod(self.state.uid) / _HOSTS
        if hosts.exists():
            return
        fresh = hosts.with_suffix(".new")
        fresh.write_text(hosts_file(sandbox.ip, self._hostname, self.state.pod.spec.host_aliases))
        fresh.replace(hosts)

    async def _set_up_volumes(self) -> Mapping[str, Path]:
        if self._volumes is None:
            try:
                self._volumes = await self._context.volumes.set_up(self.state.pod)
            except VolumeError as error:
                raise PassFailed(error.reason, str(error)) from error
        else:
            await self._context.volumes.update(self.state.pod)
        return self._volumes

    async def _carry_out(
        self, steps: list[_Step], sandbox: SandboxStatus, volumes: Mapping[str, Path]
    ) -> list[float | None]:
        """Create together, start in order, each as soon as it and those before it are there."""
        delays: list[float | None] = []
        async with asyncio.TaskGroup() as group:
            making = [(step, group.create_task(self._create(step, sandbox, volumes))) for step in steps]
            for step, task in making:
                made = await task
                if made:
                    delays.append(await self._start(step, made))
                elif step.container.name in self.state.waiting:
                    delays.append(_CONFIG_RETRY)
        if any(step.container.name in self.state.never_made for step in steps):
            delays.append(0)
        return delays

    async def _create(self, step: _Step, sandbox: SandboxStatus, volumes: Mapping[str, Path]) -> str:
        """Create the container of `step`; returns its id, or nothing where it could not be made."""
        if step.image is None:
            return step.container_id
        container = step.container
        try:
            surroundings = await asyncio.to_thread(self._place, container, step.attempt, volumes)
            config = container_config(self.state.pod, container, step.image, step.attempt, surroundings, step.target_id)
            container_id = await self._context.runtime.create_container(sandbox.id, config)
        except ConfigError as error:
            self.state.waiting[container.name] = Waiting(error.reason, str(error))
            self.state.record(container.name, WARNING, "Failed", f"Error: {error}")
            return ""
        except CreateFailed as error:
            self._note_failure(step, error)
            return ""
        except (RuntimeFailure, OSError) as error:
            self.state.waiting[container.name] = Waiting("CreateContainerError", str(error))
            self.state.record(container.name, WARNING, "Failed", f"Error: {error}")
            return ""
        self.state.never_made.pop(container.name, None)
        self.state.record(container.name, NORMAL, "Created", f"Created container: {container.name}")
        return container_id

    def _place(self, container: Container, attempt: int, volumes: Mapping[str, Path]) -> Surroundings:
        """Make the directory of the log and the file for the termination message."""
        paths, meta = self._context.paths, self.state.pod.metadata
        log = paths.pod_log_dir(meta.namespace, meta.name, meta.uid) / container.name / f"{attempt}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        message = paths.pod(meta.uid) / "containers" / container.name / f"{attempt}.termination"
        message.parent.mkdir(parents=True, exist_ok=True)
        message.touch()
        message.chmod(0o666)
        return Surroundings(volumes, log, message, self._context.memory_capacity, self._context.services)

    async def _start(self, step: _Step, container_id: str) -> float | None:
        """Start it; returns the delay to the next pass: 0 where it failed, for the restart policy decides then."""
        name, runtime = step.container.name, self._context.runtime
        try:
            await runtime.start_container(container_id)
        except RuntimeFailure as error:
            self.state.record(name, WARNING, "Failed", f"Error: {error}")
            states = {status.id: status.state for status in await runtime.list_containers()}
            if states.get(container_id) is ContainerState.EXITED:
                return 0
            self.state.waiting[name] = Waiting("RunContainerError", str(error))
            return _CONFIG_RETRY
        self.state.waiting.pop(name, None)
        self.state.record(name, NORMAL, "Started", f"Started container {name}")
        return None

    def _note_failure(self, step: _Step, error: CreateFailed) -> None:
        """Tell an attempt that could not be created as one that ended, as containerd's is: StartError, code 128."""
        now, container, pod = clock.now(), step.container, self.state.pod
        self.state.never_made[container.name] = ContainerStatus(
            id="",
            sandbox_id="",
            pod_uid=pod.metadata.uid,
            name=container.name,
            attempt=step.attempt,
            state=ContainerState.EXITED,
            image=container.image,
            image_id=step.image.id if step.image else "",
            log_path=Path("/dev/null"),
            created_at=now,
            finished_at=now,
            exit_code=error.exit_code,
            reason="StartError",
            message=str(error),
        )
        self.state.waiting[container.name] = Waiting("RunContainerError", str(error))
        self.state.record(container.name, WARNING, "Failed", f"Error: {error}")

    async def _drop_superfluous(self) -> None:
        """Remove attempts before the last two, with their logs, and sandboxes that nothing is left of."""
        runtime = self._context.runtime
        for statuses in (await self.state.containers()).values():
            for status in superfluous(statuses):
                if status.id and status.state is ContainerState.EXITED:
                    await runtime.remove_container(status.id)
                    status.log_path.unlink(missing_ok=True)
        sandboxes = [one for one in await runtime.list_sandboxes() if one.uid == self.state.uid]
        if len(sandboxes) > 1:
            used = {status.sandbox_id for status in await runtime.list_containers()}
            for sandbox in sandboxes:
                if not sandbox.ready and sandbox.id not in used:
                    await runtime.remove_pod_sandbox(sandbox.id)
