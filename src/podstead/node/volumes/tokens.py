"""Service-account tokens of a pod, asked for when they are needed and renewed before they end.

Renewed when 80% of their time is over, or after a day (KEP-1205); what else of a volume changes brings no new token.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from podstead import clock
from podstead.client.base import Client
from podstead.node.volumes.base import VolumeError
from podstead.objects.errors import StatusError
from podstead.objects.pod import Pod
from podstead.objects.volumes import ServiceAccountTokenProjection

_DAY = 24 * 3600.0
_JITTER = 10.0
_RETRY = 30.0
"""Seconds until a token that could not be renewed is asked for again."""


@dataclass(frozen=True, slots=True)
class _Token:
    """Times in POSIX seconds."""

    text: str
    renew_at: float
    ends: float


class PodTokens:
    """The tokens that one volume shows."""

    def __init__(self) -> None:
        self._tokens: dict[ServiceAccountTokenProjection, _Token] = {}

    @property
    def renew_at(self) -> float | None:
        """When (POSIX seconds) the first one is to be renewed; None: there is none."""
        return min((token.renew_at for token in self._tokens.values()), default=None)

    async def get(self, client: Client, pod: Pod, source: ServiceAccountTokenProjection) -> str:
        """Return a token; raises VolumeError if there is none and none can be had."""
        present, now = self._tokens.get(source), clock.now().timestamp()
        if present is not None and now < present.renew_at:
            return present.text
        try:
            token = await _request(client, pod, source)
        except StatusError as error:
            if present is None or now >= present.ends:
                raise VolumeError(f"failed to fetch token: {error}") from error
            token = _Token(present.text, now + _RETRY, present.ends)
        self._tokens[source] = token
        return token.text


async def _request(client: Client, pod: Pod, source: ServiceAccountTokenProjection) -> _Token:
    meta, account = pod.metadata, pod.spec.service_account_name
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [source.audience] if source.audience else [],
            "expirationSeconds": source.expiration_seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": meta.name, "uid": meta.uid},
        },
    }
    answer = await client.create_subresource("serviceaccounts", account, meta.namespace, "token", request)
    status, now = answer["status"], clock.now().timestamp()
    ends = clock.parse(status["expirationTimestamp"]).timestamp()
    return _Token(status["token"], now + max(min((ends - now) * 0.8, _DAY) - random.uniform(0, _JITTER), 1.0), ends)
