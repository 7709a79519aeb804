"""Instances: what each took, whose server lives, what is damaged."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from podstead import paths
from podstead.cli import instance as instances
from podstead.cli.instance import InstanceError, RunningServer
from podstead.linux.hold import Held, hold
from podstead.paths import Paths


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DATA_ROOT", tmp_path / "lib")
    monkeypatch.setattr(paths, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(paths, "INSTANCES", tmp_path / "lib" / ".instances")


@pytest.mark.parametrize("name", ["", "Big", "-a", "a-", "a b", "a/b", "..", "a" * 33])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InstanceError, match="is no name for an instance"):
        instances.check_name(name)


def test_what_was_chosen_once_is_kept() -> None:
    first = instances.settle("one", None, None)
    assert instances.find("one") == first == instances.settle("one", None, None)
    assert instances.settle("one", None, 7777).port == 7777
    assert instances.find("one") == instances.settle("one", None, None)
    instances.forget("one")
    assert instances.find("one") is None


def test_two_instances_share_nothing() -> None:
    one, two = instances.settle("one", None, None), instances.settle("two", None, None)
    assert len({one.port, two.port}) == len({one.subnet, two.subnet}) == len({one.data, two.data}) == 2
    assert [each.name for each in instances.every()] == ["one", "two"]
    with pytest.raises(InstanceError, match="belongs to the instance 'one'"):
        instances.settle("three", Path(one.data), None)


def test_a_port_that_another_program_has_is_not_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert not instances.port_is_free(other.getsockname()[1])


def test_data_does_not_move_while_pods_may_run(tmp_path: Path) -> None:
    known = instances.settle("one", None, None)
    known.paths.run.mkdir(parents=True)
    with pytest.raises(InstanceError, match="`podstead down` first"):
        instances.settle("one", tmp_path / "other", None)
    known.paths.run.rmdir()
    assert instances.settle("one", tmp_path / "other", None).data == str(tmp_path / "other")


def _record(port: object = 1, subnet: str = "10.0.0.0/24") -> str:
    return json.dumps({"name": "one", "data": "/d", "port": port, "subnet": subnet})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "one"}', _record(port="x"), _record(subnet="here")])
def test_a_damaged_record_is_named(text: str) -> None:
    file = Paths.of("one").instance_file
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(InstanceError, match="is damaged") as caught:
        instances.find("one")
    assert str(file) in str(caught.value)


def test_a_record_of_a_newer_podstead_is_read() -> None:
    file = Paths.of("one").instance_file
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(json.loads(_record()) | {"invented": "later"}))
    known = instances.find("one")
    assert known is not None
    assert known.port == 1


def test_files_of_others_beside_the_records_are_no_instances() -> None:
    known = instances.settle("one", None, None)
    known.paths.instance_file.with_name("Notes.json").write_text("hello")
    assert instances.every() == [known]


def test_a_server_is_known_by_more_than_its_pid() -> None:
    place = Paths.of("one")
    assert instances.running(place) is None
    instances.note_running(place, foreground=True, ready=False)
    server = instances.running(place)
    assert server is not None
    assert (server.pid, server.foreground, server.ready) == (os.getpid(), True, False)
    for change in ({"started": server.started + 1}, {"boot": "another"}, {"pid": 1}):
        place.server_pid_file.write_text(json.dumps(asdict(server) | change))
        assert instances.running(place) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"other": 2}'])
def test_a_damaged_pid_file_is_no_server(text: str) -> None:
    place = Paths.of("one")
    place.run.mkdir(parents=True)
    place.server_pid_file.write_text(text)
    assert instances.running(place) is None


def test_a_server_that_does_not_end_by_itself_is_killed() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        instances.stop(RunningServer(process.pid, instances.start_time(process.pid) or 0), timeout=0.05)
    finally:
        process.kill()
    assert process.wait(timeout=5) == -9


def test_a_server_that_has_ended_need_not_be_stopped() -> None:
    process = subprocess.Popen(["true"])
    process.wait(timeout=5)
    instances.stop(RunningServer(process.pid, 1), timeout=1)


def test_a_directory_is_held_by_one_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "lock"
    with hold(file):
        with pytest.raises(Held), hold(file):
            pass
        other = subprocess.run(
            [sys.executable, "-c", f"from podstead.linux.hold import hold\nfrom pathlib import Path\n"
             f"with hold(Path({str(file)!r})): pass"],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert "Held" in other.stderr
    with hold(file):
        pass
