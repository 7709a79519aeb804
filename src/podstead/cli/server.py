"""The server process: logging, signals, the event loop, and the word to `up` that it is ready."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import logging.handlers
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from podstead.cli.instance import Instance, note_running
from podstead.cli.problems import one_line
from podstead.linux import shutdown
from podstead.linux.hold import Held, hold

FILES = 65536
LOG_BYTES, LOG_FILES = 8 << 20, 3
READY = "ready"
SHUTDOWN_GRACE = 10.0
"""Seconds for containers when the machine goes down."""


def serve(
    instance: Instance, *, foreground: bool, ready_fd: int = -1, on_ready: Callable[[], object] = lambda: None
) -> int:
    """Run the server until SIGTERM or SIGINT; returns the exit code.

    Once it is ready `on_ready` is called; `ready_fd` then gets a line: `ready`, or `ready PROBLEM` where the node is
    not; or else one line of error.
    """
    _set_up_logging(None if foreground else instance.paths.server_log)
    if not foreground:
        # At a machine's end systemd hangs up on sessions too. Not SIG_IGN, which containers would inherit.
        signal.signal(signal.SIGHUP, lambda *_: None)
    data = instance.paths.data
    try:
        # Held before anything is written there: of two at once the second must not touch a file of the first.
        with hold(instance.paths.lock_file):
            code = _serve(instance, foreground, ready_fd, on_ready)
            if code == 0 and shutdown.going_down():
                _end_pods(instance)
            return code
    except Held:
        message = f"the data directory {data} is in use by another podstead process: `podstead down` that one first"
    except OSError as error:
        message = f"the data directory {data} cannot be used: {one_line(error)}; choose another with --data-dir"
    return _end(ready_fd, message, foreground)


def _serve(instance: Instance, foreground: bool, ready_fd: int, on_ready: Callable[[], object]) -> int:
    note_running(instance.paths, foreground=foreground, ready=False)
    _raise_file_limit()
    issuing = _issue_credentials(instance)

    import uvloop

    from podstead.cluster import Cluster, ClusterConfig, ClusterError
    from podstead.node.info import parse_reserved
    from podstead.pki import PkiError
    from podstead.store.base import StoreError

    if issuing is not None:
        issuing.wait()
    reserved = parse_reserved(instance.system_reserved)
    config = ClusterConfig(instance.paths, instance.port, instance.subnet, runtime=instance.runtime, reserved=reserved)
    cluster = Cluster(config)

    def ready(problem: str | None) -> None:
        note_running(instance.paths, foreground=foreground, ready=True)
        on_ready()
        _tell(ready_fd, f"{READY} {problem or ''}".rstrip())
        if foreground:
            state = f"runs, but its node is not ready ({problem})" if problem else "is ready"
            print(f"podstead {state} at {instance.url} (stop with Ctrl-C; pods go on)", flush=True)

    # The store's thread waits for the interpreter at each commit while the loop is busy: 5 ms, as usual, are an age.
    sys.setswitchinterval(0.0005)

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        await cluster.run(ready)

    try:
        uvloop.run(main())
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 0
    except StoreError as error:
        return _end(ready_fd, f"{error}; {_store_step(error)}", foreground)
    except (ClusterError, PkiError) as error:
        return _end(ready_fd, str(error), foreground)
    except BaseException as error:
        logging.getLogger("podstead").critical("the server ended", exc_info=error)
        more = "" if foreground else f"; see {instance.paths.server_log}"
        return _end(ready_fd, f"the server ended unexpectedly: {_root(error)}{more}", foreground)
    return 0


def _store_step(error: BaseException) -> str:
    """Return what to do about a database that cannot be opened: one that is whole is not to be thrown away."""
    import sqlite3

    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    if code == sqlite3.SQLITE_FULL:
        return "free some space there, then podstead up again"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "put a copy of it back, or begin anew: podstead down --purge"
    return "see to it that root can read and write it, then podstead up again"


def _end_pods(instance: Instance) -> None:
    """End the pods when the machine goes down; the next `up` starts them again.

    They outlive a server that ends, so nobody else would: systemd sends SIGTERM, which a container's first process
    does not get unless it asks for it, and waits for 90 s.
    """
    from podstead.cli.teardown import tear_down

    try:
        ended = tear_down(instance, SHUTDOWN_GRACE)
        logging.getLogger("podstead").info("the machine goes down: ended %d pods", ended.pods)
    except Exception as error:
        logging.getLogger("podstead").error("the machine goes down, but pods could not be ended", exc_info=error)


def _raise_file_limit() -> None:
    """Allow as many descriptors as may be: a watch takes one, a stream three, and 1,024 is a common first limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _issue_credentials(instance: Instance) -> subprocess.Popen[bytes] | None:
    """Have a first start's certificates made by another process, meanwhile.

    It takes a second core and 100 ms beside the server's own imports, and keeps 18 MB of `cryptography` out of the
    server for good. Where it fails the server tries for itself, and tells why.
    """
    paths, gateway = instance.paths, next(ipaddress.IPv4Network(instance.subnet).hosts())
    if paths.pki.exists():
        return None
    return subprocess.Popen([sys.executable, "-m", "podstead.pki", str(paths.pki), str(gateway)])


def _root(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _end(ready_fd: int, message: str, foreground: bool) -> int:
    _tell(ready_fd, message)
    if foreground:
        print(f"podstead: {message}", file=sys.stderr)
    return 1


def _tell(descriptor: int, line: str) -> None:
    if descriptor < 0:
        return
    try:
        os.write(descriptor, " ".join(line.split()).encode() + b"\n")
        os.close(descriptor)
    except OSError:
        pass  # `up` was interrupted or has been answered already: the server runs all the same


def _set_up_logging(file: Path | None) -> None:
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
