"""exec and attach: streams, terminals, exit codes, and what is told when a command cannot be started."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runtime_instance import DEADLINE, Instance, Pod

from podstead.node.runtime import attach as attach_module
from podstead.node.runtime.base import AttachStream, CreateFailed, ExecConfig, NotFound, RuntimeFailure, Security


async def _run(pod: Pod, container_id: str, *argv: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Run to the end with files as streams; returns code, stdout and stderr."""
    files = [os.memfd_create(name) for name in ("in", "out", "err")]
    try:
        os.write(files[0], stdin)
        os.lseek(files[0], 0, os.SEEK_SET)
        process = await pod.runtime.exec(container_id, ExecConfig(argv, False, *files))
        async with asyncio.timeout(DEADLINE):
            code = await process.wait()
        out, err = (os.pread(file, 1 << 20, 0).decode() for file in files[1:])
        return code, out, err
    finally:
        for file in files:
            os.close(file)


@pytest.fixture
async def sleeper(pod: Pod) -> str:
    return await pod.run("sleep", "10000", env=(("GREETING", "hello"),), user="web")


async def test_streams_and_code_pass_through(pod: Pod, sleeper: str) -> None:
    result = await _run(pod, sleeper, "sh", "-c", "cat; echo err >&2; exit 5", stdin=b"in")
    assert result == (5, "in", "err\n")
    assert (await _run(pod, sleeper, "true"))[0] == 0
    assert (await _run(pod, sleeper, "sh", "-c", "kill -9 $$"))[0] == 137


async def test_command_has_the_containers_environment_user_and_rights(pod: Pod, sleeper: str) -> None:
    assert await _run(pod, sleeper, "sh", "-c", "echo $GREETING $HOME; id -u") == (0, "hello /home/web\n1000\n", "")
    bare = await pod.run("sleep", "10000", name="c2", security=Security(capabilities_drop=("ALL",)))
    code, out, _ = await _run(
        pod, bare, "sh", "-c", "while read k v; do [ $k = CapEff: ] && echo $v; done < /proc/self/status; true"
    )
    assert (code, out) == (0, "0000000000000000\n")


@pytest.mark.parametrize(
    ("command", "text", "code"),
    [
        ("nosuch", r'exec: "nosuch": executable file not found in \$PATH', 127),
        ("/bin/nosuch", "no such file or directory", 127),
        ("/etc", "permission denied|is a directory|is not a regular file", 126),  # each release has words of its own
    ],
)
async def test_command_that_cannot_start_is_told(pod: Pod, sleeper: str, command: str, text: str, code: int) -> None:
    process = await pod.runtime.exec(sleeper, ExecConfig([command]))
    with pytest.raises(CreateFailed) as caught:
        await process.wait()
    assert re.search(text, str(caught.value))
    assert caught.value.exit_code == code


async def test_only_running_containers_take_commands(pod: Pod) -> None:
    container_id = await pod.create("true")
    with pytest.raises(NotFound):
        await pod.runtime.exec(container_id, ExecConfig(["true"]))
    with pytest.raises(NotFound):
        await pod.runtime.exec("f" * 64, ExecConfig(["true"]))
    await pod.runtime.start_container(container_id)
    await pod.end(container_id)
    with pytest.raises(NotFound):
        await pod.runtime.exec(container_id, ExecConfig(["true"]))
    with pytest.raises(RuntimeFailure):
        await pod.runtime.attach(container_id)


async def test_kill_ends_the_command_and_not_the_container(pod: Pod, sleeper: str) -> None:
    read, write = os.pipe()
    process = await pod.runtime.exec(sleeper, ExecConfig(["sh", "-c", "echo up; exec sleep 9999"], False, -1, write))
    os.close(write)
    await _readable(read)
    process.kill()
    async with asyncio.timeout(DEADLINE):
        assert await process.wait() == 137
    process.kill()
    os.close(read)
    assert (await _run(pod, sleeper, "ls", "/proc"))[1].split().count("1") == 1
    assert not list(_exec_files(pod, sleeper))


async def test_kill_before_the_command_has_begun(pod: Pod, sleeper: str) -> None:
    process = await pod.runtime.exec(sleeper, ExecConfig(["sleep", "9999"]))
    process.kill()
    async with asyncio.timeout(DEADLINE):
        try:
            assert await process.wait() != 0
        except CreateFailed:
            pass
    _, out, _ = await _run(pod, sleeper, "sh", "-c", "for f in /proc/[0-9]*; do cat $f/cmdline 2>/dev/null; done; true")
    assert "9999" not in out


