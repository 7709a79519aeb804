"""The command line of script/test-vm."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time

import image
import qemu

SHORT = "python3 -B script/vm/guest/short.py"
FULL = """
script/demo || exit
exec python -m pytest -m vm -p no:cacheprovider --timeout 900 -v tests/e2e tests/node/runtime
"""
TIMEOUTS = {"short": 600.0, "full": 5400.0, "command": 600.0}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="script/test-vm", description="Run podstead in a virtual machine with Debian, systemd and pure cgroup v2."
    )
    parser.add_argument("--release", choices=sorted(image.SUITES), default="12", help="of Debian; 12 where not given")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--short", action="store_true", help="recipe, limits, adoption and a reboot (the default)")
    kind.add_argument("--full", action="store_true", help="script/demo and the tests marked `vm`")
    kind.add_argument("--command", metavar="CMD", help="this, by bash in the source's directory")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds for the machine from boot to power-off")
    parser.add_argument("--worktree", action="store_true", help="with the files as they are, not the last commit's")
    asked = parser.parse_args()
    name = "full" if asked.full else "command" if asked.command else "short"
    command = {"full": FULL, "short": SHORT}.get(name) or asked.command
    # So that an interrupted run takes its machine and its files along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        provided = image.provide(asked.release)
        built = time.monotonic() - began
        code = qemu.run(provided, command, timeout=asked.timeout or TIMEOUTS[name], worktree=asked.worktree)
    except (image.ImageError, subprocess.SubprocessError, OSError) as error:
        print(f"test-vm: {error}", file=sys.stderr)
        return qemu.LOST
    except KeyboardInterrupt:
        return 130
    took = f"{time.monotonic() - began - built:.0f} s" + (f" after {built:.0f} s for the image" if built > 5 else "")
    verdict = "passed" if code == 0 else f"FAILED with code {code}"
    print(f"test-vm: {name} on Debian {asked.release} {verdict} in {took}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
