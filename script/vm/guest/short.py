"""The short job inside the machine: recipe, limits under cgroup v2, adoption, and a reboot that the pod survives,
with the server started by the unit that docs/adoption.md shows.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "script"))

import demo  # noqa: E402

REBOOT = 222
NOTES = Path("/var/lib/podstead-vm/short.json")
INSTANCE = "default"
STEP_SECONDS = 120
GOING_DOWN_SECONDS = 75
"""systemd kills what does not end after 90."""
CGROUPS = Path("/sys/fs/cgroup")
UNIT = Path("/etc/systemd/system/podstead.service")
LASTING = {
    "restartPolicy": "Always",
    "containers": [
        {
            "name": "main",
            "image": demo.IMAGE,
            "command": ["sleep", "1000000"],
            "resources": {"limits": {"memory": "64Mi", "cpu": "250m"}},
            "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
        }
    ],
    "volumes": [{"name": "disk", "emptyDir": {}}],
}
GREEDY = {
    "restartPolicy": "Never",
    "containers": [
        {
            "name": "main",
            "image": demo.IMAGE,
            # dd fills a buffer of this size.
            "command": ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"],
            "resources": {"limits": {"memory": "32Mi"}},
        }
    ],
}


class Failed(Exception):
    """Something is not as a user must see it."""


def check(found: object, wanted: object, what: str) -> None:
    print(f"   {what}: {found}", flush=True)
    if found != wanted:
        raise Failed(f"{what} is {found!r}, not {wanted!r}")


def run(*argv: str, stdin: str = "") -> str:
    """Run a command; returns its output. Raises Failed with what it said."""
    began = time.monotonic()
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=STEP_SECONDS)
    print(f"$ {' '.join(argv)}   # {time.monotonic() - began:.1f} s", flush=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def step(text: str) -> None:
    print(f"== {text} (the machine is up for {uptime():.0f} s)", flush=True)


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def create(name: str, spec: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    run("kubectl", "create", "-f", "-", stdin=json.dumps(pod))


def wait(name: str, condition: str) -> None:
    run("kubectl", "wait", f"--for={condition}", f"pod/{name}", f"--timeout={STEP_SECONDS - 10}s")


def container(name: str) -> dict[str, Any]:
    """Return the status of a pod's only container."""
    status: dict[str, Any] = json.loads(run("kubectl", "get", "pod", name, "-o", "json"))["status"]
    return status["containerStatuses"][0]


def group(status: dict[str, Any]) -> Path:
    return next(CGROUPS.glob(f"podstead*/**/{status['containerID'].rpartition('/')[2]}"))


def limits() -> None:
    step("limits hold")
    create("lasting", LASTING)
    create("greedy", GREEDY)
    wait("lasting", "condition=Ready")
    directory = group(container("lasting"))
    check((directory / "memory.max").read_text().strip(), str(64 << 20), "memory.max for 64Mi")
    check((directory / "cpu.max").read_text().strip(), "25000 100000", "cpu.max for 250m")
    wait("greedy", "jsonpath={.status.phase}=Failed")
    ended = container("greedy")["state"]["terminated"]
    check((ended["reason"], ended["exitCode"]), ("OOMKilled", 137), "a container over its limit")
    run("kubectl", "delete", "pod", "greedy")


def adoption() -> None:
    step("a killed server adopts what runs")
    run("kubectl", "exec", "lasting", "--", "sh", "-c", "echo kept > /disk/file")

    def identity() -> tuple[Any, ...]:
        status = container("lasting")
        return status["containerID"], status["restartCount"], (group(status) / "cgroup.procs").read_text().split()

    before = identity()
    server = json.loads(Path(f"/run/podstead/{INSTANCE}/server.json").read_text())["pid"]
    descriptor = os.pidfd_open(server)
    os.kill(server, signal.SIGKILL)
    select.select([descriptor], [], [], STEP_SECONDS)
    os.close(descriptor)
    # As from a login: the session's processes are ended before the machine goes down.
    print(run("systemd-run", "--quiet", "--scope", "--property=SendSIGHUP=yes", "podstead", "up"), end="")
    wait("lasting", "condition=Ready")
    check(identity(), before, "container, restarts and processes after it")


