"""Every kind with the real kubectl, old and new: create, describe, print, label, annotate, patch, apply, delete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from podstead.objects.kinds import SERVED, inert_warning
from support.instance import REPOSITORY, TestInstance
from support.old_kubectl import command

SPACE = "every"
MANIFESTS = REPOSITORY / "tests" / "support" / "kinds.yaml"
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFESTS.read_text()))
NOT_FOR_OLD = ("CronJob", "EndpointSlice", "PodDisruptionBudget")
"""kubectl 1.20 describes these through v1beta1, which is no more, on a real server either."""


DEPRECATED = r"Warning: v1 Endpoints is deprecated in v1\.33\+; use discovery\.k8s\.io/v1 EndpointSlice"


class All:
    """kubectl on all objects of the file at once."""

    def __init__(self, instance: TestInstance, program: str, manifests: Path) -> None:
        self._instance = instance
        self._program = program
        self.manifests = manifests
        self.count = len(list(yaml.safe_load_all(manifests.read_text())))

    def __call__(self, *argv: str, stderr: str = DEPRECATED) -> list[str]:
        """Return the lines of a command that must succeed, and say nothing else than `stderr` (a pattern a line)."""
        done = self._instance.run(self._program, *argv, "-n", SPACE, "-f", str(self.manifests), check=True)
        odd = [line for line in done.stderr.splitlines() if not re.fullmatch(stderr, line)]
        assert odd == []
        return done.stdout.splitlines()

    def each(self, *argv: str, said: str) -> None:
        """Run a command that says `said` of each object."""
        lines = self(
            *argv, stderr=rf"(?i)warning: deleting cluster-scoped resources.*|warning: podstead keeps .*|{DEPRECATED}"
        )
        assert len(lines) == self.count
        assert [line for line in lines if not re.fullmatch(said, line)] == []


@pytest.fixture(params=["1.37", "1.20"])
def everything(request: pytest.FixtureRequest, instance: TestInstance, tmp_path: Path) -> Iterator[All]:
    """All objects, just created."""
    program, _ = command(request.param)
    manifests = tmp_path / "kinds.yaml"
    kept = [each for each in OBJECTS if request.param != "1.20" or each["kind"] not in NOT_FOR_OLD]
    manifests.write_text(yaml.safe_dump_all(kept))
    instance.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    everything = All(instance, program, manifests)
    try:
        everything.each("create", said=r"\S+ created")
        yield everything
    finally:
        # Without --wait=false kubectl asks for each object again, five a second.
        instance.kubectl("delete", "--ignore-not-found", "--wait=false", "-n", SPACE, "-f", str(manifests))
        instance.kubectl("delete", "namespace", SPACE, check=True)


def test_the_file_has_every_kind_that_can_be_created() -> None:
    served = {(info.api_version, info.kind) for info in SERVED if "create" in info.verbs}
    assert {(each["apiVersion"], each["kind"]) for each in OBJECTS} == served


def test_every_kind(everything: All) -> None:
    described = "\n".join(everything("describe"))
    assert len(re.findall(r"^Name: ", described, re.MULTILINE)) == everything.count
    assert [word for word in ("%!", "<invalid>", "hunter2") if word in described] == []
    shown = "\n".join(everything("get", "-o", "wide"))
    assert [word for word in ("<error", "<invalid>") if word in shown] == []
    everything.each("label", "tried=yes", said=r"\S+ labeled")
    everything.each("annotate", "tried=yes", said=r"\S+ annotated")
    everything.each("patch", "--type=merge", "-p", '{"metadata":{"labels":{"again":"yes"}}}', said=r"\S+ patched")
    objects = yaml.safe_load("\n".join(everything("get", "-o", "yaml")))["items"]
    assert len(objects) == everything.count
    for each in objects:
        labels = each["metadata"]["labels"]
        assert (labels["tried"], labels["again"], each["metadata"]["annotations"]["tried"]) == ("yes",) * 3, each
    everything.each("delete", "--wait=false", said=r'\S+ "\S+" deleted.*')


def test_what_nothing_acts_on_says_so(instance: TestInstance) -> None:
    """The Warning header comes with a dry run too, and with no other kind."""
    text = yaml.safe_dump_all(each for each in OBJECTS if each["kind"] != "Event")  # which tells its namespace twice
    done = instance.kubectl("create", "--dry-run=server", "-n", "default", "-f", "-", stdin=text, check=True)
    warnings = {inert_warning(info) for info in SERVED if "create" in info.verbs} - {""}
    warnings.add("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    assert set(done.stderr.splitlines()) == {f"Warning: {warning}" for warning in warnings}


def test_a_signing_request_says_who_asked(instance: TestInstance) -> None:
    manifest = next(each for each in OBJECTS if each["kind"] == "CertificateSigningRequest")
    try:
        instance.create({**manifest, "spec": {**manifest["spec"], "username": "somebody-else"}})
        spec = instance.get("csr", "every")["spec"]
        assert spec["username"] == "kubernetes-admin"
        assert "system:masters" in spec["groups"]
        assert instance.kubectl("certificate", "approve", "every", check=True).stdout.endswith(" approved\n")
        instance.kubectl("wait", "csr/every", "--for=jsonpath={.status.certificate}", "--timeout=20s", check=True)
        assert "Approved" in instance.kubectl("get", "csr", "every", check=True).stdout
    finally:
        instance.kubectl("delete", "csr", "every", "--ignore-not-found")
