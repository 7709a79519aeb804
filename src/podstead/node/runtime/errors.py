"""What OCI runtimes write when something fails, in one tongue: runc's, which Kubernetes' users and tools know."""

from __future__ import annotations

import re

import msgspec

# crun's: executable file `x` not found in $PATH: No such file or directory
_NOT_FOUND = re.compile(r"executable file `([^`]*)` not found(?: in \$PATH)?(?:: .*)?$")
# crun's: open executable: Operation not permitted; exec container process `/x`: Exec format error
_NOT_STARTED = re.compile(r"(?:open executable|exec(?:ve| container process)?(?: `([^`]*)`)?): ([A-Z][^:]*)$")


def last_error(output: bytes, program: str = "") -> str:
    """The message of the last error in what an OCI runtime wrote, one line; empty if it wrote nothing.

    Lines that are not of its JSON log (a crash, the monitor's own) count as errors. `program` is the command that it
    was to start.
    """
    found = ""
    for line in output.decode(errors="replace").splitlines():
        text, error = line.strip("\0 "), True
        try:
            entry = msgspec.json.decode(text)
            text, error = str(entry["msg"]).strip(), entry["level"] in ("error", "fatal")
        except (msgspec.DecodeError, KeyError, TypeError):
            pass
        if text and (error or not found):
            found = text
    return _translated(found.splitlines()[-1], program) if found else ""


def _translated(text: str, program: str) -> str:
    if match := _NOT_FOUND.search(text):
        name = match[1] or program
        reason = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
    elif match := _NOT_STARTED.search(text):
        name = match[1] or program
        reason = match[2].lower()
        if reason.startswith("no such file"):
            reason = f"stat {name}: {reason}"
        elif reason == "operation not permitted":
            reason = "permission denied"  # a directory
    else:
        return text
    return f'exec: "{name}": {reason}'
