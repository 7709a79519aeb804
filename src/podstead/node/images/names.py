"""Takes names away from an image in the store's own records, for which skopeo has no command.

The records are replaced by rename, under containers/storage's lock (a POSIX lock on overlay-images/images.lock), and
the lock file's content is changed: that is how other users of the store notice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

_LAST_WRITER_SIZE = 64
_FLOCK = "hhqqi4x"
"""struct flock on 64-bit Linux: type, whence, start, length, pid."""


def take_away(graph: Path, identity: str, names: Collection[str] | None) -> None:
    """Take `names` (None: all) from the image with that id in the store at `graph`; raises OSError. Blocks."""
    folder = graph / "overlay-images"
    with _locked(folder / "images.lock") as lock:
        path = folder / "images.json"
        records = msgspec.json.decode(path.read_bytes())
        for record in records:
            if record["id"] == identity:
                left = [name for name in record.get("names") or () if names is not None and name not in names]
                record["names"] = left
        fresh = folder / f".podstead-{os.getpid()}"
        with fresh.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(msgspec.json.encode(records))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        os.pwrite(lock, os.urandom(_LAST_WRITER_SIZE), 0)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the lock by its open file description: a lock of the process would end with any other descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        yield descriptor
    finally:
        os.close(descriptor)
