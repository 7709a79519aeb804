"""A podstead instance of a test's own, driven by the real commands, and everything taken away again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
IMAGE = "centos:7"
SLOWNESS = float(os.environ.get("PODSTEAD_TEST_SLOWNESS", "1"))
"""How many times slower than a machine of today this one is: patience grows with it."""
TIMEOUT = 60.0 * SLOWNESS


@dataclass
class TestInstance:
    """`name` is the instance's; all its files are below `directory`, its kubeconfig among them."""

    __test__ = False

    name: str
    directory: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kubeconfig = self.directory / "kubeconfig"
        self.data = self.directory / "data"
        path = f"{BIN}:{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"
        self.env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path, **self.env}

    # -- commands

    def run(
        self, *argv: str, stdin: str | None = None, timeout: float = TIMEOUT, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with this instance's environment; with `check` its code must be 0."""
        done = subprocess.run(
            argv,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=timeout,
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),  # type: ignore[call-overload]
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def podstead(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`podstead COMMAND --name NAME ...`."""
        words = argv[:2] if argv[0] == "image" else argv[:1]
        return self.run("podstead", *words, "--name", self.name, *argv[len(words) :], **options)

    def kubectl(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("kubectl", *argv, **options)

    def up(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        # PODSTEAD_TEST_RUNTIME=runc|crun runs all of it on that one.
        runtime = ("--runtime", os.environ["PODSTEAD_TEST_RUNTIME"]) if "PODSTEAD_TEST_RUNTIME" in os.environ else ()
        return self.podstead("up", "--data-dir", str(self.data), *runtime, *options, check=check)

    def down(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.podstead("down", "--grace", "0", *options, check=check)

    def import_image(self) -> None:
        """Make centos:7 (the stand-in) available."""
        rootfs = self.directory / "standin.tar"
        if not rootfs.exists():
            self.run(str(REPOSITORY / "script" / "make-standin-image"), str(rootfs), check=True)
        self.podstead("image", "import", "--data-dir", str(self.data), str(rootfs), IMAGE, check=True)

    # -- what is

    def get(self, *argv: str) -> Any:
        """Return `kubectl get ... -o json`, decoded."""
        return json.loads(self.kubectl("get", *argv, "-o", "json", check=True).stdout)

    def create(self, manifest: dict[str, Any] | str, *options: str) -> subprocess.CompletedProcess[str]:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.kubectl("create", "-f", "-", *options, stdin=text)

    def wait(self, pod: str, condition: str = "condition=Ready", timeout: int = 30) -> None:
        """Wait as a user would: `kubectl wait --for=CONDITION pod/POD`."""
        self.kubectl("wait", f"--for={condition}", f"pod/{pod}", f"--timeout={timeout * SLOWNESS:.0f}s", check=True)

    def until(self, what: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Ask until `what` gives something true; for what no watch can tell (processes, files)."""
        deadline = time.monotonic() + timeout * SLOWNESS
        while not (found := what()):
            if time.monotonic() > deadline:
                raise AssertionError(f"still not so after {timeout} s: {what}")
            time.sleep(0.02)
        return found

    def server(self) -> dict[str, Any]:
        """Return pid and start time of the server process."""
        return json.loads(Path(f"/run/podstead/{self.name}/server.json").read_text())

    def leftovers(self) -> list[str]:
        """Return processes, mounts, links, tables, cgroups and folders that belong to this instance."""
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"/podstead/{self.name}/" in words or f"podstead.cli.serve {self.name} " in words:
                found.append(f"process {process.parent.name}: {words[:200]}")
        marks = (f"/podstead/{self.name}/", str(self.data))
        mounts = Path("/proc/mounts").read_text().splitlines()
        found += [f"mount {line}" for line in mounts if any(mark in line for mark in marks)]
        short = _short_id(self.name)
        links = subprocess.run(["ip", "-o", "link"], text=True, capture_output=True, timeout=10 * SLOWNESS).stdout
        found += [f"link {line}" for line in links.splitlines() if re.search(rf"\bpst{short}", line)]
        tables = subprocess.run(["nft", "list", "tables"], text=True, capture_output=True, timeout=10 * SLOWNESS).stdout
        found += [f"nft {line}" for line in tables.splitlines() if f"podstead-{self.name}" in line]
        # os.walk, unlike glob, does not mind what others remove meanwhile.
        cgroups = (Path(path) for path, _, _ in os.walk("/sys/fs/cgroup"))
        found += [f"cgroup {path}" for path in cgroups if path.name == f"podstead-{self.name}"]
        run = Path("/run/podstead") / self.name
        found += [f"folder {run}"] if run.exists() else []
        return found


def _short_id(name: str) -> str:
    from podstead.paths import Paths

    return Paths.of(name).short_id


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a pod's manifest; a container needs nothing but what matters to the test."""
    filled = [
        {"name": f"c{number}", "image": IMAGE, "command": ["sleep", "10000"], **container}
        for number, container in enumerate(containers or ({},), start=1)
    ]
    body = {"terminationGracePeriodSeconds": 0, "containers": filled, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}
