"""The recipe as printed, with the real kubectl on a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from support.instance import REPOSITORY, SLOWNESS, TestInstance

pytestmark = pytest.mark.vm

PROMPT = re.compile(r"[#$] $")
NEXT_PROMPT = re.compile(r"\n[^\n]*[#$] $")
"""A prompt on a line of its own: a shell that is told a new size draws the present one again."""


class Terminal:
    """A command on a pseudo terminal of `rows` x `columns`."""

    def __init__(self, argv: list[str], env: dict[str, str], rows: int = 33, columns: int = 111) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, env)
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, pattern: re.Pattern[str], timeout: float = 30) -> str:
        shown, deadline = "", time.monotonic() + timeout * SLOWNESS
        while not pattern.search(shown):
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0], f"only {shown!r}"
            shown += os.read(self.master, 65536).decode(errors="replace")
        return shown

    def type(self, line: str) -> str:
        os.write(self.master, line.encode() + b"\n")
        return self.until(NEXT_PROMPT)

    def leave(self, line: bytes = b"exit\n") -> int:
        """Type `line`, wait for the end, return the exit code."""
        os.write(self.master, line)
        while select.select([self.master], [], [], 30 * SLOWNESS)[0]:
            try:
                if not os.read(self.master, 65536):
                    break
            except OSError:
                break
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        return code


def file_system(path: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def test_the_recipe_runs_as_printed(instance: TestInstance) -> None:
    created = instance.kubectl("create", "-f", str(REPOSITORY / "examples" / "exchangedata.yaml"))
    assert created.stdout == "pod/sharevol created\n", created.stderr
    instance.wait("sharevol")

    c1 = Terminal(["kubectl", "exec", "sharevol", "-c", "c1", "-i", "-t", "--", "bash"], instance.env)
    c1.until(PROMPT)
    # As printed, where the data directory is on a disk: Debian 13 keeps /tmp, where a test's is, in memory.
    device = "tmpfs" if file_system(instance.data) == "tmpfs" else r"/dev/\S+"
    assert re.search(rf"{device} on /tmp/xchange type \S+ \(rw,", c1.type("mount | grep xchange"))
    c1.type("echo 'some data' > /tmp/xchange/data")
    assert c1.leave() == 0

    c2 = Terminal(["kubectl", "exec", "sharevol", "-c", "c2", "-i", "-t", "--", "bash"], instance.env)
    c2.until(PROMPT)
    assert re.search(rf"{device} on /tmp/data type \S+ \(rw,", c2.type("mount | grep /tmp/data"))
    assert "\r\nsome data\r\n" in c2.type("cat /tmp/data/data")
    assert c2.leave(b"exit 7\n") == 7

    uid = instance.get("pod", "sharevol")["metadata"]["uid"]
    volume = instance.data / "pods" / uid / "volumes" / "kubernetes.io~empty-dir" / "xchange"
    assert (volume / "data").read_text() == "some data\n"
    assert volume.stat().st_mode & 0o7777 == 0o777
    instance.kubectl("delete", "pod", "sharevol", "--grace-period=1", check=True)
    assert not volume.exists()


def test_a_terminal_has_the_size_of_the_users_and_follows_it(instance: TestInstance) -> None:
    from support.instance import pod

    instance.create(pod("terminal"))
    instance.wait("terminal")
    shell = Terminal(["kubectl", "exec", "terminal", "-it", "--", "bash"], instance.env, rows=40, columns=123)
    shell.until(PROMPT)
    instance.until(lambda: "40 123" in shell.type("stty size"))
    import fcntl
    import struct
    import termios

    fcntl.ioctl(shell.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
    instance.until(lambda: "50 140" in shell.type("stty size"))
    assert shell.leave() == 0
    instance.kubectl("delete", "pod", "terminal", check=True)
