"""Which of the four actions a probe is, and against what: the pod's address unless it names a host, named ports."""

from __future__ import annotations

from dataclasses import dataclass

from podstead.node.probes.command import probe_exec
from podstead.node.probes.grpc import probe_grpc
from podstead.node.probes.http import probe_http, probe_url
from podstead.node.probes.result import Result, errored
from podstead.node.probes.tcp import probe_tcp
from podstead.node.runtime.base import Runtime
from podstead.objects.pod import Container
from podstead.objects.probe import Probe


class PortError(ValueError):
    """A probe's port is neither a number nor the name of one of the container's."""


@dataclass(frozen=True, slots=True)
class Target:
    """The container that is probed."""

    container: Container
    container_id: str
    pod_ip: str


def port_number(container: Container, port: int | str) -> int:
    """Return the port that a probe means; raises PortError as the kubelet words it."""
    if isinstance(port, str):
        named = (one.container_port for one in container.ports if one.name == port)
        number = next(named, None)
        if number is None and not port.isdecimal():
            raise PortError(f'strconv.Atoi: parsing "{port}": invalid syntax')
        port = int(port) if number is None else number
    if not 0 < port < 65536:
        raise PortError(f"invalid port number: {port}")
    return port


async def execute(runtime: Runtime, target: Target, probe: Probe, command: tuple[str, ...]) -> Result:
    """Probe once. `command`: that of an exec probe, $(VAR) expanded."""
    container, timeout = target.container, float(probe.timeout_seconds)
    try:
        if probe.exec is not None:
            return await probe_exec(runtime, target.container_id, command, timeout)
        if probe.http_get is not None:
            action = probe.http_get
            host, port = action.host or target.pod_ip, port_number(container, action.port)
            url = probe_url((action.scheme or "HTTP").lower(), host, port, action.path)
            headers = [(header.name, header.value) for header in action.http_headers]
            return await probe_http(url, headers, timeout)
        if probe.tcp_socket is not None:
            socket = probe.tcp_socket
            return await probe_tcp(socket.host or target.pod_ip, port_number(container, socket.port), timeout)
        if probe.grpc is not None:
            return await probe_grpc(target.pod_ip, probe.grpc.port, probe.grpc.service, timeout)
    except PortError as error:
        return errored(str(error))
    return errored("missing probe handler")
