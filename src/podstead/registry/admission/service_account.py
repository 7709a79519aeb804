"""ServiceAccount: every pod runs as a service account that exists, and finds its token."""

from __future__ import annotations

from typing import Any

from podstead.objects import errors, meta
from podstead.registry.admission.base import Attributes, Base, Lookup, Object, Operation

DEFAULT = "default"
DEFAULT_WAIT = 10.0
"""Seconds a pod waits for its namespace's default account: a controller makes that, just after the namespace."""
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CA = "kube-root-ca.crt"
TOKEN_SECONDS = 3607
_MODE = 0o644


class ServiceAccount(Base):
    """Fills in spec.serviceAccountName and its old name, spec.serviceAccount, and the account's pull secrets if the
    pod names none; gives every container the account's token, the API server's CA and the namespace as files, unless
    pod or account do not want that; 403 for an account that is not there.

    Source: "Configure Service Accounts for Pods"; KEP-1205.
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
        account = await self._account(attributes)
        if account is None:
            return  # refused by `validate`
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
        wanted = spec.get("automountServiceAccountToken")
        if wanted is None:
            wanted = account.get("automountServiceAccountToken")
        if wanted is not False:
            _mount_token(spec)

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


def _mount_token(spec: dict[str, Any]) -> None:
    """Add the volume with the token, and a mount of it to each container that has nothing at its place."""
    volumes: list[dict[str, Any]] = list(spec.get("volumes") or ())
    present = next((one["name"] for one in volumes if (one.get("name") or "").startswith(VOLUME_PREFIX)), "")
    name = present or meta.generate_name(VOLUME_PREFIX)
    mounted = False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = list(container.get("volumeMounts") or ())
        if not any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            mounted = True
    if mounted and not present:
        spec["volumes"] = [*volumes, {"name": name, "projected": {"defaultMode": _MODE, "sources": _sources()}}]


def _sources() -> list[dict[str, Any]]:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