async def test_terminal_is_real_and_follows_its_size(pod: Pod, sleeper: str) -> None:
    master, slave = pty.openpty()
    _set_size(slave, 24, 80)
    script = "trap 'echo told' WINCH; while :; do stty size; sleep 0.05; done"
    process = await pod.runtime.exec(sleeper, ExecConfig(["bash", "-c", script], True, slave))
    seen = b""
    while b"24 80" not in seen:
        seen += await _readable(master)
    _set_size(slave, 33, 101)
    process.resized()
    while b"33 101" not in seen or b"told" not in seen:
        seen += await _readable(master)
    ended = asyncio.ensure_future(process.wait())
    async with asyncio.timeout(DEADLINE):
        while not ended.done():
            os.write(master, b"\x03")  # bash does not care for one that its child has survived
            await asyncio.wait({ended}, timeout=0.1)
    assert ended.result() == 130
    os.close(slave)
    os.close(master)


# -- attach


async def test_attach_carries_streams_apart_and_stdin_once(pod: Pod) -> None:
    script = "while read line; do echo got $line; echo err >&2; done; echo eof"
    container_id = await pod.create("sh", "-c", script, stdin=True, stdin_once=True)
    stream = await pod.runtime.attach(container_id)
    await pod.runtime.start_container(container_id)
    await stream.write(b"one\n")
    await stream.close_stdin()
    async with asyncio.timeout(DEADLINE):
        seen = [item async for item in stream.output()]
    assert b"".join(data for number, data in seen if number == 1) == b"got one\neof\n"
    assert b"".join(data for number, data in seen if number == 2) == b"err\n"
    assert (await pod.end(container_id)).exit_code == 0


async def test_stdin_stays_open_between_clients(pod: Pod) -> None:
    container_id = await pod.run("sh", "-c", "while read line; do echo got $line; done", stdin=True)
    for word in ("one", "two"):
        stream = await pod.runtime.attach(container_id)
        await stream.write(f"{word}\n".encode())
        assert await _seen(stream, f"got {word}")
        await stream.close()


async def test_attached_terminal_is_resized(pod: Pod) -> None:
    script = "echo up; while read line; do stty size; done"
    container_id = await pod.create("bash", "-c", script, stdin=True, tty=True)
    stream = await pod.runtime.attach(container_id)
    await pod.runtime.start_container(container_id)
    assert await _seen(stream, "up")
    await stream.resize(101, 33)
    for _ in range(100):
        await stream.write(b"\n")
        if await _seen(stream, "33 101", " "):
            break
    else:
        pytest.fail("the terminal never had the new size")
    await stream.close()


async def test_slow_client_is_cut_and_the_container_goes_on(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach_module, "BUFFER_LIMIT", 64 << 10)
    container_id = await pod.create("sh", "-c", "yes | head -c 1000000; exit 4")
    stream = await pod.runtime.attach(container_id)
    await pod.runtime.start_container(container_id)
    assert (await pod.end(container_id)).exit_code == 4
    with pytest.raises(RuntimeFailure, match="fast enough"):
        async for _ in stream.output():
            pass


async def test_writing_to_a_container_that_does_not_read_ends_with_the_container(pod: Pod) -> None:
    container_id = await pod.run("sleep", "10000", stdin=True)
    stream = await pod.runtime.attach(container_id)
    writing = asyncio.create_task(stream.write(b"x" * (4 << 20)))
    await asyncio.wait({writing}, timeout=0.05)
    await pod.runtime.stop_container(container_id, 0)
    async with asyncio.timeout(DEADLINE):
        await writing
        assert [item async for item in stream.output()] == []


async def test_attach_where_paths_are_longer_than_a_socket_address(tmp_path: Path, layer: Path) -> None:
    instance = Instance.fresh(tmp_path, layer, suffix="-" + "x" * 48)
    runtime = instance.make_runtime()
    try:
        await runtime.start()
        pod = Pod(instance, runtime, await runtime.run_pod_sandbox(instance.sandbox()))
        container_id = await pod.run_until("up", "bash", "-c", "echo up; read line", stdin=True, tty=True)
        await runtime.stop_container(container_id, 0)
        await runtime.remove_pod_sandbox(pod.sandbox.id)
        assert not any(instance.remains().values())
        await runtime.close()
    finally:
        instance.destroy()


def _exec_files(pod: Pod, container_id: str) -> list[Path]:
    return list((pod.instance.paths.containers / container_id).glob("exec-*"))


def _set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def _readable(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        async with asyncio.timeout(DEADLINE):
            await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 4096)


async def _seen(stream: AttachStream, *words: str) -> bool:
    """Read until one of `words` has come; True if it was the first."""
    text = ""
    output: AsyncIterator[tuple[int, bytes]] = stream.output()
    async with asyncio.timeout(DEADLINE):
        async for _, data in output:
            text += data.decode()
            for word in words:
                if word in text:
                    return word == words[0]
    return False
