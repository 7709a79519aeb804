"""Signals: sent to exactly the process that is meant, and by the names that images use."""

from __future__ import annotations

import os
import re
import signal

from podstead.node.runtime.conmon import Monitor
from podstead.node.runtime.records import ProcessIdentity

_SIGNAL = re.compile(r"([0-9]{1,2})|(?:SIG)?([A-Z][A-Z0-9]*)([+-][0-9]{1,2})?")


def send(identity: ProcessIdentity, number: int) -> bool:
    """Send a signal to exactly this process; returns False if it is gone."""
    descriptor = identity.open()
    if descriptor < 0:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


async def killed(identity: ProcessIdentity) -> None:
    """SIGKILL to exactly this process; returns once it has ended."""
    monitor = Monitor.adopt(identity)
    if monitor is not None and send(identity, signal.SIGKILL):
        await monitor.ended


def stop_signal(text: str) -> int:
    """The number that an image's StopSignal names (SIGQUIT, QUIT, 3, SIGRTMIN+3); SIGTERM where it names none."""
    match = _SIGNAL.fullmatch(text.upper())
    if match is None:
        return signal.SIGTERM
    number, name, offset = match.groups()
    base = int(number) if number else signal.Signals.__members__.get(f"SIG{name}", 0)
    found = base + int(offset or 0)
    return found if 0 < found < signal.NSIG else signal.SIGTERM