def install_unit() -> None:
    step("a unit of the user's own starts it from now on")
    program = Path("/usr/local/bin/podstead")  # as in the documentation
    if not program.exists():
        program.symlink_to(shutil.which("podstead") or "")
    text = (REPOSITORY / "docs/adoption.md").read_text()
    block = text[text.index("    [Unit]") : text.index("`KillMode=process`")]
    UNIT.write_text(textwrap.dedent(block))
    run("systemctl", "enable", UNIT.stem)


def started_by_the_unit() -> None:
    deadline = time.monotonic() + STEP_SECONDS
    while subprocess.run(["kubectl", "get", "--raw", "/readyz"], capture_output=True, timeout=STEP_SECONDS).returncode:
        if time.monotonic() > deadline:
            raise Failed(f"nothing started it: {run('systemctl', 'status', UNIT.stem)}")
        time.sleep(1)
    check(run("systemctl", "is-active", UNIT.stem), "active\n", "the unit")


def restart_by_the_unit() -> None:
    step("systemctl restart keeps the pods")
    before = container("lasting")
    run("systemctl", "restart", UNIT.stem)
    started_by_the_unit()
    wait("lasting", "condition=Ready")
    check(container("lasting")["containerID"], before["containerID"], "the container")
    run("systemctl", "disable", "--now", UNIT.stem)


def provide_image() -> None:
    archive = Path("/var/tmp/standin.tar")
    run(str(REPOSITORY / "script/make-standin-image"), str(archive))
    run("podstead", "image", "import", str(archive), demo.IMAGE)
    archive.unlink()


def before_the_reboot() -> None:
    step(f"podstead on {machine()}")
    print(run("podstead", "up"), end="")
    print(run("podstead", "status"), end="")
    provide_image()
    step("the recipe")
    demo.recipe(dict(os.environ))
    limits()
    adoption()
    install_unit()
    notes = {"container": container("lasting")["containerID"], "boot": boot(), "time": time.time()}
    NOTES.write_text(json.dumps(notes))


def after_the_reboot() -> None:
    step("after the reboot the unit brings the pod back")
    notes = json.loads(NOTES.read_text())
    if notes["boot"] == boot():
        raise Failed("the machine has not been rebooted")
    down = time.time() - uptime() - notes["time"]
    print(f"   going down took {down:.0f} s", flush=True)
    if down > GOING_DOWN_SECONDS:
        raise Failed("pods hold the machine up that goes down")
    started_by_the_unit()
    wait("lasting", "jsonpath={.status.containerStatuses[0].restartCount}=1")
    wait("lasting", "condition=Ready")
    status = container("lasting")
    check(status["containerID"] == notes["container"], False, "the container is the old one")
    check(run("kubectl", "exec", "lasting", "--", "cat", "/disk/file"), "kept\n", "the emptyDir's file")
    restart_by_the_unit()
    step("down leaves nothing")
    print(run("podstead", "down", "--purge"), end="")
    check(demo.leftovers(INSTANCE), [], "left on this machine")


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def machine() -> str:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return f"{release['PRETTY_NAME'].strip(chr(34))}, Linux {os.uname().release}, Python {sys.version.split()[0]}"


def main() -> int:
    try:
        if os.environ["BOOT"] == "1":
            before_the_reboot()
            return REBOOT
        after_the_reboot()
        return 0
    except (Failed, demo.DemoFailed, subprocess.TimeoutExpired, OSError) as error:
        print(f"short: {error}", flush=True)
        log = Path(f"/var/lib/podstead/{INSTANCE}/server.log")
        if log.exists():
            print("   the end of the server's log:", *log.read_text().splitlines()[-15:], sep="\n   ", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
