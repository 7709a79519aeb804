"""Image references: Docker's grammar, and what a short name stands for.

The grammar is that of the distribution project (github.com/distribution/reference): [domain/]path[:tag][@digest],
where a first component without a dot, a colon or capitals that is not `localhost` belongs to the path, the domain is
then docker.io, and a path of one component on docker.io lies below library/.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_NAME_LIMIT = 255

_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_PATH_PART}(?:/{_PATH_PART})*)"
    rf"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?"
)
_HEX64 = re.compile(r"[a-f0-9]{64}")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class InvalidReference(ValueError):
    """A text is not an image reference; the message is Docker's."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete reference. Where there is a digest it alone counts, and `tag` is empty."""

    domain: str
    path: str
    tag: str
    digest: str
    short: bool
    """No domain was written: which registry is meant is a matter of configuration."""

    @property
    def name(self) -> str:
        """docker.io/library/centos"""
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """Return what `text` names, with the defaults of Docker filled in; raises InvalidReference."""
    if _HEX64.fullmatch(text):
        raise InvalidReference(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder, short = _split_domain(text)
    repository = remainder.partition(":")[0]
    if repository.lower() != repository:
        raise InvalidReference(f"invalid reference format: repository name ({repository}) must be lowercase")
    found = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if found is None:
        raise InvalidReference("invalid reference format")
    path, digest = found["path"], found["digest"] or ""
    if len(path) > _NAME_LIMIT:
        raise InvalidReference(f"repository name must not be more than {_NAME_LIMIT} characters")
    if digest:
        _check_digest(digest)
    tag = "" if digest else found["tag"] or DEFAULT_TAG
    return Reference(domain, path, tag, digest, short)


def _split_domain(text: str) -> tuple[str, str, bool]:
    first, slash, rest = text.partition("/")
    has_domain = bool(slash) and (
        "." in first or ":" in first or first == "localhost" or first.startswith("[") or first.lower() != first
    )
    domain, remainder = (first, rest) if has_domain else (DEFAULT_DOMAIN, text)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = f"library/{remainder}"
    return domain, remainder, not has_domain


def _check_digest(digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    length = _DIGEST_LENGTHS.get(algorithm)
    if length is None:
        raise InvalidReference("invalid reference format: unsupported digest algorithm")
    if len(value) != length or value.lower() != value:
        raise InvalidReference("invalid reference format: invalid checksum digest length")


def image_id(text: str) -> str:
    """Return the 64 hex digits if `text` is an image's id (with or without `sha256:`), else an empty string."""
    digits = text.removeprefix("sha256:")
    return digits if _HEX64.fullmatch(digits) else ""


def is_loopback(domain: str) -> bool:
    """Whether a registry is this machine's own: it may then speak plain HTTP, as for Docker and containerd."""
    host = domain[1:].partition("]")[0] if domain.startswith("[") else domain.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
