"""What others need to check service-account tokens: the issuer's metadata and its public keys (KEP-1393)."""

from __future__ import annotations

from typing import Any

import msgspec

from podstead.apiserver.answers import Answer
from podstead.apiserver.negotiation import JSON
from podstead.objects.errors import path_not_found
from podstead.registry.tokens import ISSUER
from podstead.tokens import TokenKeys

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"
PATHS = (CONFIGURATION, JWKS)
_CACHED = {"Cache-Control": "public, max-age=3600"}


def answer(path: str, keys: TokenKeys | None, host: str) -> Answer:
    """Answer one of PATHS; `host` is the address that the client used. Raises StatusError 404 without keys."""
    if keys is None:
        raise path_not_found()
    found = keys.jwks()
    if path == JWKS:
        return Answer(msgspec.json.encode(found), 200, "application/jwk-set+json", _CACHED)
    algorithms = sorted({key["alg"] for key in found["keys"]})
    configuration: dict[str, Any] = {
        "issuer": ISSUER,
        "jwks_uri": f"https://{host}{JWKS}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    }
    return Answer(msgspec.json.encode(configuration), 200, JSON, _CACHED)
