"""Signs approved requests for client certificates (signerName kubernetes.io/kube-apiserver-client).

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.informer import Informer
from podstead.controllers.base import WorkQueue

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
SIGNER = "kubernetes.io/kube-apiserver-client"
_FAILED = "SignerValidationFailure"

Sign = Callable[[bytes, Sequence[str], int | None], bytes]
"""Takes a request in PEM, its usages, and for how many seconds; returns a certificate in PEM. Raises ValueError."""


class ClientCertificateSigner:
    """Nobody else's requests are touched: those of other signers wait for theirs. `sign` blocks for milliseconds."""

    def __init__(self, client: Client, sign: Sign) -> None:
        self._client = client
        self._sign = sign
        self._queue = WorkQueue("signing of certificates", self._work, workers=1)
        self._requests = Informer(client, REQUESTS, field_selector=f"spec.signerName={SIGNER}")
        self._requests.on_add = self._seen
        self._requests.on_update = lambda _old, new: self._seen(new)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._requests.run())
            group.create_task(self._queue.run())

    def _seen(self, request: Object) -> None:
        if _waits(request):
            self._queue.add(request["metadata"]["name"])

    async def _work(self, name: str) -> None:
        request = self._requests.store.get(name)
        if request is None or not _waits(request):
            return
        spec, status = request["spec"], dict(request.get("status") or {})
        try:
            pem = base64.b64decode(spec["request"])
            made = await asyncio.to_thread(self._sign, pem, spec.get("usages") or (), spec.get("expirationSeconds"))
        except ValueError as error:
            now = clock.rfc3339()
            failed = {"type": "Failed", "status": "True", "reason": _FAILED, "message": str(error)}
            failed |= {"lastUpdateTime": now, "lastTransitionTime": now}
            status["conditions"] = [*(status.get("conditions") or ()), failed]
        else:
            status["certificate"] = base64.b64encode(made).decode()
        await self._client.update(REQUESTS, {**request, "status": status}, subresource="status")


def _waits(request: Object) -> bool:
    """Tell whether a request is approved and nothing has come of it yet."""
    status = request.get("status") or {}
    kinds = {one["type"] for one in status.get("conditions") or ()}
    return "Approved" in kinds and not kinds & {"Denied", "Failed"} and not status.get("certificate")
