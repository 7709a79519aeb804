"""Content negotiation: which of the forms that the server can give does the client's Accept header ask for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from podstead.objects import protobuf, yaml_text
from podstead.objects.errors import StatusError, not_acceptable, unsupported_media_type

JSON = "application/json"
YAML = yaml_text.MEDIA_TYPE
PROTOBUF = protobuf.MEDIA_TYPE
OBJECT_FORMS = (JSON, YAML, PROTOBUF)
"""What an object in a request may be written in; answers are JSON, or YAML where that is asked for."""
_META_VERSIONS = ("v1", "v1beta1")


class Form(Enum):
    """What an answer is made of."""

    OBJECT = ""
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class MediaType:
    """One clause of an Accept header, or a Content-Type; names in lower case."""

    type: str
    parameters: dict[str, str]

    def matches(self, offered: str) -> bool:
        return self.type in (offered, "*/*", offered.partition("/")[0] + "/*")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outcome of a negotiation: `version` is meta.k8s.io's for a form other than OBJECT."""

    form: Form = Form.OBJECT
    version: str = "v1"
    media_type: str = JSON

    @property
    def api_version(self) -> str:
        return f"meta.k8s.io/{self.version}"


@lru_cache(maxsize=256)
def parse_accept(header: str) -> tuple[MediaType, ...]:
    """Return the clauses of an Accept header, the most wanted first (RFC 9110, 12.5.1); "" accepts everything."""
    clauses: list[tuple[float, MediaType]] = []
    for part in header.split(",") if header.strip() else ("*/*",):
        media = parse_media_type(part)
        if media is None:
            continue
        try:
            quality = float(media.parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        if quality > 0:
            clauses.append((quality, media))
    clauses.sort(key=lambda clause: -clause[0])
    return tuple(media for _, media in clauses)


def parse_media_type(text: str) -> MediaType | None:
    """Return `type/subtype;key=value...`, None where it is not one."""
    name, *rest = text.strip().split(";")
    name = name.strip().lower()
    if name.count("/") != 1:
        return None
    parameters = {}
    for item in rest:
        key, _, value = item.strip().partition("=")
        parameters[key.lower()] = value.strip('"')
    return MediaType(name, parameters)


@lru_cache(maxsize=256)
def negotiate(header: str, forms: frozenset[Form] = frozenset({Form.OBJECT}), *, streamed: bool = False) -> Accepted:
    """Return the first clause of an Accept header that can be served, given the forms there are.

    `streamed`: an answer of many objects one after the other, which there is in JSON only. Raises StatusError 406 where
    there is none.
    """
    served = (JSON,) if streamed else (JSON, YAML)
    for media in parse_accept(header):
        media_type = next(filter(media.matches, served), None)
        if media_type is None:
            continue
        wanted = media.parameters.get("as", "")
        if not wanted:
            return Accepted(media_type=media_type)
        version = media.parameters.get("v", "")
        if media.parameters.get("g") != "meta.k8s.io" or version not in _META_VERSIONS:
            continue
        for form in forms:
            if form.value == wanted:
                return Accepted(form, version, media_type)
    raise not_acceptable(f"only the following media types are accepted: {', '.join(served)}")


@lru_cache(maxsize=256)
def wants_yaml(header: str) -> bool:
    """Tell whether YAML comes before JSON in an Accept header."""
    for media in parse_accept(header):
        if media.matches(JSON):
            return False
        if media.type == YAML:
            return True
    return False


@lru_cache(maxsize=256)
def takes_gzip(header: str) -> bool:
    """Tell whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3)."""
    weights: dict[str, str] = {}
    for part in header.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.partition("=")[2].strip() or "1"
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.strip("0.") != ""


def require_content_type(header: str, supported: tuple[str, ...] = (JSON,)) -> str:
    """Return the media type of a body, one of `supported`; raises StatusError 415 that names them.

    A missing header means JSON, as in Kubernetes.
    """
    media = parse_media_type(header) if header.strip() else MediaType(JSON, {})
    if media is None or media.type not in supported:
        raise unsupported(supported)
    return media.type


def unsupported(supported: tuple[str, ...]) -> StatusError:
    listed = ", ".join(supported)
    return unsupported_media_type(
        f"the body of the request was in an unknown format - accepted media types include: {listed}"
    )
