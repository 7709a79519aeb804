"""Parts of the image tests: a real registry on a loopback port, and small archives."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE = 20
MakeLayout = Callable[..., Path]


class Registry:
    """docker-registry with its files below `directory`; `address` is HOST:PORT. With `guarded` it asks for USER's
    PASSWORD."""

    USER, PASSWORD = "someone", "secret"
    PASSWORD_HASH = "$2b$04$0uc4yDQYjOWPCIl544d37.ctaiwYy.tqbKrCNDNm8BDzvXWi19e4."

    def __init__(self, directory: Path, *, guarded: bool = False) -> None:
        self._access_log = directory / "access.log"
        configuration: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
            "http": {"addr": "127.0.0.1:0"},
        }
        if guarded:
            (directory / "htpasswd").write_text(f"{self.USER}:{self.PASSWORD_HASH}\n")
            configuration["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
        (directory / "config.yml").write_text(json.dumps(configuration))
        with self._access_log.open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(directory / "config.yml")],
                stdout=log,
                stderr=subprocess.PIPE,
                env={key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
            )
        self._listening = threading.Event()
        self.address = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(DEADLINE):
            self.stop()
            raise RuntimeError("docker-registry did not start")

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            found = line.decode(errors="replace").partition("listening on ")[2]
            if found:
                self.address = found.partition('"')[0].partition(" ")[0].strip()
                self._listening.set()

    def requests(self, fragment: str) -> list[str]:
        """The GET requests in the access log whose line has `fragment`."""
        lines = self._access_log.read_text().splitlines()
        return [line for line in lines if '"GET ' in line and fragment in line]

    def push(self, layout: Path, name: str, *options: str) -> str:
        """Push an OCI layout as `name` (path:tag) and return the reference with the registry's address."""
        skopeo("copy", "--dest-tls-verify=false", *options, f"oci:{layout}", f"docker://{self.address}/{name}")
        return f"{self.address}/{name}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self._process.stderr is not None
        self._process.stderr.close()


def skopeo(*arguments: str) -> None:
    subprocess.run(["skopeo", *arguments], check=True, capture_output=True, timeout=DEADLINE)


def make_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
