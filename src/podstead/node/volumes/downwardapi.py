"""downwardAPI: the pod's own fields, and its containers' resources, as files in memory.

holds it      a tmpfs of the pod
lives         as long as the pod; labels and annotations that change are shown within a second
loses it      the end of the pod, or of the node, after which it is filled anew
"""

from __future__ import annotations

from podstead.node.fields import metadata_text, resource_text
from podstead.node.volumes.atomic import File
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.content import Reader
from podstead.objects.pod import Pod
from podstead.objects.volumes import DownwardAPIFile, DownwardAPIProjection, Volume


class DownwardAPIType:
    """See ContentType."""

    kind = "downwardAPI"
    directory = "downward-api"
    in_memory = True

    def serves(self, volume: Volume) -> bool:
        return volume.downward_api is not None

    async def files(self, pod: Pod, volume: Volume, reader: Reader) -> dict[str, File]:
        assert volume.downward_api is not None
        return downward_files(reader, volume.downward_api, volume.downward_api.default_mode)


def downward_files(reader: Reader, source: DownwardAPIProjection, default_mode: int) -> dict[str, File]:
    """Return what `source` shows of the pod; raises VolumeError for what no pod has."""
    reader.shows_pod()
    return {
        item.path: File(_text(reader, item).encode(), default_mode if item.mode is None else item.mode)
        for item in source.items
    }


def _text(reader: Reader, item: DownwardAPIFile) -> str:
    try:
        if item.field_ref is not None:
            return metadata_text(reader.pod, item.field_ref.field_path)
        if (resource := item.resource_field_ref) is not None:
            named, unit = resource.container_name, resource.divisor
            return resource_text(reader.pod, named, resource.resource, unit, reader.allocatable)
    except ValueError as error:
        raise VolumeError(str(error)) from error
    return ""
