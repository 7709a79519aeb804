"""What a pod takes of the disk."""

from __future__ import annotations

from pathlib import Path

from podstead.node.stats.disk import Disk
from podstead.paths import Paths


async def test_a_volume_counts_its_files_once_and_for_a_minute(tmp_path: Path) -> None:
    paths = Paths("x", tmp_path, tmp_path / "run")
    volume = paths.volume("u1", "empty-dir", "v")
    (volume / "below").mkdir(parents=True)
    (volume / "below/file").write_bytes(b"x" * 100_000)
    (volume / "again").hardlink_to(volume / "below/file")
    (volume / "elsewhere").symlink_to("/usr")
    disk = Disk(paths)
    space = (await disk.measure({"u1": ()}))["u1"].volumes["v"]
    assert 100_000 <= space.used < 200_000
    assert space.inodes_used == 4
    assert space.capacity > space.available > 0
    (volume / "more").write_bytes(b"x" * 100_000)
    assert (await disk.measure({"u1": ()}))["u1"].volumes["v"] == space
    assert await disk.measure({}) == {}
    assert (await disk.measure({"u1": ()}))["u1"].volumes["v"].used > space.used
