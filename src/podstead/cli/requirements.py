"""What podstead needs of the machine, checked before anything is changed: one line for what is missing."""

from __future__ import annotations

import os
import shutil
import sys

from podstead.cli.instance import InstanceError

PROGRAMS = {"conmon": "conmon", "skopeo": "skopeo", "nft": "nftables"}
RUNTIMES = {"runc": "runc", "crun": "crun"}
"""Program: Debian package. Of the runtimes one is enough."""
_SYSTEM_DIRECTORIES = "/usr/local/sbin:/usr/sbin:/sbin"


def check() -> None:
    """Raise InstanceError where this is not Linux, not root, or a program is missing."""
    if not sys.platform.startswith("linux"):
        raise InstanceError("podstead runs on Linux only: use a Linux machine, or a virtual one")
    check_root()
    search = f"{os.environ.get('PATH', '')}:{_SYSTEM_DIRECTORIES}"
    missing = [program for program in PROGRAMS if shutil.which(program, path=search) is None]
    if not any(shutil.which(program, path=search) for program in RUNTIMES):
        missing.insert(0, "runc")
    if missing:
        packages = " ".join((RUNTIMES | PROGRAMS)[program] for program in missing)
        raise InstanceError(f"{', '.join(missing)} not found: apt-get install {packages} (or your system's equivalent)")
    # What runc and skopeo start themselves is looked for in PATH too.
    os.environ["PATH"] = search


def check_root() -> None:
    """Raise InstanceError for anybody but root."""
    if os.geteuid() != 0:
        raise InstanceError("podstead must run as root (it makes namespaces, mounts and networks): try sudo")
