"""Which services a pod's containers are told of by their variables: the API server always, others as the pod asks."""

from __future__ import annotations

from podstead.client.base import Client, Object
from podstead.client.informer import Informer
from podstead.node.environment import service_variables
from podstead.objects.pod import Pod

_MASTER = ("default", "kubernetes")


class ServiceLinks:
    """Keeps a present copy of the services; `run` is its task. `api` is set once it is known where pods reach the API
    server."""

    def __init__(self, client: Client) -> None:
        self._services = Informer(client, "services")
        self._api: dict[str, str] = {}

    async def run(self) -> None:
        await self._services.run()

    def api_is_at(self, host: str, port: int) -> None:
        ports = [{"name": "https", "port": port, "protocol": "TCP"}]
        api = {"metadata": {"name": _MASTER[1]}, "spec": {"clusterIP": host, "ports": ports}}
        self._api = service_variables([api])

    async def variables(self, pod: Pod) -> dict[str, str]:
        """Return the variables: of the pod's namespace if it has enableServiceLinks, and of the API server.

        The first pods wait for the list of services.
        """
        if not pod.spec.enable_service_links:
            return self._api
        await self._services.synced.wait()
        own = [service for service in self._services.store.values() if _is_seen_by(service, pod)]
        return {**service_variables(own), **self._api}


def _is_seen_by(service: Object, pod: Pod) -> bool:
    meta = service["metadata"]
    # Where pods reach the API server is known better here.
    return meta["namespace"] == pod.metadata.namespace and (meta["namespace"], meta["name"]) != _MASTER
