"""What `down` does once no server runs: end every pod's processes and give back all that the instance took."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from podstead.cli.instance import Instance, InstanceError
from podstead.cli.problems import one_line
from podstead.linux import mounts
from podstead.linux.remove import MountInside, remove_tree
from podstead.node.runtime.base import ContainerState


@dataclass(frozen=True, slots=True)
class Ended:
    """What was there to end."""

    pods: int
    containers: int


def tear_down(instance: Instance, grace: float) -> Ended:
    """End pods (SIGTERM, SIGKILL after `grace` seconds) and remove mounts, namespaces, links, nft table, cgroups.

    Idempotent; works after a crash, and on what a half-made start left. The data directory is kept. The caller sees to
    it that no server runs. Raises InstanceError.
    """
    from podstead.node.runtime.base import RuntimeFailure

    try:
        return asyncio.run(_tear_down(instance, grace))
    except (BaseExceptionGroup, RuntimeFailure, OSError) as error:
        first = _first(error)
        if not isinstance(first, (RuntimeFailure, OSError)):
            raise
        raise InstanceError(f"not everything could be ended: {one_line(first)}; try `podstead down` again") from error


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _tear_down(instance: Instance, grace: float) -> Ended:
    from podstead.cluster import NodeRooms
    from podstead.node.runtime.cgroups import remove_instance_cgroups

    paths = instance.paths
    if not paths.run.exists() and not paths.runtime_state.exists():
        return Ended(0, 0)
    rooms = NodeRooms.build(paths, instance.subnet)
    runtime = rooms.runtime
    await asyncio.to_thread(mounts.make_own_mount, paths.run)
    await runtime.adopt()
    sandboxes = await runtime.list_sandboxes()
    containers = await runtime.list_containers()
    running = [status for status in containers if status.state is not ContainerState.EXITED]
    async with asyncio.TaskGroup() as group:
        for status in running:
            group.create_task(runtime.stop_container(status.id, grace))
    for sandbox in sandboxes:
        await runtime.stop_pod_sandbox(sandbox.id)
    await runtime.close()
    await rooms.network.teardown()
    await asyncio.to_thread(_unmount_all, instance)
    await asyncio.to_thread(remove_instance_cgroups, paths)
    await asyncio.to_thread(_remove_run, instance)
    return Ended(len({status.pod_uid for status in running}), len(running))


def _unmount_all(instance: Instance) -> None:
    """Unmount what is left below the instance's directories, innermost first: memory volumes, pinned namespaces."""
    for directory in (instance.paths.pods, instance.paths.image_graph, instance.paths.run):
        for target in mounts.mounts_below(directory):
            mounts.umount(target, lazy=True)


def _remove_run(instance: Instance) -> None:
    """Remove the run directory; what somebody has mounted there meanwhile is not entered."""
    try:
        remove_tree(instance.paths.run)
    except MountInside as error:
        raise InstanceError(f"{error}: unmount it, then try `podstead down` again") from error
