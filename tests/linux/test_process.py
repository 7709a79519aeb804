"""The subprocess helper, with real children."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from podstead.linux import process


async def test_run_returns_code_and_both_streams() -> None:
    done = await process.run(["sh", "-c", "cat; echo oops >&2; exit 3"], input=b"hello")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"hello", b"oops\n")


async def test_input_may_be_empty_or_large() -> None:
    assert (await process.run(["cat"], input=b"")).stdout == b""
    large = os.urandom(1 << 20)
    assert (await process.run(["cat"], input=large)).stdout == large


async def test_check_raises_with_the_last_line() -> None:
    with pytest.raises(process.ProcessError, match=r"sh ended with code 2: second$"):
        await process.run(["sh", "-c", "echo first >&2; echo second >&2; exit 2"], check=True)


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        await process.run(["no-such-program"])


async def test_timeout_kills_and_reaps() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await process.run(["sleep", "100"], timeout=0.05)
    assert time.monotonic() - started < 10


async def test_cancelling_kills_the_child() -> None:
    task = asyncio.create_task(process.run(["sleep", "100"]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_daemon_left_behind_does_not_hold_up_run() -> None:
    started = time.monotonic()
    done = await process.run(["sh", "-c", "sleep 20 & echo $!"])
    os.kill(int(done.stdout), signal.SIGKILL)
    assert time.monotonic() - started < 10


async def test_any_number_may_wait_and_one_may_give_up() -> None:
    child = process.spawn(["cat"], stdin=subprocess.PIPE)
    impatient = asyncio.create_task(child.wait())
    patient = [asyncio.create_task(child.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    child.kill()
    assert await asyncio.gather(*patient) == [-signal.SIGKILL] * 3
    assert await child.wait() == -signal.SIGKILL


async def test_a_signal_after_the_end_is_no_error() -> None:
    child = process.spawn(["true"])
    assert await child.wait() == 0
    child.kill()
    assert child.returncode == 0


async def test_a_signal_may_reap_before_wait() -> None:
    child = process.spawn(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
    child.send_signal(signal.SIGTERM)
    assert await child.wait() == 0


async def test_children_inherit_only_what_they_are_given() -> None:
    read, write = os.pipe()
    try:
        done = await process.run(["ls", "/proc/self/fd"], pass_fds=[write])
    finally:
        os.close(read)
        os.close(write)
    names = {int(name) for name in done.stdout.split()}
    assert write in names
    assert read not in names


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_waiting_leaves_no_descriptor() -> None:
    before = _open_files()
    await process.run(["true"], input=b"x")
    assert _open_files() == before


async def test_environment_and_directory() -> None:
    done = await process.run(["/bin/sh", "-c", "echo $ONLY; pwd"], env={"ONLY": "this"}, cwd="/")
    assert done.stdout == b"this\n/\n"
