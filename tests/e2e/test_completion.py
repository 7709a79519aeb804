"""Completion in the shells themselves, each on a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from support.instance import SLOWNESS, TestInstance

PATIENCE = 15.0 * SLOWNESS
SHELLS = {
    "bash": (["bash", "--norc", "-i"], "source <(podstead completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(podstead completion zsh)"),
    "fish": (["fish", "--no-config"], "podstead completion fish | source"),
}


class Shell:
    """A shell on a pseudo-terminal."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, env)

    def until(self, pattern: str) -> str:
        """Return what is written until `pattern` is in it; control sequences are left out."""
        seen, deadline = b"", time.monotonic() + PATIENCE
        while True:
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\a\r]|.\x08", "", seen.decode(errors="replace"))
            if re.search(pattern, plain):
                return plain
            assert time.monotonic() < deadline, f"{pattern!r} does not come, but {plain!r}"
            if select.select([self.terminal], [], [], 0.1)[0]:
                seen += os.read(self.terminal, 65536)

    def tab(self, beginning: str, pattern: str) -> None:
        """Type `beginning` and Tab, expect `pattern`, and take the line back."""
        os.write(self.terminal, f"{beginning}\t".encode())
        self.until(pattern)
        os.write(self.terminal, b"\x15")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name}")) for name in SHELLS
    ]
)
def shell(request: pytest.FixtureRequest, instance: TestInstance) -> Iterator[Shell]:
    argv, setup = SHELLS[request.param]
    started = Shell(argv, {**instance.env, "PS1": "$ ", "TERM": "xterm", "HOME": str(instance.directory)})
    try:
        os.write(started.terminal, f"{setup}; echo rea''dy\n".encode())
        started.until("ready")
        yield started
    finally:
        started.close()


def test_tab_completes(shell: Shell, instance: TestInstance) -> None:
    name = instance.name
    shell.tab("podstead comp", "podstead completion ")
    shell.tab(f"podstead down --name={name[:-1]}", rf"--name={name}\b")
    shell.tab(f"podstead image rm --name {name} cent", "centos:7")
    shell.tab(f"podstead image rm --name {name} centos:", "centos:7")
    shell.tab(f"podstead kubectl --name {name} get configm", "configmaps")
    shell.tab(f"podstead kubectl --name {name} get cm --namespace=kube-sy", "--namespace=kube-system")
