"""/openapi/v3: the index with a hash a document, and the documents, built and encoded at the first request for them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable

import msgspec

from podstead.apiserver.answers import Answer
from podstead.apiserver.negotiation import JSON
from podstead.objects.errors import path_not_found
from podstead.objects.kinds import ResourceInfo

_PREFIX = "/openapi/v3"


class OpenApi:
    """Serves the documents of the group-versions that `served` are in."""

    def __init__(self, served: Iterable[ResourceInfo]) -> None:
        self._infos: dict[str, list[ResourceInfo]] = {}
        for info in served:
            path = f"apis/{info.group_version}" if info.group else f"api/{info.version}"
            self._infos.setdefault(path, []).append(info)
        self._documents: dict[str, Answer] = {}
        self._lock = asyncio.Lock()

    def paths(self) -> list[str]:
        return [_PREFIX, *(f"{_PREFIX}/{path}" for path in self._infos)]

    async def answer(self, path: str, wanted_hash: str) -> Answer:
        """Answer the index or one document; a hash that is no longer right is redirected. Raises StatusError 404."""
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


def _answer(body: bytes) -> Answer:
    digest = hashlib.sha512(body).hexdigest()[:64].upper()
    return Answer(body, 200, JSON, {"ETag": f'"{digest}"', "Vary": "Accept"})
