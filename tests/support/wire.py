"""Requests to an instance as bytes of a test's own choice: no client library that would put them right first."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from support.instance import TestInstance

TIMEOUT = 20.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: `body` decoded as text."""

    code: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """What a Status object says; the answer must be one with this code."""
        status = self.json
        assert (status["kind"], status["apiVersion"], status["code"]) == ("Status", "v1", self.code), status
        return str(status["message"])


class Wire:
    """Requests with the administrator's certificate, another one's, or none."""

    def __init__(self, instance: TestInstance, directory: Path) -> None:
        config = yaml.safe_load(instance.kubeconfig.read_text())
        current = config["current-context"]
        cluster = next(one["cluster"] for one in config["clusters"] if one["name"] == current)
        user = next(one["user"] for one in config["users"] if one["name"] == current)
        self.host, self.port = urlsplit(cluster["server"]).hostname or "", urlsplit(cluster["server"]).port or 443
        self._authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.pair = directory / "client.pem"
        self.pair.touch(mode=0o600)
        parts = (base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key"))
        self.pair.write_bytes(b"\n".join(parts))

    def context(self, pair: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._authority)
        if pair is not None:
            context.load_cert_chain(pair)
        return context

    def connect(self, *, anonymous: bool = False, pair: Path | None = None) -> ssl.SSLSocket:
        """Return a TLS connection; raises ssl.SSLError."""
        raw = socket.create_connection((self.host, self.port), TIMEOUT)
        return self.context(None if anonymous else pair or self.pair).wrap_socket(raw, server_hostname=self.host)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        anonymous: bool = False,
        **headers: str,
    ) -> Answer:
        """Send one request; `content_type="..."` is the header Content-Type."""
        pair = None if anonymous else self.pair
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=self.context(pair))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace"))
        finally:
            connection.close()

    def post(self, path: str, body: bytes | str, content_type: str = "application/json") -> Answer:
        return self.request("POST", path, body, Content_Type=content_type)

    def raw(self, data: bytes, *, anonymous: bool = False) -> bytes:
        """Send bytes, return what comes back until the server closes."""
        with self.connect(anonymous=anonymous) as connection:
            connection.sendall(data)
            found = b""
            while chunk := connection.recv(65536):
                found += chunk
            return found


def stranger(directory: Path) -> Path:
    """Return the file of a certificate and key that an authority of its own has signed (itself), for system:masters."""
    pair = directory / "stranger.pem"
    key, certificate = directory / "stranger.key", directory / "stranger.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/O=system:masters/CN=stranger", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    pair.write_text(certificate.read_text() + key.read_text())
    return pair
