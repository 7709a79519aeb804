"""A virtual machine under qemu without KVM: boots an image, runs the source disk's job, returns its exit code."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from image import REPOSITORY, Image, cache, make_disk

LOST = 125
"""Exit code where the machine told none."""
_CONSOLE_LINES = 25


def run(image: Image, command: str, *, timeout: float, worktree: bool) -> int:
    """Run `command` (bash) inside; its output comes to stdout. Returns its exit code, LOST if the machine gave none.

    The image is not changed: what is written goes to files that end with the machine.
    """
    with _scratch() as scratch:
        tree = scratch / "tree"
        _copy_source(tree, worktree)
        _compile(tree / "src", image.python)
        (tree / ".vm-job").write_text(command + "\n")
        make_disk(tree, scratch / "source.ext4", "512M", "podstead-src")
        shutil.rmtree(tree)
        failure = _boot(image, scratch, timeout)
        told = (scratch / "exit").read_text().strip() if (scratch / "exit").exists() else ""
        if not failure and told.isdigit():
            return int(told)
        console = (scratch / "console").read_text(errors="replace").splitlines()
        console = [line for line in console if line.strip("\rM") and "podstead-job.service/start running" not in line]
        print("test-vm: the last lines of the console:", *console[-_CONSOLE_LINES:], sep="\n  ")
        print(f"test-vm: {failure or 'the machine ended without telling an exit code'}", flush=True)
        return LOST


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for one run; what an earlier run left that was killed goes too."""
    with contextlib.ExitStack() as stack:
        with (cache() / ".runs.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for other in cache().glob("run-*"):
                _remove_if_left(other)
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=cache()))
            held = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, held)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield Path(name)


def _remove_if_left(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # its run goes on
    finally:
        os.close(descriptor)


def _copy_source(tree: Path, worktree: bool) -> None:
    """Put the commit, or with `worktree` the files as they are now, into `tree`."""
    tree.mkdir()
    git = ["git", "-C", str(REPOSITORY)]
    if not worktree:
        archive = subprocess.run([*git, "archive", "HEAD"], check=True, capture_output=True, timeout=60).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as source:
            source.extractall(tree, filter="fully_trusted")
        return
    argv = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.split("\0"):
        if name and (REPOSITORY / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, tree / name)


def _compile(tree: Path, python: str) -> None:
    """Spare the machine the compiling where its Python is here too."""
    if shutil.which(python):
        argv = [python, "-m", "compileall", "-q", str(tree)]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


def _boot(image: Image, scratch: Path, timeout: float) -> str:
    """Run the machine to its end; returns why it failed, or nothing."""
    # Without an open stdin qemu's stdio takes its output for unplugged, and the job's is lost.
    process = subprocess.Popen(_argv(image, scratch), stdin=subprocess.PIPE, env={**os.environ, "TMPDIR": str(scratch)})
    try:
        code = process.wait(timeout)
        return f"qemu ended with code {code}" if code else ""
    except subprocess.TimeoutExpired:
        return f"the machine was not done after {timeout:.0f} s"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _argv(image: Image, scratch: Path) -> list[str]:
    cores = min(os.cpu_count() or 1, 4)
    kernel = "root=/dev/vda rw console=ttyS0 loglevel=4 net.ifnames=0 fsck.mode=skip mitigations=off"
    argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config"]
    argv += ["-display", "none", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512"]
    argv += ["-cpu", "max", "-smp", str(cores)]
    argv += ["-m", "2048", "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", kernel]
    for disk in (image.root, scratch / "source.ext4"):
        argv += ["-drive", f"file={disk},format=raw,if=virtio,snapshot=on,cache=unsafe"]
    argv += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
    argv += ["-chardev", f"file,id=console,path={scratch / 'console'}", "-serial", "chardev:console"]
    argv += ["-device", "virtio-serial-pci", "-chardev", "stdio,id=output,signal=off"]
    argv += ["-chardev", f"file,id=exit,path={scratch / 'exit'}"]
    for port in ("output", "exit"):
        argv += ["-device", f"virtserialport,chardev={port},name=org.podstead.{port}"]
    return argv
