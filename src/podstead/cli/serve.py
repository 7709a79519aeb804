"""`python -m podstead.cli.serve NAME READY_FD`: the server process that `podstead up` starts. Not for users."""

from __future__ import annotations

import sys

from podstead.cli.instance import find
from podstead.cli.server import serve


def main() -> int:
    name, descriptor = sys.argv[1], int(sys.argv[2])
    instance = find(name)
    if instance is None:
        print(f"there is no instance {name!r}", file=sys.stderr)
        return 2
    return serve(instance, foreground=False, ready_fd=descriptor)


if __name__ == "__main__":
    sys.exit(main())
