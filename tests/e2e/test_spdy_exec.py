"""kubectl exec and cp by old and new kubectl: over WebSocket, over SPDY, and by kubectl 1.20, which has only that."""

from __future__ import annotations

import filecmp
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bulk import SIZE, bounded_memory
from support.instance import TIMEOUT, TestInstance, pod
from support.old_kubectl import FORMS, command
from support.terminal import Terminal


@pytest.fixture(scope="module", autouse=True)
def box(instance: TestInstance) -> Iterator[None]:
    """A running pod, `box`."""
    instance.create(pod("box"))
    instance.wait("box")
    yield
    instance.kubectl("delete", "pod", "box", "--force", "--grace-period=0")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def run(instance: TestInstance, form: str, *argv: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    program, extra = command(form)
    stdin = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [program, *argv], env={**instance.env, **extra}, capture_output=True, timeout=TIMEOUT, **stdin
    )


def test_outputs_and_the_exit_code(instance: TestInstance, form: str) -> None:
    done = run(instance, form, "exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.returncode) == (b"out\n", 7)
    assert done.stderr.startswith(b"err\n")


def test_input_ends_where_the_files_end_is(instance: TestInstance, form: str) -> None:
    done = run(instance, form, "exec", "-i", "box", "--", "sh", "-c", "cat; echo over", data=b"some data\n")
    assert (done.stdout, done.returncode) == (b"some data\nover\n", 0)


def test_a_reader_that_stops_early(instance: TestInstance, form: str) -> None:
    done = run(instance, form, "exec", "-i", "box", "--", "head", "-c", "5", data=bytes(8 << 20))
    assert (done.stdout, done.returncode) == (bytes(5), 0)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("exec", "nosuch", "--", "true"), b'pods "nosuch" not found'),
        (("exec", "box", "-c", "nosuch", "--", "true"), b"container nosuch is not valid for pod box"),
        (("exec", "box", "--", "nosuch"), b"executable file not found"),
    ],
)
def test_what_goes_wrong_is_said(instance: TestInstance, form: str, argv: tuple[str, ...], message: bytes) -> None:
    done = run(instance, form, *argv)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_terminal_with_its_size_and_signals(instance: TestInstance, form: str) -> None:
    program, extra = command(form)
    with Terminal([program, "exec", "-it", "box", "--", "bash"], {**instance.env, **extra}) as terminal:
        terminal.until(r"# ")
        terminal.type("tty; stty size\r")
        terminal.until(r"/dev/pts/\d+\r\n30 100\r\n")
        terminal.resize(77, 22)
        terminal.type("while ! stty size | grep 22.77; do sleep 0.05; done\r")
        terminal.until(r"22 77\r\n.*# ")
        terminal.type("sh -c 'echo asleep; exec sleep 1000'\r")
        terminal.until(r"\nasleep\r\n")
        terminal.type("\x03")
        terminal.until(r"# ")
        terminal.type("exit 5\r")
        assert terminal.end() == 5


def test_much_passes_each_way_unharmed_and_in_bounded_memory(instance: TestInstance, form: str) -> None:
    blob = os.urandom(SIZE)
    wanted = hashlib.sha256(blob).hexdigest()
    with bounded_memory(instance):
        upward = run(instance, form, "exec", "-i", "box", "--", "sha256sum", data=blob)
        assert upward.stdout.split()[0].decode() == wanted
        both = run(instance, form, "exec", "-i", "box", "--", "cat", data=blob)
        assert hashlib.sha256(both.stdout).hexdigest() == wanted


def test_cp_both_ways(instance: TestInstance, form: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "blob").write_bytes(os.urandom(3 << 20))
    (tmp_path / "tree" / "text").write_text("some data\n")
    program, extra = command(form)
    environment = {**instance.env, **extra}
    for source, target in ((str(tmp_path / "tree"), f"box:/tmp/{form}"), (f"box:/tmp/{form}", str(tmp_path / "back"))):
        done = subprocess.run([program, "cp", source, target], env=environment, capture_output=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
    compared = filecmp.dircmp(tmp_path / "tree", tmp_path / "back")
    assert (compared.left_only, compared.right_only, compared.diff_files) == ([], [], [])
    assert filecmp.cmp(tmp_path / "tree/below/blob", tmp_path / "back/below/blob", shallow=False)
