"""The RuntimeDefault seccomp profile: the allow list of seccomp.json as the OCI configuration's linux.seccomp."""

from __future__ import annotations

import platform
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from podstead.node.runtime.base import CreateFailed

_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
}
_EPERM, _ENOSYS = 1, 38


class _Argument(msgspec.Struct):
    """A condition on argument `index`: `op` is NE, LE, EQ ... or MASKED_EQ (value: mask, valueTwo: wanted)."""

    index: int
    value: int
    op: str
    value_two: int = 0


class _Conditional(msgspec.Struct):
    names: str
    arguments: list[_Argument] = []
    errno: int = 0
    unless: str = ""
    """Only without this capability."""


class Profile(msgspec.Struct):
    """seccomp.json. Lists of names are one string each, separated by blanks."""

    source: str
    allow: str
    capability: dict[str, str]
    architecture: dict[str, str]
    conditional: list[_Conditional]


@cache
def profile() -> Profile:
    """Return the reviewed data; read at the first container that asks for it."""
    text = resources.files("podstead.node.runtime").joinpath("seccomp.json").read_bytes()
    return msgspec.json.decode(text, type=Profile)


def runtime_default(granted: frozenset[str], machine: str = platform.machine()) -> dict[str, Any]:
    """Return linux.seccomp for a container that holds the CAP_ names `granted`, on architecture `machine` (uname -m).

    What is not allowed gets EPERM; clone3 without SYS_ADMIN gets ENOSYS, so that libc falls back to clone, whose
    flags can be looked at.
    """
    data = profile()
    names = set(data.allow.split()) | set(data.architecture.get(machine, "").split())
    for capability, more in data.capability.items():
        if f"CAP_{capability}" in granted:
            names.update(more.split())
    rules: list[dict[str, Any]] = [{"names": sorted(names), "action": "SCMP_ACT_ALLOW"}]
    for rule in data.conditional:
        if rule.unless and f"CAP_{rule.unless}" in granted:
            continue
        rules.append(_rule(rule, machine))
    found: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": _EPERM, "syscalls": rules}
    if machine in _ARCHITECTURES:
        found["architectures"] = _ARCHITECTURES[machine]
    return found


_KNOWN = frozenset(("defaultAction", "defaultErrnoRet", "architectures", "flags", "syscalls"))
_SIZE_LIMIT = 8 << 20


def localhost(path: Path) -> dict[str, Any]:
    """Return linux.seccomp from the file of a profile, in the runtime-spec's JSON form (which Docker's is, too).

    Raises CreateFailed, with the path, where there is none or it is none.
    """
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(_SIZE_LIMIT))
    except (OSError, msgspec.DecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CreateFailed(f'cannot load seccomp profile "{path}": {why}', "CreateContainerError") from error
    if not isinstance(found, dict) or not isinstance(found.get("defaultAction"), str):
        raise CreateFailed(f'cannot load seccomp profile "{path}": it has no defaultAction', "CreateContainerError")
    return {name: value for name, value in found.items() if name in _KNOWN}


def _rule(rule: _Conditional, machine: str) -> dict[str, Any]:
    found: dict[str, Any] = {"names": rule.names.split(), "action": "SCMP_ACT_ALLOW"}
    if rule.errno:
        found |= {"action": "SCMP_ACT_ERRNO", "errnoRet": rule.errno}
    if rule.arguments:
        # clone(2): s390 takes the stack before the flags.
        shift = 1 if machine == "s390x" and rule.names == "clone" else 0
        found["args"] = [
            {"index": each.index + shift, "value": each.value, "valueTwo": each.value_two, "op": f"SCMP_CMP_{each.op}"}
            for each in rule.arguments
        ]
    return found
