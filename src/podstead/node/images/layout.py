"""Writes an OCI image layout of one layer from a tar stream (OCI image-spec 1.0: image-layout, config, manifest)."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from podstead.node.runtime.base import ImageConfig

_BLOCK = 512
_CHUNK = 1 << 20
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "loongarch64": "loong64",
}
_TYPE = "application/vnd.oci.image"


class NotATar(ValueError):
    """A stream is not a tar archive with something in it."""


def write(directory: Path, stream: IO[bytes], config: ImageConfig, *, created: float) -> None:
    """Write the layout to `directory` (made here) in bounded memory. `created` is in seconds since the epoch.

    Raises NotATar, OSError, and what reading `stream` raises.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer_digest, layer_size = _write_layer(blobs, stream)
    created_at = datetime.fromtimestamp(int(created), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    description = {
        "created": created_at,
        "architecture": architecture(),
        "os": "linux",
        "config": _run_config(config),
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created": created_at, "comment": "imported by podstead"}],
    }
    write_index(
        directory, description, [{"mediaType": f"{_TYPE}.layer.v1.tar", "digest": layer_digest, "size": layer_size}]
    )


def write_index(directory: Path, config: dict[str, Any], layers: Sequence[dict[str, Any]]) -> None:
    """Write what makes a layout of an image's configuration and the descriptors of its layers; raises OSError."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}.manifest.v1+json",
        "config": _write_blob(blobs, "config.v1", config),
        "layers": list(layers),
    }
    index = {"schemaVersion": 2, "manifests": [_write_blob(blobs, "manifest.v1", manifest)]}
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text(json.dumps(index))


def architecture() -> str:
    """This machine's architecture in an image's terms, which are Go's: amd64, arm64 ..."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def _write_layer(blobs: Path, stream: IO[bytes]) -> tuple[str, int]:
    head = stream.read(_BLOCK)
    if len(head) == _BLOCK and not any(head):
        raise NotATar("an archive with nothing in it")
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        raise NotATar("not a tar archive") from None
    digest, size, partial = hashlib.sha256(), 0, blobs / "partial"
    with partial.open("wb") as file:
        chunk = head
        while chunk:
            digest.update(chunk)
            size += file.write(chunk)
            chunk = stream.read(_CHUNK)
    partial.rename(blobs / digest.hexdigest())
    return f"sha256:{digest.hexdigest()}", size


def _write_blob(blobs: Path, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    content = json.dumps(value, separators=(",", ":")).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": f"{_TYPE}.{kind}+json", "digest": f"sha256:{digest}", "size": len(content)}


def _run_config(config: ImageConfig) -> dict[str, Any]:
    said = {
        "User": config.user,
        "Env": list(config.env),
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "WorkingDir": config.working_dir,
        "StopSignal": config.stop_signal,
    }
    return {key: value for key, value in said.items() if value}


def changed(instructions: Iterable[str], config: ImageConfig | None = None) -> ImageConfig:
    """Apply Dockerfile instructions (CMD, ENTRYPOINT, ENV, WORKDIR, USER, STOPSIGNAL), as `docker import --change`.

    Raises ValueError naming the instruction that is not one of these or not well formed.
    """
    config = config or ImageConfig()
    for instruction in instructions:
        word, _, rest = instruction.strip().partition(" ")
        rest = rest.strip()
        if not rest:
            raise ValueError(f"{instruction!r}: an instruction and its value are needed, such as 'CMD [\"sh\"]'")
        match word.upper():
            case "CMD":
                config = replace(config, cmd=_command(rest))
            case "ENTRYPOINT":
                config = replace(config, entrypoint=_command(rest))
            case "ENV":
                config = replace(config, env=_environment(config.env, rest))
            case "WORKDIR":
                config = replace(config, working_dir=rest)
            case "USER":
                config = replace(config, user=rest)
            case "STOPSIGNAL":
                config = replace(config, stop_signal=rest)
            case _:
                raise ValueError(f"{instruction!r}: only CMD, ENTRYPOINT, ENV, WORKDIR, USER and STOPSIGNAL are known")
    return config


def _command(text: str) -> tuple[str, ...]:
    """The exec form is a JSON list of strings; anything else is given to a shell."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return tuple(words)
    return "/bin/sh", "-c", text


def _environment(before: tuple[str, ...], text: str) -> tuple[str, ...]:
    words = shlex.split(text)
    if "=" not in words[0]:  # the old form: ENV KEY the rest
        words = [f"{words[0]}={text.partition(' ')[2].strip()}"]
    if not all(word.partition("=")[1] and word.partition("=")[0] for word in words):
        raise ValueError(f"'ENV {text}': each must be KEY=VALUE")
    variables = dict(word.split("=", 1) for word in (*before, *words))
    return tuple(f"{key}={value}" for key, value in variables.items())
