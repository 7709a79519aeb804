"""Ends a process by SIGKILL before its n-th system call, so that a test sees every state that a crash can leave."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_TRACEME, _KILL, _SYSCALL = 0, 8, 24
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def dies_at(call: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed as it enters its system call number `call` (from 0); False if it has ended.

    `work` has to be blocking, in one thread, and to need nothing of the parent's but memory. Raises AssertionError
    where it fails by itself.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    # Each call stops twice: as it is entered, and as it returns. The first stop is the return of kill(2).
    for _ in range(2 * call + 2):
        _libc.ptrace(_SYSCALL, child, None, None)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "it failed by itself"
            return False
        assert os.WIFSTOPPED(status), "it was killed by something else"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True
