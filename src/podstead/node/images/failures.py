"""What a registry's, the network's or the disk's error means: Kubernetes' reason, and one line with the next step."""

from __future__ import annotations

import re
from collections.abc import Iterator

from podstead.node.images.references import Reference
from podstead.node.images.skopeo import SkopeoFailed, SkopeoMissing, SkopeoStalled
from podstead.node.runtime.base import PullFailed, RegistryAuth

ACCESS_DENIED = "access denied"

# In the order to look: what is found in the error, the reason (the kubelet's), what it means, the next step.
_MEANINGS = (
    (r"source image rejected|signature", "SignatureValidationFailed", "the signature policy rejects it", "{policy}"),
    (r"toomanyrequests|too many requests", "RegistryUnavailable", "the registry limits requests", "{limit}"),
    (
        r"i/o timeout|client\.timeout|deadline exceeded|tls handshake timeout",
        "RegistryUnavailable",
        "the registry does not answer",
        "{way}",
    ),
    (
        r"\b50[0-4]\b|service unavailable|bad gateway",
        "RegistryUnavailable",
        "the registry has a problem",
        "try again later",
    ),
    (
        r"did not match expected digest|digest did not match|does not match.*digest|digest.*does not match|"
        r"manifest verification failed|does not match config's diffid",
        "ErrImagePull",
        "what the registry sent is not what its digest says",
        "pull again; if it stays so, a mirror or proxy changes it, or the image must be pushed again",
    ),
    (r"connection refused", "ErrImagePull", "the registry refuses connections", "{way}"),
    (r"no such host", "ErrImagePull", "the registry's name cannot be resolved", "{way}"),
    (
        r"unknown authority",
        "ErrImagePull",
        "the registry cannot be trusted (TLS)",
        "put its authority's certificate into /etc/containers/certs.d/{domain}/ca.crt",
    ),
    (
        r"http response to https",
        "ErrImagePull",
        "the registry cannot be trusted (no TLS)",
        "for plain HTTP, registries.conf must say: insecure = true",
    ),
    (
        r"x509|certificate|tls:",
        "ErrImagePull",
        "the registry cannot be trusted (TLS)",
        "look at its certificate and this machine's clock",
    ),
    (
        r"unauthorized|authentication required|denied|forbidden|invalid username",
        "ErrImagePull",
        ACCESS_DENIED,
        "{login}",
    ),
    (
        r"no image found|no matching manifest",
        "ErrImagePull",
        "not there for this machine's architecture",
        "skopeo inspect --raw docker://{name} lists those that there are",
    ),
    (
        r"manifest unknown|name unknown|not known to registry|not found|status 404",
        "ErrImagePull",
        "not found",
        "{spelling}",
    ),
    (
        r"no space left|disk quota exceeded",
        "ErrImagePull",
        "the disk is full",
        "free some space, for instance with: podstead image prune --all",
    ),
    (
        r"applying layer|processing tar|unpacking|invalid tar header|archive/tar|gzip: |unexpected eof|"
        r"invalid character|unmarshal|decoding|json",
        "ErrImagePull",
        "the image is broken",
        "pull again; if it stays so, it must be built and pushed again",
    ),
)
_STEPS = {
    "policy": "see /etc/containers/policy.json",
    "limit": "wait, log in with `skopeo login {domain}`, or name a mirror in registries.conf",
    "way": "is {domain} right, and is there a way to it? HTTPS_PROXY and mirrors in registries.conf are honoured",
    "spelling": "look at the name and the tag, and whether {domain} is the registry that has it",
}
_SOURCE = re.compile(r"^(?:trying to reuse blob \S+ at destination: )?(?:initializing source docker://\S+: )?")


def explain(name: Reference, error: SkopeoFailed, auth: RegistryAuth | None = None) -> PullFailed:
    """Turn skopeo's error into one line that begins with the image and says what is wrong; `auth` is what was tried."""
    detail = _SOURCE.sub("", str(error))
    if isinstance(error, SkopeoMissing):
        return PullFailed(detail, "ErrImagePull")
    if isinstance(error, SkopeoStalled):
        return PullFailed(f"{name}: the registry does not answer: {detail}", "RegistryUnavailable")
    # An image may be called anything, "signature" or "503" too.
    said = re.sub(r"manifest \S+ in \S+", "", detail).replace(str(name), "").replace(name.name, "")
    for pattern, reason, meaning, advice in _MEANINGS:
        if re.search(pattern, said, re.IGNORECASE):
            steps = {key: text.format(domain=name.domain) for key, text in _STEPS.items()}
            step = advice.format(name=name, domain=name.domain, login=_login(name, auth), **steps)
            return PullFailed(f"{name}: {meaning}: {detail}{f' ({step})' if step else ''}", reason)
    return PullFailed(f"{name}: {detail}", "ErrImagePull")


def _login(name: Reference, auth: RegistryAuth | None) -> str:
    if auth is not None:
        return f"with the name and password of {auth.origin}"
    return f"{name.domain} may want a login: name a secret with it in imagePullSecrets, or `skopeo login {name.domain}`"


def together(failures: list[PullFailed]) -> PullFailed:
    """Return one failure for several tries, each different message once."""
    if len(failures) == 1:
        return failures[0]
    return PullFailed("; ".join(_once(failures)), failures[-1].reason)


def _once(failures: list[PullFailed]) -> Iterator[str]:
    yield from dict.fromkeys(map(str, failures))
