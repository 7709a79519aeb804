"""The certificates of ClusterTrustBundles, as a projected volume shows them (KEP-3257)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from podstead.client.base import Object
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.content import Reader
from podstead.objects.selectors import label_selector_from_object
from podstead.objects.volumes import ClusterTrustBundleProjection

_RESOURCE = "clustertrustbundles.certificates.k8s.io"
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


async def trust_bundle_file(reader: Reader, source: ClusterTrustBundleProjection) -> bytes:
    """Return the certificates as PEM, each once, without what stands between them.

    Raises VolumeError where nothing is selected that is not optional.
    """
    if source.name is not None:
        found = await reader.object(_RESOURCE, source.name, "")
        if found is None and not source.optional:
            name = source.name
            raise VolumeError(f'while getting ClusterTrustBundle: clustertrustbundle.{_GROUP} "{name}" not found')
        bundles = [found] if found is not None else []
    else:
        bundles = [one for one in await reader.objects(_RESOURCE) if _selected(one, source)]
        if not bundles and not source.optional:
            raise VolumeError("combination of signerName and labelSelector matched zero ClusterTrustBundles")
    certificates = {certificate: None for bundle in bundles for certificate in _certificates(bundle)}
    return "".join(map(ssl.DER_cert_to_PEM_cert, certificates)).encode()


_GROUP = "certificates.k8s.io"


def _selected(bundle: Object, source: ClusterTrustBundleProjection) -> bool:
    if bundle["spec"].get("signerName") != source.signer_name or source.label_selector is None:
        return False
    labels = bundle["metadata"].get("labels") or {}
    return label_selector_from_object(source.label_selector).matches(labels)


def _certificates(bundle: Object) -> Iterator[bytes]:
    """The DER of each certificate; blocks of other types, headers and comments are not looked at."""
    for part in bundle["spec"].get("trustBundle", "").split(_BEGIN)[1:]:
        body = part.partition(_END)[0]
        try:
            yield ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{body}{_END}\n")
        except ValueError as error:
            name = bundle["metadata"]["name"]
            raise VolumeError(f"invalid certificate in ClusterTrustBundle {name}: {error}") from error
