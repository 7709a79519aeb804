"""The runtime's records where the disk has no room."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstead import clock
from podstead.linux import mounts
from podstead.node.runtime.records import Binary, ContainerRecord, Phase, RecordFolder, boot_id


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four pages, three of which are free once there is a record."""
    mounts.mount("tmpfs", tmp_path, "tmpfs", data="size=16k")
    yield tmp_path
    mounts.umount(tmp_path, lazy=True)


def make_record() -> ContainerRecord:
    return ContainerRecord(
        "a" * 64,
        "s",
        "u",
        "c",
        0,
        "i",
        "i",
        "/log",
        {},
        clock.now(),
        boot_id(),
        Binary("/bin/true"),
        phase=Phase.RUNNING,
    )


def test_a_record_that_does_not_fit_leaves_the_one_before_whole(small_disk: Path) -> None:
    records, record = RecordFolder(small_disk / "containers", ContainerRecord), make_record()
    records.prepare()
    records.save(record)
    record.phase, record.message = Phase.EXITED, "x" * 14_000
    with pytest.raises(OSError) as error:
        records.save(record)
    assert error.value.errno == errno.ENOSPC
    records.save_if_possible(record)
    (kept,) = records.load()
    assert (kept.phase, kept.message) == (Phase.RUNNING, "")
