"""The user's kubeconfig: one context in and out, the rest as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from podstead.cli import kubeconfig
from podstead.cli.instance import InstanceError

ADMIN = {
    "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "x", "user": {"client-key-data": "a2V5"}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
}
MINE = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "clusters": [{"name": "mine", "cluster": {"server": "https://example.com"}}],
    "users": [{"name": "mine", "user": {"token": "t"}}],
    "contexts": [{"name": "mine", "context": {"cluster": "mine", "user": "mine", "namespace": "n"}}],
    "current-context": "mine",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config"


def _read(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def _names(config: Any, section: str) -> list[str]:
    return [entry["name"] for entry in config[section]]


def test_a_first_one_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / ".kube" / "config"
    kubeconfig.merge(file, "podstead", ADMIN)
    config = _read(file)
    assert config["contexts"] == [{"name": "podstead", "context": {"cluster": "podstead", "user": "podstead"}}]
    assert (config["current-context"], file.stat().st_mode & 0o777) == ("podstead", 0o600)


def test_in_and_out_leaves_what_was_there(file: Path) -> None:
    file.write_text(yaml.safe_dump(MINE))
    kubeconfig.merge(file, "podstead", ADMIN)
    kubeconfig.merge(file, "podstead", ADMIN)
    config = _read(file)
    assert [_names(config, section) for section in ("clusters", "users", "contexts")] == [["mine", "podstead"]] * 3
    assert (config["current-context"], config["preferences"]) == ("podstead", {"colors": True})
    kubeconfig.remove(file, "podstead")
    assert _read(file) == {**MINE, "current-context": ""}
    assert list(file.parent.iterdir()) == [file]


def test_removing_what_is_not_there_changes_nothing(file: Path) -> None:
    kubeconfig.remove(file, "podstead")
    assert not file.exists()
    file.write_text("# a comment\n" + yaml.safe_dump(MINE))
    before = file.read_text()
    kubeconfig.remove(file, "podstead")
    assert file.read_text() == before


@pytest.mark.parametrize(
    "text", ["[1, 2]", "a: [", "clusters: {a: b}", "clusters: [a]", "contexts: text", "\x00", "b: \tc: d"]
)
def test_a_damaged_file_is_named_and_left_alone(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InstanceError, match="is no kubeconfig") as caught:
        kubeconfig.merge(file, "podstead", ADMIN)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


def test_an_empty_file_is_a_kubeconfig(file: Path) -> None:
    file.touch()
    kubeconfig.merge(file, "podstead", ADMIN)
    assert _read(file)["current-context"] == "podstead"


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_a_link(tmp_path: Path, dangling: bool) -> None:
    target, link = tmp_path / "elsewhere" / "real", tmp_path / "config"
    link.symlink_to(target)
    if not dangling:
        target.parent.mkdir()
        target.write_text(yaml.safe_dump(MINE))
    kubeconfig.merge(link, "podstead", ADMIN)
    assert link.is_symlink()
    assert _read(target)["current-context"] == "podstead"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_under_sudo_the_users_file_stays_the_users_own(file: Path) -> None:
    file.write_text(yaml.safe_dump(MINE))
    os.chown(file, 1234, 2345)
    kubeconfig.merge(file, "podstead", ADMIN)
    after = file.stat()
    assert (after.st_uid, after.st_gid, after.st_mode & 0o777) == (1234, 2345, 0o600)


def test_kubectls_lock_is_respected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "_LOCK_PATIENCE", 0.0)
    lock = file.with_name("config.lock")
    lock.touch()
    with pytest.raises(InstanceError, match="remove it if no kubectl is running"):
        kubeconfig.merge(file, "podstead", ADMIN)
    assert lock.exists()


def test_a_write_that_fails_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(yaml.safe_dump(MINE))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kubeconfig.merge(file, "podstead", ADMIN)
    assert _read(file) == MINE
    assert list(file.parent.iterdir()) == [file]


def test_the_file_is_the_one_that_kubectl_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", ":/a:/b")
    assert kubeconfig.default_path() == Path("/a")
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("HOME", "/home/u")
    assert kubeconfig.default_path() == Path("/home/u/.kube/config")
