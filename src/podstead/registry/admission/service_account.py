"""ServiceAccount: every pod runs as a service account that exists."""

from __future__ import annotations

from podstead.objects import errors
from podstead.registry.admission.base import Attributes, Base, Lookup, Object, Operation

DEFAULT = "default"
DEFAULT_WAIT = 10.0
"""Seconds a pod waits for its namespace's default account: a controller makes that, just after the namespace."""
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


class ServiceAccount(Base):
    """Fills in spec.serviceAccountName and its old name, spec.serviceAccount, and the account's pull secrets if the
    pod names none; 403 for an account that is not there.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.object
        if not _is_pod_create(attributes) or pod is None or _is_mirror(pod):
            return
        spec = pod["spec"]
        spec["serviceAccountName"] = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT
        spec["serviceAccount"] = spec["serviceAccountName"]
        if not spec.get("imagePullSecrets"):
            account = await self._account(attributes)
            if account is not None and account.get("imagePullSecrets"):
                spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]

    async def validate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if not _is_pod_create(attributes) or pod is None or _is_mirror(pod):
            return
        name = pod["spec"]["serviceAccountName"]
        if await self._account(attributes) is None:
            why = f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.forbidden("pods", attributes.name, why)

    async def _account(self, attributes: Attributes) -> Object | None:
        assert attributes.object is not None
        name = attributes.object["spec"]["serviceAccountName"]
        account = self._lookup.find("serviceaccounts", name, attributes.namespace)
        if account is None and name == DEFAULT:
            account = await self._lookup.wait_for("serviceaccounts", name, attributes.namespace, DEFAULT_WAIT)
        return account


def _is_pod_create(attributes: Attributes) -> bool:
    return (
        attributes.operation is Operation.CREATE and attributes.info.resource == "pods" and not attributes.subresource
    )


def _is_mirror(pod: dict[str, object]) -> bool:
    metadata = pod["metadata"]
    assert isinstance(metadata, dict)
    return MIRROR_ANNOTATION in (metadata.get("annotations") or {})
