"""Each namespace gets the service account `default` and the ConfigMap kube-root-ca.crt, and gets them back."""

from __future__ import annotations

import asyncio

from podstead.client.base import Client, Object
from podstead.client.informer import Informer
from podstead.controllers.base import WorkQueue
from podstead.objects.errors import StatusError

DEFAULT_ACCOUNT, ROOT_CA = "default", "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class NamespaceDefaults:
    """Sources: "Configure Service Accounts for Pods"; KEP-1205, the root CA publisher. `ca` is PEM text."""

    def __init__(self, client: Client, ca: str) -> None:
        self._client = client
        self._ca = ca
        self._queue = WorkQueue("namespace defaults", self._work)
        self._namespaces = Informer(client, "namespaces")
        self._namespaces.on_add = lambda obj: self._queue.add(obj["metadata"]["name"])
        self._namespaces.on_update = lambda _old, new: self._queue.add(new["metadata"]["name"])
        selector = f"metadata.name={DEFAULT_ACCOUNT}"
        self._accounts = Informer(client, "serviceaccounts", field_selector=selector)
        self._accounts.on_delete = self._queue_namespace_of
        self._bundles = Informer(client, "configmaps", field_selector=f"metadata.name={ROOT_CA}")
        self._bundles.on_delete = self._queue_namespace_of
        self._bundles.on_update = lambda _old, new: self._queue_namespace_of(new)

    def _queue_namespace_of(self, obj: Object) -> None:
        self._queue.add(obj["metadata"]["namespace"])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in (self._namespaces, self._accounts, self._bundles):
                group.create_task(informer.run())
            group.create_task(self._queue.run())

    async def _work(self, namespace: str) -> None:
        obj = self._namespaces.store.get(namespace)
        if obj is None or obj.get("status", {}).get("phase") == "Terminating":
            return
        bundle: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ROOT_CA, "annotations": {"kubernetes.io/description": _DESCRIPTION}},
            "data": {"ca.crt": self._ca},
        }
        present = await self._create_if_missing("configmaps", bundle, namespace)
        if present is not None and present.get("data") != bundle["data"]:
            await self._client.update("configmaps", {**present, "data": bundle["data"]})
        # Last: pods wait for the account, and their first volume needs the bundle.
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT_ACCOUNT}}
        await self._create_if_missing("serviceaccounts", account, namespace)

    async def _create_if_missing(self, resource: str, obj: Object, namespace: str) -> Object | None:
        """Return what is there already, None where it was made now or the namespace is gone."""
        try:
            return await self._client.get(resource, obj["metadata"]["name"], namespace)
        except StatusError as error:
            if error.code != 404:
                raise
        try:
            await self._client.create(resource, obj, namespace)
        except StatusError as error:
            if error.reason not in ("AlreadyExists", "NotFound", "Forbidden"):
                raise
        return None
