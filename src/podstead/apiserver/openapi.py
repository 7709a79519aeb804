"""/openapi/v3, an index with a hash a document and the documents, and /openapi/v2, for clients that know no other.

A document is built at the first request for it and kept compressed, as almost every client takes it. The index does not
wait for them: what stands for a document in it is a hash of all that the document is made of.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from podstead.apiserver.answers import Answer
from podstead.apiserver.negotiation import JSON, parse_accept
from podstead.objects.errors import not_acceptable, path_not_found
from podstead.objects.kinds import ResourceInfo

_PREFIX = "/openapi/v3"
_V2 = "/openapi/v2"
_GZIP_LEVEL = 6


def _protobuf(version: str) -> tuple[str, str]:
    """The media type, and the one that clients of old ask with: `@` may not be in a media type."""
    name = f"application/com.github.proto-openapi.spec.{version}"
    return f"{name}.v1.0+protobuf", f"{name}@v1.0+protobuf"


_PROTOBUF = {_V2: _protobuf("v2"), _PREFIX: _protobuf("v3")}


class OpenApi:
    """Serves the documents of the group-versions that `served` are in."""

    def __init__(self, served: Iterable[ResourceInfo]) -> None:
        self._infos: dict[str, list[ResourceInfo]] = {"version": []}
        for info in served:
            root = "apis" if info.group else "api"
            for path in (root, *((f"apis/{info.group}",) if info.group else ())):
                self._infos.setdefault(path, [])
            self._infos.setdefault(f"{root}/{info.group_version}", []).append(info)
        self._hashes: dict[str, str] = {}
        self._built: dict[tuple[str, str], Answer] = {}
        self._lock = asyncio.Lock()

    def paths(self) -> list[str]:
        return [_V2, _PREFIX, *(f"{_PREFIX}/{path}" for path in self._infos)]

    async def answer(self, path: str, accept: str, wanted_hash: str) -> Answer:
        """Answer the index or a document; a hash that is no longer right is redirected. Raises StatusError 404, 406."""
        if path == _V2:
            media_type = _choose(_V2, accept)
            return await self._document(_V2, media_type, "", lambda: self._build_v2(media_type))
        name = path.removeprefix(_PREFIX).strip("/")
        if path.rstrip("/") == _PREFIX:
            return await self._document(_PREFIX, JSON, "", self._build_index)
        if not path.startswith(f"{_PREFIX}/") or name not in self._infos:
            raise path_not_found()
        current = (await self._all_hashes())[name]
        if wanted_hash and wanted_hash != current:
            return Answer(b"", 301, headers={"Location": f"{_PREFIX}/{name}?hash={current}"})
        media_type = _choose(_PREFIX, accept)
        etag = current if media_type == JSON else _digest(current, media_type)
        answer = await self._document(name, media_type, etag, lambda: self._build(name, media_type))
        if wanted_hash:
            headers = {**answer.headers, "Cache-Control": "public, immutable"}
            return Answer(answer.body, 200, answer.content_type, headers, answer.gzipped)
        return answer

    async def _all_hashes(self) -> dict[str, str]:
        if not self._hashes:
            self._hashes = await asyncio.to_thread(
                lambda: {path: _hash(path, each) for path, each in self._infos.items()}
            )
        return self._hashes

    async def _document(self, name: str, media_type: str, etag: str, build: Callable[[], bytes]) -> Answer:
        """Return the answer that was built before, or build and keep it; one at a time."""
        hashes = await self._all_hashes()
        async with self._lock:
            answer = self._built.get((name, media_type))
            if answer is None:
                body = await asyncio.to_thread(lambda: gzip.compress(build(), _GZIP_LEVEL, mtime=0))
                etag = etag or _digest(*hashes.values(), media_type)
                answer = Answer(body, 200, media_type, {"ETag": f'"{etag}"', "Vary": "Accept"}, gzipped=True)
                self._built[name, media_type] = answer
        return answer

    def _build_index(self) -> bytes:
        from podstead.objects.openapi import v3_index

        return msgspec.json.encode(v3_index(self._hashes))

    def _build(self, path: str, media_type: str) -> bytes:
        from podstead.objects import openapi

        infos, texts = self._infos[path], openapi.descriptions()
        if infos:
            document = openapi.v3_document(infos[0].group, infos[0].version, infos, texts)
        else:
            document = openapi.v3_discovery_document(path, texts)
        return msgspec.json.encode(document) if media_type == JSON else openapi.encode_v3(document)

    def _build_v2(self, media_type: str) -> bytes:
        from podstead.objects import openapi

        infos = [info for infos in self._infos.values() for info in infos]
        document = openapi.v2_document(infos, openapi.descriptions())
        return msgspec.json.encode(document) if media_type == JSON else openapi.encode_v2(document)


def _choose(root: str, accept: str) -> str:
    """Return the media type that is asked for. Raises StatusError 406."""
    protobuf, of_old = _PROTOBUF[root]
    for media in parse_accept(accept):
        if media.type in (protobuf, of_old):
            return protobuf
        if media.matches(JSON):
            return JSON
    raise not_acceptable(f"only the following media types are accepted: {JSON}, {protobuf}")


def _hash(path: str, infos: Sequence[ResourceInfo]) -> str:
    from podstead.objects.openapi import digest

    return _digest(digest(), path, repr(infos))


def _digest(*parts: str) -> str:
    return hashlib.sha512("\0".join(parts).encode()).hexdigest()[:64].upper()
