"""Which keys of a ConfigMap or a Secret become which files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podstead.node.volumes.atomic import File
from podstead.node.volumes.base import VolumeError
from podstead.objects.volumes import KeyToPath


def selected(
    content: Mapping[str, bytes], items: Sequence[KeyToPath], default_mode: int, *, optional: bool, missing: str
) -> dict[str, File]:
    """Return all of `content` as files, or the `items` of it.

    Raises VolumeError (`missing` and the key) where a key is not there and not `optional`.
    """
    if not items:
        return {key: File(value, default_mode) for key, value in content.items()}
    files = {}
    for item in items:
        if item.key in content:
            files[item.path] = File(content[item.key], default_mode if item.mode is None else item.mode)
        elif not optional:
            raise VolumeError(f"{missing}: {item.key}")
    return files
