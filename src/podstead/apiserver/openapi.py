"""/openapi/v3, an index with a hash a document and the documents, and /openapi/v2, for clients that know no other.

Everything is built and encoded at the first request for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable

import msgspec

from podstead.apiserver.answers import Answer
from podstead.apiserver.negotiation import JSON, parse_accept
from podstead.objects.errors import not_acceptable, path_not_found
from podstead.objects.kinds import ResourceInfo

_PREFIX = "/openapi/v3"
_V2 = "/openapi/v2"
_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_PROTOBUF_ASKED = (_V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
"""The second is how clients of old ask; `@` may not be in a media type."""


class OpenApi:
    """Serves the documents of the group-versions that `served` are in."""

    def __init__(self, served: Iterable[ResourceInfo]) -> None:
        self._infos: dict[str, list[ResourceInfo]] = {}
        for info in served:
            path = f"apis/{info.group_version}" if info.group else f"api/{info.version}"
            self._infos.setdefault(path, []).append(info)
        self._documents: dict[str, Answer] = {}
        self._v2: dict[str, Answer] = {}
        self._lock = asyncio.Lock()

    def paths(self) -> list[str]:
        return [_V2, _PREFIX, *(f"{_PREFIX}/{path}" for path in self._infos)]

    async def answer(self, path: str, accept: str, wanted_hash: str) -> Answer:
        """Answer the index or a document; a hash that is no longer right is redirected. Raises StatusError 404, 406."""
        if path == _V2:
            return await self._v2_answer(accept)
        if path != _PREFIX and not path.startswith(f"{_PREFIX}/"):
            raise path_not_found()
        name = path.removeprefix(_PREFIX).strip("/")
        if name and name not in self._infos:
            raise path_not_found()
        async with self._lock:
            if not self._documents:
                self._documents = await asyncio.to_thread(self._build)
        answer = self._documents[name]
        if not name or not wanted_hash:
            return answer
        current = answer.headers["ETag"].strip('"')
        if wanted_hash != current:
            return Answer(b"", 301, headers={"Location": f"{_PREFIX}/{name}?hash={current}"})
        return Answer(answer.body, 200, JSON, {**answer.headers, "Cache-Control": "public, immutable"})

    async def _v2_answer(self, accept: str) -> Answer:
        for media in parse_accept(accept):
            media_type = _V2_PROTOBUF if media.type in _V2_PROTOBUF_ASKED else JSON if media.matches(JSON) else ""
            if media_type:
                async with self._lock:
                    if media_type not in self._v2:
                        self._v2[media_type] = await asyncio.to_thread(self._build_v2, media_type)
                return self._v2[media_type]
        raise not_acceptable(f"only the following media types are accepted: {JSON}, {_V2_PROTOBUF}")

    def _build_v2(self, media_type: str) -> Answer:
        from podstead.objects.openapi_v2 import encode_document, v2_document

        document = v2_document(info for infos in self._infos.values() for info in infos)
        return _answer(msgspec.json.encode(document) if media_type == JSON else encode_document(document), media_type)

    def _build(self) -> dict[str, Answer]:
        from podstead.objects.openapi import v3_document

        documents, index = {}, {}
        for path, infos in self._infos.items():
            document = v3_document(infos[0].group, infos[0].version, infos)
            answer = _answer(msgspec.json.encode(document))
            documents[path] = answer
            digest = answer.headers["ETag"].strip('"')
            index[path] = {"serverRelativeURL": f"{_PREFIX}/{path}?hash={digest}"}
        documents[""] = _answer(msgspec.json.encode({"paths": index}))
        return documents


def _answer(body: bytes, media_type: str = JSON) -> Answer:
    digest = hashlib.sha512(body).hexdigest()[:64].upper()
    return Answer(body, 200, media_type, {"ETag": f'"{digest}"', "Vary": "Accept"})
