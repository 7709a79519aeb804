"""configMap: the keys of a ConfigMap as files, on the node's disk.

holds it      a directory of the pod on the node's disk, filled from the API
lives         as long as the pod; content follows the ConfigMap, within a second, whole sets at a time
loses it      the end of the pod; a ConfigMap that is deleted while it is mounted takes nothing away,
              unless the volume says `optional`
waits         without the ConfigMap, or a key that `items` names, the pod waits and goes on when it appears
"""

from __future__ import annotations

from base64 import b64decode

from podstead.node.volumes.atomic import File
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.content import Reader
from podstead.node.volumes.payload import selected
from podstead.objects.pod import Pod
from podstead.objects.volumes import ConfigMapProjection, Volume


class ConfigMapType:
    """See ContentType."""

    kind = "configMap"
    directory = "configmap"
    in_memory = False

    def serves(self, volume: Volume) -> bool:
        return volume.config_map is not None

    async def files(self, pod: Pod, volume: Volume, reader: Reader) -> dict[str, File]:
        assert volume.config_map is not None
        return await config_map_files(reader, volume.config_map, volume.config_map.default_mode)


async def config_map_files(reader: Reader, source: ConfigMapProjection, default_mode: int) -> dict[str, File]:
    """Return what `source` shows; raises VolumeError where something is missing that is not optional."""
    found = await reader.object("configmaps", source.name, reader.namespace)
    if found is None and not source.optional:
        raise VolumeError(f'configmap "{source.name}" not found')
    found = found or {}
    content = {key: text.encode() for key, text in (found.get("data") or {}).items()}
    content |= {key: b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
    missing = "configmap references non-existent config key"
    return selected(content, source.items, default_mode, optional=source.optional, missing=missing)
