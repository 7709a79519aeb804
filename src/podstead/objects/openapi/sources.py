"""What documents are made of beside the schema: the descriptions, where they are installed, and a digest of it all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

from podstead import KUBERNETES_VERSION, __version__
from podstead.objects.definitions import DATA

PACKAGE = "kubernetes_validate"
"""PyPI's kubernetes-validate: the schemas of each release with all their descriptions, word for word."""
HINT = "Without its description: pip install 'podstead[explain]' where podstead is installed, and start it again."


class _Described(msgspec.Struct):
    description: str = ""


class Description(msgspec.Struct):
    """What is said of a definition and of each of its fields."""

    description: str = ""
    properties: dict[str, _Described] = {}

    def field(self, name: str) -> str:
        found = self.properties.get(name)
        return found.description if found else ""


class _File(msgspec.Struct):
    definitions: dict[str, Description] = msgspec.field(name="$defs")


Descriptions = Mapping[str, Description]


def description_file() -> Path | None:
    """Return the file with this release's descriptions, None where it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "kubernetes-json-schema" / f"{KUBERNETES_VERSION}-local" / "_definitions.json"
    return path if path.is_file() else None


def descriptions() -> Descriptions:
    """Return what is said of each definition; empty where no descriptions are installed. Read anew at each call."""
    path = description_file()
    if path is None:
        return {}
    return msgspec.json.decode(path.read_bytes(), type=_File).definitions


@cache
def digest() -> str:
    """Return a hash of everything that a document depends on but for the resources that are served.

    It takes the place of a hash of each document, so that the index needs none of them built.
    """
    made = hashlib.sha512(f"{KUBERNETES_VERSION} {__version__}".encode())
    for path in (*sorted(DATA.iterdir()), *sorted(Path(__file__).parent.glob("*.py"))):
        made.update(path.read_bytes())
    described = description_file()
    if described is not None:
        made.update(f"{described} {described.stat().st_size} {described.stat().st_mtime_ns}".encode())
    return made.hexdigest()
