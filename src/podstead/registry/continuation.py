"""Continue tokens: where the next page of a list begins, and of which revision it is.

The form is kube-apiserver's (base64url of a small JSON object), opaque to clients. The place is relative to what is
listed, so that none leads out of it.
"""

from __future__ import annotations

import base64
import posixpath

import msgspec

from podstead.objects import errors
from podstead.registry.entry import encode

_VERSION = "meta.k8s.io/v1"
LATEST = -1
"""The revision in a token that goes on with what is there now, since that of the earlier pages is gone."""

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class _Token(msgspec.Struct, rename={"version": "v", "revision": "rv"}):
    version: str = ""
    revision: int = 0
    start: str = ""


def encode_token(revision: int, after: str) -> str:
    """Return the token for what follows `after` (a key, relative to what is listed) at `revision`."""
    return base64.urlsafe_b64encode(encode(_Token(_VERSION, revision, after))).decode().rstrip("=")


def decode_token(text: str) -> tuple[int, str]:
    """Return revision and place of a token; raises StatusError 400."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(raw, type=_Token)
    except (ValueError, msgspec.DecodeError) as error:
        raise _invalid(f": {error}") from error
    if token.version != _VERSION:
        raise _invalid(f": server does not recognize this encoded version {token.version}")
    if not token.revision or not LATEST <= token.revision < 2**63:
        raise _invalid(f": incorrect encoded start resourceVersion (version {_VERSION})")
    if not token.start:
        raise _invalid(f": encoded start key empty (version {_VERSION})")
    place = token.start if token.start.startswith("/") else f"/{token.start}"
    if place.startswith("//") or posixpath.normpath(place) != place:
        raise _invalid(f": {token.start}")
    return token.revision, place[1:]


def expired(after: str) -> errors.StatusError:
    """410 for a page whose revision is compacted; it carries a token to go on with from `after` nevertheless."""
    error = errors.expired(_EXPIRED)
    error.continue_token = encode_token(LATEST, after)
    return error


def _invalid(why: str) -> errors.StatusError:
    return errors.bad_request(f"invalid continue token: continue key is not valid{why}")
