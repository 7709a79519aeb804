"""What Tab offers, as the shells' scripts ask for it; tests/e2e/test_completion.py has the shells themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from podstead import paths
from podstead.cli import completion
from podstead.cli import instance as instances
from podstead.cli.main import cli

BREAKS = " \t\n\"'><=;|&(:"
"""bash's own COMP_WORDBREAKS."""


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DATA_ROOT", tmp_path / "lib")
    monkeypatch.setattr(paths, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(paths, "INSTANCES", tmp_path / "lib" / ".instances")


class Asker:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, line: str, shell: str = "fish") -> list[str]:
        """Return what is offered at the end of `line`: words, or the kind where the shell looks itself."""
        self._monkeypatch.setenv("COMP_LINE", line)
        self._monkeypatch.setenv("COMP_WORDBREAKS", BREAKS)
        completion.answer(shell, cli)
        rows = [row.split("\t") for row in self._capsys.readouterr().out.splitlines()]
        return [word if kind in ("plain", "nospace") else kind for kind, word, _ in rows]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asker:
    return Asker(monkeypatch, capsys)


def test_commands_and_options(offered: Asker) -> None:
    assert offered("podstead im") == ["image"]
    assert offered("podstead image p") == ["prune", "pull"]
    assert {"--name", "--data-dir", "--runtime", "--foreground"} <= set(offered("podstead up --"))
    assert offered("podstead up --runtime ") == ["auto", "crun", "runc"]
    assert offered("podstead status -o j") == ["json"]
    assert offered("podstead completion ") == ["bash", "zsh", "fish"]


def test_instances(offered: Asker) -> None:
    for name in ("one", "other", "two"):
        instances.settle(name, None, None)
    assert offered("podstead down --name o") == ["one", "other"]
    assert offered("podstead image ls --name ") == ["one", "other", "two"]
    assert offered("podstead down --name=o") == ["--name=one", "--name=other"]
    assert offered("podstead down --name=o", "bash") == ["one", "other"]


def test_nothing_is_offered_where_nothing_is_known(offered: Asker) -> None:
    assert offered("podstead down --name ") == []
    assert offered("podstead image rm ") == []
    assert offered("podstead kubectl get ") == []
    assert offered("podstead nothing ") == offered("podstead ")


def test_files_and_directories_are_the_shells(offered: Asker) -> None:
    assert offered("podstead image load /tm") == ["file"]
    assert offered("podstead up --data-dir ") == ["dir"]


def test_kubectl_is_asked_what_it_offers(offered: Asker) -> None:
    known = instances.settle("default", None, None)
    known.paths.admin_kubeconfig.parent.mkdir(parents=True)
    known.paths.admin_kubeconfig.write_text("apiVersion: v1\nkind: Config\n")
    assert offered("podstead kubectl api-res") == ["api-resources"]
    assert offered("podstead kubectl create secret g") == ["generic"]
    assert offered("podstead kubectl get pods --output=js") == [
        "--output=json",
        "--output=jsonpath",
        "--output=jsonpath-as-json",
        "--output=jsonpath-file",
    ]
    assert "--namespace" in offered("podstead kubectl get --names")
    assert offered("podstead kubectl --name=d") == ["--name=default"]
    assert offered("podstead kubectl create -f ") == ["file"]


@pytest.mark.parametrize(
    ("line", "words", "last"),
    [
        ("podstead ", ["podstead"], ""),
        ("podstead up", ["podstead"], "up"),
        ("podstead image rm 'a b", ["podstead", "image", "rm"], "a b"),
        ('podstead image rm "a b" ', ["podstead", "image", "rm", "a b"], ""),
        ("podstead a\\ b", ["podstead"], "a b"),
        ("podstead --name=x#y", ["podstead"], "--name=x#y"),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str], last: str) -> None:
    assert completion.split(line) == (words, last)


@pytest.mark.parametrize(
    ("line", "kept"), [("podstead image rm centos:", 7), ("podstead image rm 'centos:", 0), ("podstead image rm x", 0)]
)
def test_bash_keeps_what_stands_before_a_colon(
    line: str, kept: int, offered: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["centos:7", "x:1"]
    monkeypatch.setattr(
        completion, "image_names", lambda instance, data, begin: [name for name in names if name.startswith(begin)]
    )
    last = completion.split(line)[1]
    assert offered(line, "bash") == [name[kept:] for name in names if name.startswith(last)]
