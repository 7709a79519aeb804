"""Builds the whole house in one process: store, registry, API server, controllers, node. Nothing else does."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from podstead.apiserver.server import ApiServer, TlsFiles
from podstead.client.base import Client
from podstead.client.supervise import supervise
from podstead.controllers.certificates import ClientCertificateSigner
from podstead.controllers.disruption import DisruptionController
from podstead.controllers.garbage import GarbageCollector
from podstead.controllers.masterservice import MasterService
from podstead.controllers.namespaces import NamespaceController
from podstead.controllers.scheduler import SCHEDULED, Scheduler
from podstead.controllers.serviceaccounts import DEFAULT_ACCOUNT, NamespaceDefaults
from podstead.controllers.taints import TaintEviction
from podstead.linux import memory, mounts
from podstead.node import info
from podstead.node.agent import Agent, NodeParts
from podstead.node.dialer import LocalDialer
from podstead.node.images.collector import ImageCollector
from podstead.node.images.pull import Images
from podstead.node.network.bridge import BridgeNetwork
from podstead.node.runtime.base import RuntimeFailure
from podstead.node.runtime.choice import AUTOMATIC, Choice
from podstead.node.runtime.oci import OCIRuntime
from podstead.node.server import NodeServer
from podstead.node.stats.routes import StatsRoutes
from podstead.node.volumes.manager import VolumeManager
from podstead.objects.quantity import Quantity
from podstead.objects.user import SYSTEM_MASTERS, UserInfo
from podstead.paths import Paths
from podstead.pki import Pki, admin_kubeconfig
from podstead.registry.bootstrap import make_system_objects
from podstead.registry.registry import Registry
from podstead.signing import sign_client
from podstead.store.sqlite import SQLiteStore
from podstead.store.writer import COMMITS
from podstead.tokens import TokenKeys

log = logging.getLogger(__name__)

_TRIM_SECONDS = 60.0
_FIRST_RETRY, _LAST_RETRY = 2.0, 60.0
"""Seconds until a network that could not be set up is tried again; doubled each time."""


class ClusterError(Exception):
    """The cluster cannot come up; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """`subnet` is the pods' (CIDR); port 0 takes any free one; `runtime`: auto, or an OCI runtime's name or path."""

    paths: Paths
    port: int
    subnet: str
    host: str = "127.0.0.1"
    runtime: str = AUTOMATIC
    reserved: Mapping[str, str] = field(default_factory=dict)
    """What of the machine is not for pods: quantities by resource."""


@dataclass(frozen=True, slots=True)
class NodeRooms:
    """The parts of the node that `down` needs too, when no server runs."""

    images: Images
    network: BridgeNetwork
    volumes: VolumeManager
    runtime: OCIRuntime

    @classmethod
    def build(
        cls, paths: Paths, subnet: str, runtime: str = AUTOMATIC, reserved: Mapping[str, str] = info.NOTHING
    ) -> NodeRooms:
        images = Images(paths)
        network = BridgeNetwork(paths, ipaddress.IPv4Network(subnet))
        memory_left = info.memory_capacity() - Quantity.parse(reserved.get("memory", "0")).value()
        return cls(
            images,
            network,
            VolumeManager(paths, memory_allocatable=max(memory_left, 0), reserved=reserved),
            OCIRuntime(paths, images, network, wanted=runtime),
        )


