"""One request on its way through the server: what it asks, who asks, and what the answer will carry."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from podstead.apiserver import answers
from podstead.apiserver.request import RequestInfo
from podstead.objects.user import UserInfo
from podstead.registry.options import RequestContext


@dataclass(slots=True)
class Call:
    """`context.warnings` fills while the request is worked on; `headers()` gives them as the answer carries them."""

    request: web.BaseRequest
    info: RequestInfo
    context: RequestContext
    audit_id: str
    streaming: web.StreamResponse | None = field(default=None)
    """The response whose head has been sent: no other can follow on this request."""

    @property
    def user(self) -> UserInfo:
        return self.context.user

    @property
    def accept(self) -> str:
        return ",".join(self.request.headers.getall("Accept", ()))

    def headers(self) -> CIMultiDict[str]:
        return answers.common_headers(self.audit_id, self.context.warnings)

    async def stream(self, content_type: str, status: int = 200) -> web.StreamResponse:
        """Send the head of a streamed answer and return it to write to; the head goes out at once."""
        headers = self.headers()
        headers["Content-Type"] = content_type
        response = web.StreamResponse(status=status, headers=headers)
        if self.request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        else:
            response.force_close()  # the end of the connection is the end of the answer
        self.streaming = response
        await response.prepare(self.request)
        return response
