"""secret: the keys of a Secret as files, in memory.

holds it      a tmpfs of the pod, which is never swapped where the kernel can promise that: nothing is on the disk
lives         as long as the pod; content follows the Secret, within a second, whole sets at a time
loses it      the end of the pod, or of the node, after which it is filled anew from the API
waits         without the Secret, or a key that `items` names, the pod waits and goes on when it appears
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence

from podstead.node.volumes.atomic import File
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.content import Reader
from podstead.node.volumes.payload import selected
from podstead.objects.pod import Pod
from podstead.objects.volumes import KeyToPath, Volume


class SecretType:
    """See ContentType."""

    kind = "secret"
    directory = "secret"
    in_memory = True

    def serves(self, volume: Volume) -> bool:
        return volume.secret is not None

    async def files(self, pod: Pod, volume: Volume, reader: Reader) -> dict[str, File]:
        source = volume.secret
        assert source is not None
        return await secret_files(
            reader, source.secret_name, source.items, source.default_mode, optional=source.optional
        )


async def secret_files(
    reader: Reader, name: str, items: Sequence[KeyToPath], default_mode: int, *, optional: bool
) -> dict[str, File]:
    """Return what a volume shows of the Secret `name`; raises VolumeError for what is missing and not optional."""
    found = await reader.object("secrets", name, reader.namespace)
    if found is None and not optional:
        raise VolumeError(f'secret "{name}" not found')
    content = {key: b64decode(text) for key, text in ((found or {}).get("data") or {}).items()}
    return selected(content, items, default_mode, optional=optional, missing="references non-existent secret key")