class Cluster:
    """One instance. `run` is the whole of its life."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._paths = config.paths
        self.port = config.port
        self._failing: set[str] = set()
        """Names of the controllers that have failed and are about to be run again."""

    async def run(self, on_ready: Callable[[str | None], None]) -> None:
        """Run until cancelled; `on_ready` is called once the node is registered and a first pod can be created.

        It is given why the node is not Ready, or None if it is.

        Containers go on running after the end: a next run adopts them. The caller holds `paths.lock_file`
        (linux.hold), so that no two run on one data directory. Raises ClusterError.
        """
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(mounts.make_own_mount, self._paths.run)
            rooms = NodeRooms.build(self._paths, self._config.subnet, self._config.runtime, self._config.reserved)
            # A first start tries it out, beside the rest.
            choosing = asyncio.create_task(rooms.runtime.choose())
            stack.push_async_callback(_ended, choosing)
            store = SQLiteStore(self._paths.database)
            stack.push_async_callback(store.close)
            pki = Pki(self._paths.pki)
            keys = TokenKeys(pki.service_account_key, pki.retired_service_account_keys)
            registry = Registry(store, token_keys=keys)
            await registry.start()
            stack.push_async_callback(registry.close)
            stack.push_async_callback(rooms.runtime.close)
            await self._serve(stack, registry, rooms, choosing, pki, on_ready)

    async def _serve(
        self,
        stack: AsyncExitStack,
        registry: Registry,
        rooms: NodeRooms,
        choosing: asyncio.Task[Choice],
        pki: Pki,
        on_ready: Callable[[str | None], None],
    ) -> None:
        pki.ensure([rooms.network.gateway])
        agent = self._agent(registry, rooms)
        api = await self._open_api(stack, registry, rooms.runtime, agent, pki)
        agent.api_is_at(rooms.network.gateway, self.port)
        system = registry.client(UserInfo("system:podstead", (SYSTEM_MASTERS,)))
        await make_system_objects(system)
        log.info("OCI runtime: %s", await _settled(choosing))
        async with asyncio.TaskGroup() as group:
            defaults = NamespaceDefaults(_controller(registry, "namespace-defaults"), pki.ca_certificate.read_text())
            namespaces = NamespaceController(_controller(registry, "namespace-controller"))
            signer = ClientCertificateSigner(
                _controller(registry, "certificate-controller"), functools.partial(sign_client, pki.authority)
            )
            master = MasterService(_controller(registry, "master-service"), rooms.network.gateway, self.port)
            scheduler = Scheduler(registry.client(UserInfo("system:kube-scheduler", (SYSTEM_MASTERS,))))
            group.create_task(supervise("namespace defaults", defaults.run, failing=self._failing))
            group.create_task(supervise("namespaces", namespaces.run, failing=self._failing))
            group.create_task(supervise("signing of certificates", signer.run, failing=self._failing))
            group.create_task(supervise("scheduler", scheduler.run, failing=self._failing))
            taints = TaintEviction(_controller(registry, "node-controller"))
            group.create_task(supervise("taint eviction", taints.run, failing=self._failing))
            group.create_task(_set_up_network(rooms, agent, api), name="network")
            group.create_task(supervise("volumes", rooms.volumes.run), name="volumes")
            group.create_task(_give_back_memory(), name="memory")
            group.create_task(agent.run(), name="agent")
            await agent.ready.wait()
            await _first_pod_possible(system)
            garbage = GarbageCollector(_controller(registry, "generic-garbage-collector"))
            disruption = DisruptionController(_controller(registry, "disruption-controller"))
            group.create_task(supervise("garbage collection", garbage.run, failing=self._failing))
            group.create_task(supervise("disruption budgets", disruption.run, failing=self._failing))
            group.create_task(supervise("service of the API server", master.run, failing=self._failing))
            on_ready(agent.problem)
            assert registry.tokens is not None
            await asyncio.to_thread(registry.tokens.keys.prepare)

    def _agent(self, registry: Registry, rooms: NodeRooms) -> Agent:
        name = info.node_name()
        client = registry.client(UserInfo(f"system:node:{name}", ("system:nodes",)))
        agent = Agent(
            NodeParts(
                client=client,
                runtime=rooms.runtime,
                images=rooms.images,
                volumes=rooms.volumes,
                paths=self._paths,
                name=name,
                host_ip=_host_ip(rooms.network.gateway),
                reserved=self._config.reserved,
                collect_images=lambda warn: ImageCollector(self._paths, rooms.images, warn).run(),
            )
        )
        rooms.volumes.connect(client, agent.volume_changed)
        return agent

    async def _open_api(
        self, stack: AsyncExitStack, registry: Registry, runtime: OCIRuntime, agent: Agent, pki: Pki
    ) -> ApiServer:
        """Start the node's server and the API server, and write the administrator's kubeconfig."""
        stats = StatsRoutes(info.node_name(), runtime, self._paths, agent.probe_counts)
        node_server = NodeServer(agent, runtime, stats)
        await node_server.start()
        stack.push_async_callback(node_server.close)
        dialer = LocalDialer({info.node_name(): node_server})
        tls = TlsFiles(pki.server_pem, pki.ca_certificate)
        api = ApiServer(
            registry,
            dialer,
            tls,
            ready={"node": agent.ready.is_set},
            components=self._components(registry),
            metrics=(COMMITS, SCHEDULED),
        )
        await self._listen(api)
        self.port = api.port
        stack.push_async_callback(api.close)
        kubeconfig = admin_kubeconfig(pki, f"https://{self._config.host}:{self.port}", "podstead")
        await asyncio.to_thread(_write_kubeconfig, self._paths, kubeconfig)
        return api

    def _components(self, registry: Registry) -> dict[str, Callable[[], bool]]:
        """Return the checks of what a control plane is made of elsewhere, by the names that it has there."""
        return {
            "controller-manager": lambda: not self._failing - {"scheduler"},
            "scheduler": lambda: "scheduler" not in self._failing,
            "etcd-0": lambda: not registry.store.failed,
        }

    async def _listen(self, api: ApiServer) -> None:
        try:
            await api.start(self._config.host, self._config.port)
        except OSError as error:
            where = f"{self._config.host}:{self._config.port}"
            raise ClusterError(f"cannot listen on {where}: {error.strerror or error}; choose another --port") from error


async def _settled(choosing: asyncio.Task[Choice]) -> str:
    """Return which OCI runtime was chosen and why; raises ClusterError where none works."""
    try:
        return (await choosing).description
    except OSError as error:
        where = f"{error.filename}: {error.strerror}"
        raise ClusterError(f"no OCI runtime can be tried out: {where}; put that right, then up again") from error
    except RuntimeFailure as error:
        raise ClusterError(f"{error}; choose another with --runtime, or auto for any that works") from error


async def _ended(task: asyncio.Task[Choice]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _controller(registry: Registry, name: str) -> Client:
    account = f"system:serviceaccount:kube-system:{name}"
    return registry.client(UserInfo(account, ("system:serviceaccounts", SYSTEM_MASTERS)))


async def _first_pod_possible(client: Client) -> None:
    """Wait for the service account that every pod of the namespace `default` needs."""
    listed = await client.list("serviceaccounts", "default")
    if any(account["metadata"]["name"] == DEFAULT_ACCOUNT for account in listed.items):
        return
    async for event in client.watch("serviceaccounts", "default", resource_version=listed.resource_version):
        if event.object["metadata"].get("name") == DEFAULT_ACCOUNT:
            return


async def _set_up_network(rooms: NodeRooms, agent: Agent, api: ApiServer) -> None:
    """Set the network up beside the rest of the start; a failure makes the node not ready and is retried."""
    network, delay = rooms.network, _FIRST_RETRY
    while True:
        try:
            await network.setup()
            await agent.adopted.wait()
            await network.sweep({sandbox.id for sandbox in await rooms.runtime.list_sandboxes()})
            break
        except (RuntimeFailure, OSError) as error:
            log.error("the pods' network cannot be set up: %s", error)
            agent.network_failed(f"container runtime network not ready: {error}")
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LAST_RETRY)
    if (warning := network.forward_warning()) is not None:
        log.warning("%s", warning)
    await _serve_pods(rooms.network, api)
    agent.network_is_ready()


async def _serve_pods(network: BridgeNetwork, api: ApiServer) -> None:
    """Have the API server listen on the bridge too, for pods of this bridge alone."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Else whoever routes to this machine could use the address.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, network.name.encode() + b"\0")
        sock.bind((network.gateway, api.port))
        sock.setblocking(False)
        await api.listen_also(sock)
    except OSError as error:
        sock.close()
        where = f"{network.gateway}:{api.port}"
        log.error("pods cannot reach the API server: cannot listen on %s: %s", where, error.strerror or error)


async def _give_back_memory() -> None:
    """Once a minute: streams and bursts of pods leave the C library with memory that nobody uses."""
    while True:
        await asyncio.sleep(_TRIM_SECONDS)
        await asyncio.to_thread(memory.trim)


def _host_ip(fallback: str) -> str:
    """Return the address from which this machine reaches others (nothing is sent), else the bridge's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return fallback


def _write_kubeconfig(paths: Paths, config: dict[str, object]) -> None:
    import yaml

    fresh = paths.admin_kubeconfig.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(yaml.safe_dump(config, sort_keys=False))
    fresh.replace(paths.admin_kubeconfig)
