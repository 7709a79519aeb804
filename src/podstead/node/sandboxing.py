"""A pod's sandbox as its spec asks for it: names, /etc/hosts and /etc/resolv.conf, what it shares with the host."""

from __future__ import annotations

import socket

from podstead.client.events import NORMAL, WARNING
from podstead.node.admission import dotted
from podstead.node.etcfiles import PodName, hosts_file, pod_name, resolv_conf
from podstead.node.phases import SANDBOX, STARTS
from podstead.node.podlimits import pod_resources, tier
from podstead.node.runtime.base import PortMapping, RuntimeFailure, SandboxConfig, SandboxStatus
from podstead.node.state import PassFailed, PodState
from podstead.objects.errors import StatusError
from podstead.objects.pod import Pod, running_containers

_HOSTS = "etc-hosts"


class PodSandbox:
    """The sandbox of one pod; `ensure` is called in every pass."""

    def __init__(self, state: PodState) -> None:
        self._state = state
        self._context = state.context

    async def ensure(self) -> SandboxStatus:
        """Return the sandbox, made if there is none that is ready; raises PassFailed."""
        present = await self._state.sandbox()
        if present is not None and present.ready:
            self._write_hosts(present, self._name())
            return present
        await self._context.network_ready.wait()
        if present is not None:
            message = "Pod sandbox changed, it will be killed and re-created."
            self._state.record("", NORMAL, "SandboxChanged", message)
            await self._context.runtime.stop_pod_sandbox(present.id)
        try:
            name = self._name()
            config = await self._config(name)
            directory = config.hosts_file.parent
            directory.mkdir(parents=True, exist_ok=True)
            config.hosts_file.unlink(missing_ok=True)
            config.resolv_conf.write_text(self._resolv_conf())
            status = await self._context.runtime.run_pod_sandbox(config)
            STARTS.mark(self._state.uid, SANDBOX)
            self._state.sandbox_limits = {status.id: config.resources}
            self._write_hosts(status, name)
        except (RuntimeFailure, StatusError, OSError) as error:
            raise PassFailed("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error
        return status

    def _name(self) -> PodName:
        try:
            return pod_name(self._state.pod)
        except ValueError as error:
            raise PassFailed("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error

    async def _config(self, name: PodName) -> SandboxConfig:
        pod, paths = self._state.pod, self._context.paths
        meta, spec = pod.metadata, pod.spec
        directory = paths.pod(self._state.uid)
        return SandboxConfig(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            hostname=socket.gethostname() if spec.host_network else name.kernel,
            hosts_file=directory / _HOSTS,
            resolv_conf=directory / "resolv.conf",
            log_directory=paths.pod_log_dir(meta.namespace, meta.name, meta.uid),
            host_address=self._context.host_ip if spec.host_network else "",
            host_ipc=spec.host_ipc,
            host_pid=spec.host_pid,
            shared_pid=spec.share_process_namespace,
            sysctls={dotted(sysctl.name): sysctl.value for sysctl in spec.security_context.sysctls},
            ports=port_mappings(pod),
            handler=await self._handler(),
            cgroup_tier=tier(pod),
            resources=pod_resources(pod, self._context.pod_pids),
        )

    async def _handler(self) -> str:
        """Return the handler of the pod's RuntimeClass, empty for the node's own; raises StatusError."""
        name = self._state.pod.spec.runtime_class_name
        if not name:
            return ""
        found = await self._context.client.get("runtimeclasses.node.k8s.io", name)
        return str(found["handler"])

    def _resolv_conf(self) -> str:
        pod = self._state.pod
        resolver = resolv_conf(pod.spec.dns_policy, pod.spec.dns_config, host_network=pod.spec.host_network)
        meta = pod.metadata
        for reason, message in resolver.warnings:
            text = message.replace("{pod}", f"{meta.name}_{meta.namespace}({meta.uid})")
            self._state.record("", WARNING, reason, text)
        return resolver.text

    def _write_hosts(self, sandbox: SandboxStatus, name: PodName) -> None:
        """Write /etc/hosts unless it is there: a server that ended just after it made the sandbox wrote none."""
        hosts = self._context.paths.pod(self._state.uid) / _HOSTS
        if hosts.exists():
            return
        spec = self._state.pod.spec
        fresh = hosts.with_suffix(".new")
        fresh.write_text(hosts_file(sandbox.ip, name, spec.host_aliases, host_network=spec.host_network))
        fresh.replace(hosts)


def port_mappings(pod: Pod) -> tuple[PortMapping, ...]:
    """Return the ports of the pod that the host's lead to; none for a pod that is on the host's network."""
    if pod.spec.host_network:
        return ()
    return tuple(
        PortMapping(port.protocol, port.host_port, port.container_port, port.host_ip)
        for container in running_containers(pod)
        for port in container.ports
        if port.host_port
    )
