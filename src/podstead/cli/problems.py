"""How an error reads on the command line: one line that says what failed, why, and what to do."""

from __future__ import annotations

import errno
import os

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""

_STEPS = {
    errno.ENOSPC: "free some space, for instance with: podstead image prune --all",
    errno.EDQUOT: "free some space, for instance with: podstead image prune --all",
    errno.EROFS: "it must be writable: choose another place with --data-dir",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files (sysctl fs.file-max)",
    errno.ENOMEM: "end something else that takes memory",
}


def one_line(error: BaseException) -> str:
    """Return what a user reads of an error: the file's name in front where it is about one, the next step behind."""
    if not isinstance(error, OSError) or not error.strerror:
        return " ".join(str(error).split()) or type(error).__name__
    text = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
    step = _STEPS.get(error.errno or 0, "")
    if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
        step = "podstead needs root: try sudo"
    return f"{text} ({step})" if step else text
