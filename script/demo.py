"""Runs the recipe as printed, in an instance of its own, and shows that nothing is left of it afterwards."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
INSTANCE = "demo"
IMAGE = "centos:7"
PROMPT = re.compile(rb"[#$] $")
NEXT_PROMPT = re.compile(rb"\n[^\n]*[#$] $")
"""A prompt on a line of its own: a shell that is told a new size draws the present one again."""
STEP_TIMEOUT = 60.0 * float(os.environ.get("PODSTEAD_TEST_SLOWNESS", "1"))


class DemoFailed(Exception):
    """A step did not give what the recipe prints."""


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(*argv: str, env: dict[str, str], check: bool = True, show: str | None = None) -> str:
    """Print a command and its output; returns the output."""
    print(f"$ {show or ' '.join(argv)}", flush=True)
    done = subprocess.run(
        argv,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=STEP_TIMEOUT,
        cwd=REPOSITORY / "examples",
    )
    print(done.stdout, end="", flush=True)
    if check and done.returncode != 0:
        raise DemoFailed(f"{argv[0]} ended with code {done.returncode}")
    return done.stdout


class Terminal:
    """A command on a real pseudo terminal; what it shows is printed as it comes."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        print(f"$ {' '.join(argv)}", flush=True)
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.execvpe(argv[0], argv, env)
        self._shown = b""

    def until_prompt(self, prompt: re.Pattern[bytes] = PROMPT) -> str:
        """Wait for a shell's prompt; returns what was shown before it."""
        deadline = time.monotonic() + STEP_TIMEOUT
        while not prompt.search(self._shown):
            if not self._read(deadline):
                raise DemoFailed(f"no prompt; the terminal shows: {self._shown.decode(errors='replace')!r}")
        shown, self._shown = self._shown.decode(errors="replace"), b""
        return shown

    def type(self, line: str) -> str:
        os.write(self._master, line.encode() + b"\n")
        return self.until_prompt(NEXT_PROMPT)

    def leave(self) -> None:
        """Type exit and wait for the end of the command."""
        os.write(self._master, b"exit\n")
        deadline = time.monotonic() + STEP_TIMEOUT
        while self._read(deadline):
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._master)
        if status != 0:
            raise DemoFailed(f"the terminal session ended with status {status}")

    def _read(self, deadline: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            os.kill(self._pid, signal.SIGKILL)
            raise DemoFailed("the terminal shows nothing more")
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the other end is closed
            return False
        sys.stdout.write(data.decode(errors="replace").replace("\r\n", "\n"))
        sys.stdout.flush()
        self._shown += data
        return bool(data)


def expect(text: str, pattern: str) -> None:
    if not re.search(pattern, text):
        raise DemoFailed(f"expected {pattern!r} in {text!r}")


def provide_image(env: dict[str, str], scratch: Path) -> None:
    say(f"the image {IMAGE}")
    pulled = subprocess.run(
        ["podstead", "image", "pull", "--name", INSTANCE, IMAGE],
        env=env,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    print(f"$ podstead image pull {IMAGE}\n{pulled.stdout}{pulled.stderr}", end="", flush=True)
    if pulled.returncode == 0:
        return
    print(f"No registry answers here: a stand-in for {IMAGE} is built from Debian's bash-static and busybox-static.")
    rootfs = scratch / "standin.tar"
    run(
        str(REPOSITORY / "script" / "make-standin-image"),
        str(rootfs),
        env=env,
        show="script/make-standin-image standin.tar",
    )
    run(
        "podstead",
        "image",
        "import",
        "--name",
        INSTANCE,
        str(rootfs),
        IMAGE,
        env=env,
        show=f"podstead image import standin.tar {IMAGE}",
    )


def recipe(env: dict[str, str]) -> None:
    say("the recipe")
    expect(run("kubectl", "create", "-f", "exchangedata.yaml", env=env), r"^pod/sharevol created$")
    run("kubectl", "wait", "--for=condition=Ready", "pod/sharevol", f"--timeout={STEP_TIMEOUT:.0f}s", env=env)
    run("kubectl", "get", "pods", "-o", "wide", env=env)
    first = Terminal(["kubectl", "exec", "sharevol", "-c", "c1", "-i", "-t", "--", "bash"], env)
    first.until_prompt()
    expect(first.type("mount | grep xchange"), r" on /tmp/xchange type \S+ \(rw")
    first.type("echo 'some data' > /tmp/xchange/data")
    first.leave()
    second = Terminal(["kubectl", "exec", "sharevol", "-c", "c2", "-i", "-t", "--", "bash"], env)
    second.until_prompt()
    expect(second.type("mount | grep /tmp/data"), r" on /tmp/data type \S+ \(rw")
    expect(second.type("cat /tmp/data/data"), r"some data")
    second.leave()
    say("the end of the pod takes the volume with it")
    run("kubectl", "delete", "pod", "sharevol", "--grace-period=1", env=env)


def leftovers(instance: str = INSTANCE) -> list[str]:
    """Return what is left of the instance on this machine."""

    def lines(*argv: str) -> list[str]:
        return subprocess.run(argv, text=True, capture_output=True, timeout=10).stdout.splitlines()

    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"/podstead/{instance}/" in words or f"podstead.cli.serve {instance} " in words:
            found.append(f"process {process.parent.name}: {words[:100]}")
    found += [f"mount {line}" for line in lines("cat", "/proc/mounts") if f"/podstead/{instance}" in line]
    found += [f"link {line}" for line in lines("ip", "-o", "link") if re.search(r"\bpst[0-9a-f]", line)]
    found += [f"nft {line}" for line in lines("nft", "list", "tables") if f"podstead-{instance}" in line]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/podstead-{instance}")]
    found += [
        f"folder {path}"
        for path in (Path("/run/podstead") / instance, Path("/var/lib/podstead") / instance)
        if path.exists()
    ]
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        kubeconfig = scratch / "kubeconfig"
        env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        before = leftovers()
        failed = None
        try:
            say("podstead")
            run("podstead", "up", "--name", INSTANCE, env=env)
            provide_image(env, scratch)
            recipe(env)
            run("podstead", "status", "--name", INSTANCE, env=env)
        except (DemoFailed, subprocess.TimeoutExpired, OSError) as error:
            failed = error
        say("afterwards")
        run("podstead", "down", "--name", INSTANCE, "--purge", env=env, check=failed is None)
        left = [line for line in leftovers() if line not in before]
        print("left on this machine: " + ("\n  ".join(left) or "nothing"))
    if failed is not None:
        print(f"demo: {failed}", file=sys.stderr)
    return 1 if failed is not None or left else 0


if __name__ == "__main__":
    sys.exit(main())
