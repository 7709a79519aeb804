"""projected: several sources in one volume, in memory.

holds it      a tmpfs of the pod, which is never swapped where the kernel can promise that
lives         as long as the pod; content follows its sources within a second, all of them swapped at once;
              tokens are renewed when 80% of their time is over, or after a day (KEP-1205)
loses it      the end of the pod, or of the node, after which it is filled anew
waits         without one of its objects that is not `optional`; a path that two sources give has the last one's
"""

from __future__ import annotations

from podstead.node.volumes.atomic import File
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.configmap import config_map_files
from podstead.node.volumes.content import Reader
from podstead.node.volumes.downwardapi import downward_files
from podstead.node.volumes.secret import secret_files
from podstead.node.volumes.trustbundle import trust_bundle_file
from podstead.objects.pod import Pod, effective_security_context
from podstead.objects.volumes import Volume, VolumeProjection

_PRIVATE = 0o600


class ProjectedType:
    """See ContentType."""

    kind = "projected"
    directory = "projected"
    in_memory = True

    def serves(self, volume: Volume) -> bool:
        return volume.projected is not None

    async def files(self, pod: Pod, volume: Volume, reader: Reader) -> dict[str, File]:
        """Return the files of all sources; raises one VolumeError for all that is wrong."""
        assert volume.projected is not None
        files: dict[str, File] = {}
        wrong: list[str] = []
        for source in volume.projected.sources:
            try:
                files |= await _of_one(reader, source, volume.projected.default_mode)
            except VolumeError as error:
                wrong.append(str(error))
        if wrong:
            raise VolumeError(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")
        return files


async def _of_one(reader: Reader, source: VolumeProjection, default_mode: int) -> dict[str, File]:
    if (secret := source.secret) is not None:
        return await secret_files(reader, secret.name, secret.items, default_mode, optional=secret.optional)
    if source.config_map is not None:
        return await config_map_files(reader, source.config_map, default_mode)
    if source.downward_api is not None:
        return downward_files(reader, source.downward_api, default_mode)
    if (token := source.service_account_token) is not None:
        return {token.path: _credential(reader.pod, (await reader.token(token)).encode(), default_mode)}
    if (bundle := source.cluster_trust_bundle) is not None:
        return {bundle.path: _credential(reader.pod, await trust_bundle_file(reader, bundle), default_mode)}
    return {}


def _credential(pod: Pod, content: bytes, default_mode: int) -> File:
    """Return the file that the pod's one user owns, if all containers run as the same.

    Source: Kubernetes documentation, "Projected Volumes": interaction with security contexts.
    """
    declared = (*pod.spec.containers, *pod.spec.init_containers, *pod.spec.ephemeral_containers)
    users = {effective_security_context(pod, container).run_as_user for container in declared}
    user = users.pop() if len(users) == 1 else None
    private = user is not None or pod.spec.security_context.fs_group is not None
    return File(content, _PRIVATE if private else default_mode, user)
