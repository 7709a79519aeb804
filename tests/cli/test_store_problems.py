"""What a user is told to do about a database that cannot be opened."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstead.cli.server import _store_step
from podstead.linux import mounts
from podstead.store.base import StoreError
from podstead.store.sqlite import SQLiteStore


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounts.mount("tmpfs", tmp_path, "tmpfs", data="size=8k")
    yield tmp_path
    mounts.umount(tmp_path, lazy=True)


async def step_for(path: Path) -> str:
    with pytest.raises(StoreError) as error:
        await SQLiteStore(path).open()
    return _store_step(error.value)


async def test_nobody_is_told_to_throw_away_what_only_lacks_room(small_disk: Path) -> None:
    assert "free some space" in await step_for(small_disk / "state.db")


async def test_what_is_no_database_is_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database " * 1000)
    assert "--purge" in await step_for(tmp_path / "state.db")


async def test_only_the_owner_reads_the_database(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.db")
    await store.open()
    await store.create("/registry/secrets/a/b", b"secret")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    await store.close()
    assert modes == {0o600}
