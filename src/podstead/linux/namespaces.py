"""unshare(2) and setns(2) in throw-away threads, and namespaces pinned by bind mounts (no pause process)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from podstead.linux import mounts

T = TypeVar("T")

CLONE_FS = 0x200
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x40000000
_KINDS = {"uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC, "net": CLONE_NEWNET}
ALL = tuple(_KINDS)

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


def in_mounts(descriptor: int, work: Callable[[], T]) -> T:
    """Return what `work` returns in the mount namespace `descriptor`, in a thread of its own; a child that it starts
    stays there. Blocks for some 0.1 ms beside `work`: for what must not be cancelled half-way. Raises what `work`
    raises, OSError.
    """

    def enter() -> T:
        unshare(CLONE_FS)  # setns(2): not while root and working directory are shared with other threads
        setns(descriptor, CLONE_NEWNS)
        return work()

    return _in_thread(enter)


def copied_mounts(change: Callable[[], None], *, propagation: int) -> int:
    """Return a descriptor of a new mount namespace, a copy of this process's, after `change` has run in it.

    `propagation` is MS_SLAVE (what is unmounted here goes there too) or MS_PRIVATE. It lives until the descriptor is
    closed and the last process in it has ended. Blocking; raises OSError.
    """

    def copy() -> int:
        unshare(CLONE_NEWNS)
        mounts.mount("none", "/", flags=propagation | mounts.MS_REC)
        change()
        return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(copy)


def _in_thread(work: Callable[[], T]) -> T:
    outcome: Future[T] = Future()

    def body() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=body, name="namespace", daemon=True)
    thread.start()
    thread.join()
    return outcome.result()


async def pin(
    directory: Path, hostname: str, kinds: Iterable[str] = ALL, sysctls: Mapping[str, str] | None = None
) -> None:
    """Make new namespaces of `kinds` (UTS, named `hostname`, IPC and network) and pin them at directory/{uts,ipc,net}.

    `sysctls`, named with dots, are set in them. What an earlier call pinned there is let go. Raises OSError.
    """
    wanted = [kind for kind in _KINDS if kind in kinds]

    def work() -> None:
        if wanted:
            unshare(sum(_KINDS[kind] for kind in wanted))
        if "uts" in wanted:
            socket.sethostname(hostname)
        for name, value in (sysctls or {}).items():
            # The kernel shows those of the thread that looks.
            Path("/proc/sys", *name.split(".")).write_text(value)
        directory.mkdir(parents=True, exist_ok=True)
        for kind in wanted:
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
