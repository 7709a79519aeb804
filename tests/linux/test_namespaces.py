"""Pinned namespaces and threads that enter them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstead.linux import mounts, namespaces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox"
    for target in mounts.mounts_below(tmp_path):
        mounts.umount(target, lazy=True)


def _namespace(kind: str) -> str:
    return os.readlink(f"/proc/thread-self/ns/{kind}")  # noqa: PTH115


async def test_pinned_namespaces_are_new_and_stay(place: Path) -> None:
    own = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("uts", "ipc", "net")}  # noqa: PTH116
    await namespaces.pin(place, "pinned-host")
    for kind, inode in own.items():
        assert (place / kind).stat().st_ino != inode
        assert os.stat(f"/proc/self/ns/{kind}").st_ino == inode  # noqa: PTH116
    assert socket.gethostname() != "pinned-host"
    assert await namespaces.in_network(place / "net", lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]


async def test_unpin_leaves_nothing_and_may_be_repeated(place: Path) -> None:
    await namespaces.pin(place, "host")
    await namespaces.pin(place, "host")
    namespaces.unpin(place)
    namespaces.unpin(place)
    assert not place.exists()
    assert not mounts.mounts_below(place)


async def test_unpin_of_what_is_half_made(place: Path) -> None:
    place.mkdir()
    (place / "uts").touch()
    namespaces.unpin(place)
    assert not place.exists()


async def test_work_in_a_network_stays_in_its_thread(place: Path) -> None:
    await namespaces.pin(place, "host")
    before = _namespace("net")
    inside = await namespaces.in_network(place / "net", lambda: _namespace("net"))
    assert inside != before
    assert _namespace("net") == before
    assert await asyncio.to_thread(_namespace, "net") == before


async def test_errors_come_back(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await namespaces.in_network(place / "net", lambda: None)
    with pytest.raises(ZeroDivisionError):
        await namespaces.in_own_thread(lambda: 1 // 0)


async def test_a_caller_that_gives_up_does_no_harm() -> None:
    release, entered = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)

    task = asyncio.create_task(namespaces.in_own_thread(work))
    await asyncio.wait_for(entered.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await namespaces.in_own_thread(lambda: None)
