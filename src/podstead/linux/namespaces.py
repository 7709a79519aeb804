"""unshare(2) and setns(2) in throw-away threads, and namespaces pinned by bind mounts (no pause process)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from podstead.linux import mounts

T = TypeVar("T")

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x40000000
_KINDS = {"uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC, "net": CLONE_NEWNET}

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """unshare(2) of the calling thread; raises OSError."""
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")


def setns(descriptor: int, flags: int = 0) -> None:
    """setns(2) of the calling thread; raises OSError."""
    if _libc.setns(descriptor, flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


async def in_own_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own that ends with it: whatever namespaces it entered end with it too."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def resolve(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(resolve, result, error)
        except RuntimeError:
            return  # The loop was closed meanwhile: nobody waits for this any more.

    threading.Thread(target=body, name="namespace", daemon=True).start()
    return await future


async def pin(directory: Path, hostname: str) -> None:
    """Make new UTS (named `hostname`), IPC and network namespaces and pin them at directory/{uts,ipc,net}.

    What an earlier call pinned there is let go.
    """

    def work() -> None:
        unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
        socket.sethostname(hostname)
        directory.mkdir(parents=True, exist_ok=True)
        for kind in _KINDS:
            target = directory / kind
            _let_go(target)
            target.touch()
            mounts.mount(f"/proc/thread-self/ns/{kind}", target, flags=mounts.MS_BIND)

    await in_own_thread(work)


def unpin(directory: Path) -> None:
    """Let the pinned namespaces go and remove `directory`; what is not there is not an error."""
    for kind in _KINDS:
        target = directory / kind
        _let_go(target)
        target.unlink(missing_ok=True)
    if directory.exists():
        directory.rmdir()


def _let_go(target: Path) -> None:
    while mounts.umount(target, lazy=True):
        pass


async def in_network(netns: Path, work: Callable[[], T]) -> T:
    """Run `work` in the network namespace pinned at `netns`; sockets that it opens stay in that namespace."""

    def enter() -> T:
        descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor, CLONE_NEWNET)
        finally:
            os.close(descriptor)
        return work()

    return await in_own_thread(enter)
