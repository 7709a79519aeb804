"""Commands in containers, their streams and codes, and what containers have said."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from support.instance import TestInstance, pod

NOISE = r"""
printf 'first\nsecond\n'
head -c 100000 /dev/zero | tr '\0' x
echo
printf '\000\001\377\r\n'
printf 'no newline'
"""


@pytest.fixture(scope="module", autouse=True)
def pods(instance: TestInstance) -> Iterator[None]:
    """`worker` for commands (c1 root, c2 a user with an environment), `noisy` that has said all it has to say."""
    as_user = {
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
        "workingDir": "/tmp",
        "env": [{"name": "GREETING", "value": "hello"}],
    }
    instance.create(pod("worker", {}, as_user))
    instance.create(
        pod(
            "noisy",
            {"command": ["sh", "-c", NOISE]},
            {"command": ["sh", "-c", "echo from c2 >&2"]},
            restartPolicy="Never",
        )
    )
    instance.wait("worker")
    instance.wait("noisy", "jsonpath={.status.phase}=Succeeded")
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


def execute(
    instance: TestInstance, *argv: str, options: tuple[str, ...] = (), stdin: bytes | None = None, timeout: float = 30
) -> subprocess.CompletedProcess[bytes]:
    """`kubectl exec worker -c c1 OPTIONS -- ARGV`, in bytes."""
    command = ["kubectl", "exec", "worker", "-c", "c1", *options, "--", *argv]
    if stdin is None:
        return subprocess.run(command, env=instance.env, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
    return subprocess.run(command, env=instance.env, capture_output=True, timeout=timeout, input=stdin)


# -- exec


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(instance: TestInstance, code: int) -> None:
    done = execute(instance, "sh", "-c", f"exit {code}")
    assert done.returncode == code
    assert done.stderr.decode() == (f"command terminated with exit code {code}\n" if code else "")


def test_the_code_of_a_signal(instance: TestInstance) -> None:
    assert execute(instance, "sh", "-c", "kill -9 $$").returncode == 137


def test_streams_stay_apart(instance: TestInstance) -> None:
    done = execute(instance, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("options", "script", "shown"),
    [
        ((), "[ -t 0 ] || [ -t 1 ] || echo no terminal; cat", b"no terminal\n"),
        (("-i",), "[ -t 0 ] || [ -t 1 ] || echo no terminal; cat", b"no terminal\nin\n"),
        (("-t",), "[ -t 0 ] || [ -t 1 ] || echo no terminal", b"no terminal\n"),  # kubectl: -t needs -i
    ],
)
def test_with_and_without_input_and_terminal(
    instance: TestInstance, options: tuple[str, ...], script: str, shown: bytes
) -> None:
    done = execute(instance, "sh", "-c", script, options=options, stdin=b"in\n")
    assert (done.returncode, done.stdout) == (0, shown)


def test_the_end_of_input_ends_a_filter(instance: TestInstance) -> None:
    done = execute(instance, "sh", "-c", "cat; echo after", options=("-i",), stdin=b"data")
    assert done.stdout == b"dataafter\n"


def test_a_command_that_closes_its_input_early(instance: TestInstance) -> None:
    done = execute(instance, "head", "-c", "3", options=("-i",), stdin=b"y" * 3_000_000)
    assert (done.returncode, done.stdout) == (0, b"yyy")


def test_a_hundred_megabytes_there_and_back(instance: TestInstance) -> None:
    data = os.urandom(1 << 20) * 100
    done = execute(instance, "cat", options=("-i",), stdin=data, timeout=60)
    assert len(done.stdout) == len(data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_a_command_is_as_its_container(instance: TestInstance) -> None:
    script = "id -u; id -g; pwd; echo $GREETING; hostname"
    done = instance.kubectl("exec", "worker", "-c", "c2", "--", "sh", "-c", script, check=True)
    assert done.stdout.splitlines() == ["1000", "1000", "/tmp", "hello", "worker"]


def test_a_command_that_is_not_there_is_told_once(instance: TestInstance) -> None:
    done = execute(instance, "nosuch")
    assert done.returncode == 1
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: Internal error occurred: error executing command in container: ")
    assert line.endswith('exec: "nosuch": executable file not found in $PATH')


def test_a_child_left_behind_does_not_hold_the_command(instance: TestInstance) -> None:
    if "runc://" in instance.podstead("status", check=True).stdout:
        pytest.xfail("runc, unlike crun, copies the streams itself and waits until nobody holds them")
    begun = time.monotonic()
    done = execute(instance, "sh", "-c", "sleep 10 & echo $!; exit 3")
    assert done.returncode == 3
    assert time.monotonic() - begun < 5
    assert execute(instance, "kill", done.stdout.decode().strip()).returncode == 0


def test_many_at_once(instance: TestInstance) -> None:
    command = ["kubectl", "exec", "worker", "-c", "c1", "-i", "--", "sh", "-c", "read x; echo $x"]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, env=instance.env, stdin=pipe, stdout=pipe) for _ in range(10)]
    for number, process in enumerate(started):
        assert process.communicate(f"{number}\n".encode(), timeout=30)[0] == f"{number}\n".encode()


# -- logs


def logs(instance: TestInstance, *options: str) -> bytes:
    done = subprocess.run(["kubectl", "logs", *options], env=instance.env, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bytes_long_lines_and_a_last_line_without_its_end(instance: TestInstance) -> None:
    text = logs(instance, "noisy", "-c", "c1")
    assert text.startswith(b"first\nsecond\n" + b"x" * 100_000 + b"\n")
    assert b"\0\x01\xff\r\n" in text
    assert text.endswith(b"no newline")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["noisy", "-c", "c2"], b"from c2\n"),
        (["noisy", "-c", "c1", "--tail=1"], b"no newline"),
        (["noisy", "-c", "c1", "--tail=0"], b""),
        (["noisy", "-c", "c1", "--limit-bytes=8"], b"first\nse"),
        (["noisy", "-c", "c1", "--since=1s", "--tail=-1"], None),
        (["noisy", "-c", "c1", "--since-time=2020-01-01T00:00:00Z", "--limit-bytes=5"], b"first"),
        (["noisy", "--all-containers", "--tail=1", "--prefix"], b"[pod/noisy/c1] no newline[pod/noisy/c2] from c2\n"),
        (["-l", "nosuch=label"], b""),
    ],
)
def test_a_part_of_the_log(instance: TestInstance, options: list[str], shown: bytes | None) -> None:
    if shown is None:  # --since: nothing before, everything since the pod's beginning
        finished = instance.get("pod", "noisy")["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
        instance.until(lambda: time.time() - _seconds(finished) > 2.2)
        assert logs(instance, *options) == b""
        assert logs(instance, "noisy", "-c", "c1", "--since=1h") == logs(instance, "noisy", "-c", "c1")
    else:
        assert logs(instance, *options) == shown


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def test_timestamps(instance: TestInstance) -> None:
    stamp, _, text = logs(instance, "noisy", "-c", "c2", "--timestamps").partition(b" ")
    assert text == b"from c2\n"
    assert abs(_seconds(stamp.decode()[:26].rstrip("Z") + "+00:00") - time.time()) < 120


def test_the_log_of_the_run_before(instance: TestInstance) -> None:
    script = "echo run $(cat /marks/n 2>/dev/null); echo again >> /marks/n; exec sleep 1000"
    manifest = pod(
        "reborn",
        {"command": ["sh", "-c", script], "volumeMounts": [{"name": "marks", "mountPath": "/marks"}]},
        volumes=[{"name": "marks", "emptyDir": {}}],
    )
    instance.create(manifest)
    instance.wait("reborn")
    done = instance.kubectl("logs", "reborn", "-p")
    assert done.returncode == 1
    assert 'previous terminated container "c1" in pod "reborn" not found' in done.stderr
    instance.until(lambda: logs(instance, "reborn"))
    # What is in a container cannot kill its own first process: a signal from outside does.
    from pathlib import Path

    identity = instance.get("pod", "reborn")["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    (procs,) = [*Path("/sys/fs/cgroup").glob(f"pids/**/{identity}/cgroup.procs")] or [
        *Path("/sys/fs/cgroup").glob(f"**/{identity}/cgroup.procs")
    ]
    os.kill(int(procs.read_text().split()[0]), 9)
    instance.wait("reborn", "jsonpath={.status.containerStatuses[0].restartCount}=1")
    instance.until(lambda: logs(instance, "reborn") == b"run again\n")
    assert logs(instance, "reborn", "-p") == b"run\n"


def test_following_ends_with_the_container(instance: TestInstance) -> None:
    script = "echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two; printf three"
    instance.create(pod("goes", {"command": ["sh", "-c", script]}, restartPolicy="Never"))
    instance.wait("goes")
    following = subprocess.Popen(["kubectl", "logs", "-f", "goes"], env=instance.env, stdout=subprocess.PIPE)
    assert following.stdout is not None
    assert following.stdout.readline() == b"one\n"
    instance.kubectl("exec", "goes", "--", "touch", "/go", check=True)
    assert following.communicate(timeout=20)[0] == b"two\nthree"
    assert following.returncode == 0


def test_a_lot_that_is_followed_comes_whole(instance: TestInstance) -> None:
    script = "while [ ! -e /go ]; do sleep 0.02; done; seq 1 200000"
    instance.create(pod("counts", {"command": ["sh", "-c", script]}, restartPolicy="Never"))
    instance.wait("counts")
    following = subprocess.Popen(["kubectl", "logs", "-f", "counts"], env=instance.env, stdout=subprocess.PIPE)
    instance.kubectl("exec", "counts", "--", "touch", "/go", check=True)
    out = following.communicate(timeout=40)[0].decode().splitlines()
    assert out == [str(number) for number in range(1, 200_001)]


def test_standard_base64_through_a_pipe(instance: TestInstance) -> None:
    """`tar | kubectl exec -i -- tar`, as kubectl cp does it, in small."""
    data = os.urandom(50_000)
    script = "base64 -d > /tmp/copied; base64 /tmp/copied"
    done = execute(instance, "sh", "-c", script, options=("-i",), stdin=base64.encodebytes(data))
    assert base64.b64decode(done.stdout) == data
