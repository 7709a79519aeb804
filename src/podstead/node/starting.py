"""The passes of a running pod: volumes, sandbox and images at once; containers made together, started in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from podstead import clock
from podstead.client.events import NORMAL, WARNING
from podstead.node.configsources import ConfigSources
from podstead.node.containers import TERMINATION_FILE, Surroundings, container_config
from podstead.node.decisions import changed, finished, restarts, superfluous
from podstead.node.environment import Addresses, ConfigError, Sources
from podstead.node.hooks import HookFailed
from podstead.node.mounting import MountPreparer
from podstead.node.phases import CREATED, IMAGE, STARTED, STARTS, VOLUMES
from podstead.node.planning import BACK_OFF, CONFIG_RETRY, Planner, Step, back_off_key
from podstead.node.pulling import ImagePuller
from podstead.node.resizing import RESOURCES, PodResizing, label
from podstead.node.runtime import logfiles
from podstead.node.runtime.base import (
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    CreateFailed,
    RuntimeFailure,
    SandboxStatus,
)
from podstead.node.sandboxing import PodSandbox
from podstead.node.settled import settled
from podstead.node.state import PassFailed, PodState
from podstead.node.status import Waiting
from podstead.node.stopping import ContainerStopper
from podstead.node.volumeimages import VolumeImages
from podstead.node.volumes.base import VolumeError
from podstead.objects.pod import Container

_PATIENCE = 0.25
"""Seconds for sandbox and volumes before a first status is written without them."""
DEADLINE_EXCEEDED = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class PodStarting:
    """Brings a pod to running and keeps it there; `one_pass` returns the seconds to the next (None: when woken)."""

    def __init__(self, state: PodState, stopper: ContainerStopper) -> None:
        self.state = state
        self._stopper = stopper
        self._context = state.context
        self._puller = ImagePuller(state.context, state.pod, state.record, state.wake)
        self._sandbox = PodSandbox(state)
        self._sources = ConfigSources(state.context.client, state.pod.metadata.namespace, state.wake)
        self._volumes: Mapping[str, Path] | None = None
        self._volume_images = VolumeImages(state.context, state.pod, state.record, state.wake)
        state.volume_images = self._volume_images.images
        self._planner = Planner(state, self._puller, self._volume_images)
        self._resizing = PodResizing(state)
        self._announced = False

    async def close(self) -> None:
        await self._puller.close()
        await self._volume_images.close()
        await self._sources.close()

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
        await self._volume_images.recall()
        present = await state.sandbox()
        sandbox_id = present.id if present and present.ready else ""
        retry = await self._resizing.one_pass(attempts, sandbox_id, self._stopper)
        steps, delays = await self._planner.plan(attempts, sandbox_id)
        delays.append(retry)
        if steps:
            STARTS.mark(state.uid, IMAGE)
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
                    state.replaced.add(status.id)
                    group.create_task(self._stopper.stop(status, grace, message))
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

    async def _surroundings(self) -> tuple[SandboxStatus, Mapping[str, Path]]:
        """Return the sandbox and the volumes, made at once where they are missing; raises PassFailed."""
        late = None if self._announced else asyncio.create_task(self._announce_late())
        try:
            made = self._sandbox.ensure(), self._set_up_volumes()
            sandbox, volumes = await asyncio.gather(*made, return_exceptions=True)
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

    async def _set_up_volumes(self) -> Mapping[str, Path]:
        if self._volumes is None:
            try:
                self._volumes = await self._context.volumes.set_up(self.state.pod)
                STARTS.mark(self.state.uid, VOLUMES)
            except VolumeError as error:
                raise PassFailed(error.reason, str(error)) from error
        else:
            await self._context.volumes.update(self.state.pod)
        return self._volumes

    async def _carry_out(
        self, steps: list[Step], sandbox: SandboxStatus, volumes: Mapping[str, Path]
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
                    delays.append(CONFIG_RETRY)
        init = [container.name for container in self.state.pod.spec.init_containers]
        if any(step.container.name in self.state.never_made or step.container.name in init for step in steps):
            delays.append(0)  # What could not be made has ended; a sidecar that has started makes room for the next.
        return delays

    async def _create(self, step: Step, sandbox: SandboxStatus, volumes: Mapping[str, Path]) -> str:
        """Create the container of `step`; returns its id, or nothing where it could not be made."""
        if step.image is None:
            return step.container_id
        container = step.container
        try:
            sources = await self._read(container, sandbox)
            surroundings = await asyncio.to_thread(self._place, container, step.attempt, volumes, sources)
            config = container_config(self.state.pod, container, step.image, step.attempt, surroundings, step.target_id)
            config = await self._with_mounts(config)
            container_id = await self._context.runtime.create_container(sandbox.id, self._with_life(config, container))
        except (ConfigError, VolumeError) as error:
            if isinstance(error, ConfigError) and error.missing is not None:
                self._sources.wait_for(error.missing)
            self.state.waiting[container.name] = Waiting(error.reason, str(error))
            self.state.record(container.name, WARNING, "Failed", f"Error: {error}")
            return ""
        except CreateFailed as error:
            self._note_failure(step, sandbox.id, error)
            return ""
        except (RuntimeFailure, OSError) as error:
            self.state.waiting[container.name] = Waiting("CreateContainerError", str(error))
            self.state.record(container.name, WARNING, "Failed", f"Error: {error}")
            return ""
        self.state.never_made.pop(container.name, None)
        STARTS.mark(self.state.uid, CREATED)
        self.state.record(container.name, NORMAL, "Created", f"Created container: {container.name}")
        return container_id

    async def _with_mounts(self, config: ContainerConfig) -> ContainerConfig:
        """See to the mounts that take more than a directory of a volume; raises VolumeError."""
        preparer = MountPreparer(self._context.paths, self.state.uid, self._volume_images.images)
        if not preparer.needed(config.mounts):
            return config
        mounts = await settled(asyncio.to_thread(preparer.prepare, config.name, config.mounts))
        return replace(config, mounts=mounts)

    def _with_life(self, config: ContainerConfig, container: Container) -> ContainerConfig:
        """Add what decides on the container's end, and on what comes after it."""
        delay = self.state.restarts.delay(back_off_key(container.name, container.image))
        labels = {**config.labels, RESOURCES: label(container)} | ({BACK_OFF: str(delay)} if delay else {})
        return replace(config, stop_signal=container.lifecycle.stop_signal, labels=labels)

    async def _read(self, container: Container, sandbox: SandboxStatus) -> Sources:
        """Return what the container's variables are made from. Raises ConfigError."""
        context, pod = self._context, self.state.pod
        return Sources(
            services=await context.services.variables(pod),
            objects=await self._sources.read(container) if container.env or container.env_from else {},
            addresses=Addresses(sandbox.ip, context.host_ip),
            allocatable=context.allocatable(),
        )

    def _place(self, container: Container, attempt: int, volumes: Mapping[str, Path], sources: Sources) -> Surroundings:
        """Make the directory of the log and the file for the termination message."""
        paths, meta = self._context.paths, self.state.pod.metadata
        log = paths.pod_log_dir(meta.namespace, meta.name, meta.uid) / container.name / f"{attempt}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        message = paths.pod(meta.uid) / "containers" / container.name / f"{attempt}.termination"
        message.parent.mkdir(parents=True, exist_ok=True)
        message.touch()
        message.chmod(0o666)
        capacity = self._context.memory_capacity
        return Surroundings(volumes, log, message, capacity, sources, paths.seccomp_profiles)

    async def _start(self, step: Step, container_id: str) -> float | None:
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
            return CONFIG_RETRY
        self.state.waiting.pop(name, None)
        STARTS.mark(self.state.uid, STARTED)
        self.state.record(name, NORMAL, "Started", f"Started container {name}")
        if step.container.lifecycle.post_start is None:
            return None
        return await self._post_start(step.container, container_id)

    async def _post_start(self, container: Container, container_id: str) -> float | None:
        """Run the hook; where it fails the container is ended. Until then the API shows it as being created."""
        state, handler = self.state, container.lifecycle.post_start
        assert handler is not None
        state.in_post_start.add(container_id)
        try:
            await state.hooks.run(handler, container, container_id)
        except HookFailed as error:
            state.record(container.name, WARNING, "FailedPostStartHook", "PostStartHook failed")
            status = await self._context.runtime.container_status(container_id)
            if status.state is not ContainerState.EXITED:
                await self._stopper.stop(status, state.grace(), "FailedPostStartHook")
                status = await self._context.runtime.container_status(container_id)
            if restarts(state.pod, container, status.exit_code):
                state.waiting[container.name] = Waiting("PostStartHookError", str(error))
            return 0
        finally:
            state.in_post_start.discard(container_id)
        return None

    def _note_failure(self, step: Step, sandbox_id: str, error: CreateFailed) -> None:
        """Tell an attempt that could not be created as one that ended, as containerd's is: StartError, code 128."""
        now, container, pod = clock.now(), step.container, self.state.pod
        self.state.never_made[container.name] = ContainerStatus(
            id="",
            sandbox_id=sandbox_id,
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
        """Remove attempts before the last two, with logs and messages, and sandboxes that nothing is left of."""
        runtime = self._context.runtime
        for statuses in (await self.state.containers()).values():
            for status in superfluous(statuses):
                if status.id and status.state is ContainerState.EXITED:
                    await runtime.remove_container(status.id)
                    logfiles.remove(status.log_path)
                    if message := status.labels.get(TERMINATION_FILE):
                        Path(message).unlink(missing_ok=True)
        sandboxes = [one for one in await runtime.list_sandboxes() if one.uid == self.state.uid]
        if len(sandboxes) > 1:
            used = {status.sandbox_id for status in await runtime.list_containers()}
            for sandbox in sandboxes:
                if not sandbox.ready and sandbox.id not in used:
                    await runtime.remove_pod_sandbox(sandbox.id)
