"""kubectl attach and kubectl run -it, by old and new kubectl, on a terminal and without one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from support.instance import IMAGE, TestInstance, pod
from support.old_kubectl import FORMS, command
from support.terminal import Terminal

READER = ["sh", "-c", "while read line; do echo got $line; done; echo over; sleep 1000"]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def reader(instance: TestInstance) -> Iterator[str]:
    """A running pod whose containers read their input: `keeps` has it open, `once` until its first client ends it."""
    keeps = {"name": "keeps", "command": READER, "stdin": True}
    instance.create(pod("reader", keeps, {**keeps, "name": "once", "stdinOnce": True}))
    instance.wait("reader")
    yield "reader"
    instance.kubectl("delete", "pod", "reader", "--force", "--grace-period=0", check=True)
    instance.kubectl("wait", "--for=delete", "pod/reader", "--timeout=20s")


class Attached:
    """`kubectl attach -i` with pipes."""

    def __init__(self, instance: TestInstance, form: str, container: str) -> None:
        program, extra = command(form)
        self.process = subprocess.Popen(
            [program, "attach", "-i", "reader", "-c", container],
            env={**instance.env, **extra},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def say(self, text: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)

    def hear(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)


def test_input_reaches_the_container_again_and_again(instance: TestInstance, form: str, reader: str) -> None:
    for word in (b"one", b"two"):
        with Attached(instance, form, "keeps") as attached:
            attached.say(word + b"\n")
            assert attached.hear() == b"got " + word + b"\n"
    assert "over" not in instance.kubectl("logs", reader, "-c", "keeps", check=True).stdout


def test_the_first_end_of_input_is_the_last_with_stdin_once(instance: TestInstance, form: str, reader: str) -> None:
    with Attached(instance, form, "once") as attached:
        attached.say(b"only\n")
        assert attached.hear() == b"got only\n"
        assert attached.process.stdin is not None
        attached.process.stdin.close()
        assert attached.hear() == b"over\n"
        attached.process.stdin = None


def test_two_clients_see_the_same_output(instance: TestInstance, form: str, reader: str) -> None:
    with Attached(instance, form, "keeps") as first, Attached(instance, form, "keeps") as second:
        # The second is attached when its own line has come back; from then on both see everything.
        second.say(b"x\n")
        assert second.hear() == b"got x\n"
        first.say(b"y\n")
        assert second.hear() == b"got y\n"


def test_a_container_that_ends_ends_the_attached(instance: TestInstance, form: str) -> None:
    name = f"brief-{FORMS.index(form)}"
    manifest = pod(name, {"command": ["sh", "-c", "read line; echo bye; exit 3"], "stdin": True}, restartPolicy="Never")
    instance.create(manifest)
    instance.wait(name)
    program, extra = command(form)
    done = subprocess.run(
        [program, "attach", "-i", name],
        env={**instance.env, **extra},
        input=b"go\n",
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, b"bye\n")


def test_attaching_to_what_has_ended_is_refused(instance: TestInstance) -> None:
    instance.create(pod("over", {"command": ["true"]}, restartPolicy="Never"))
    instance.wait("over", "jsonpath={.status.phase}=Succeeded")
    refused = instance.kubectl("attach", "over")
    assert refused.returncode == 1
    assert "current phase is Succeeded" in refused.stderr


def test_run_with_a_terminal_and_remove_it(instance: TestInstance, form: str) -> None:
    """The command of every tutorial."""
    program, extra = command(form)
    name = f"shell-{FORMS.index(form)}"
    argv = [program, "run", "-it", "--rm", f"--image={IMAGE}", "--restart=Never", name, "--", "bash"]
    with Terminal(argv, {**instance.env, **extra}) as terminal:
        terminal.until(r"bash-[\d.]+# ")
        terminal.type("echo $((40 + 2)); tty\r")
        terminal.until(r"42\r\n/dev/")
        terminal.type("exit 4\r")
        assert terminal.end() == 4
        assert f'pod "{name}" deleted'.encode() in terminal.output
    instance.kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=20s")
    assert name not in instance.kubectl("get", "pods").stdout


def test_run_with_input_from_a_pipe(instance: TestInstance, form: str) -> None:
    program, extra = command(form)
    name = f"pipe-{FORMS.index(form)}"
    script = "cat; echo over; exit 6"
    done = subprocess.run(
        [program, "run", "-i", "--rm", f"--image={IMAGE}", "--restart=Never", name, "--", "sh", "-c", script],
        env={**instance.env, **extra},
        input=b"some data\n",
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 6
    assert done.stdout.startswith(b"some data\nover\n")
