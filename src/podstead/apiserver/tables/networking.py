"""The tables of services, their endpoints, and networking.k8s.io."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    joined,
    labels,
    selector,
    shortened,
    spec_of,
    status_of,
    text,
)

_MOST = 3  # so many of a list are shown


def _ingress_points(obj: Object) -> str:
    points = (status_of(obj).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(sorted({point.get("ip") or point.get("hostname") or "" for point in points} - {""}))


def _external_ip(obj: Object) -> str:
    spec = spec_of(obj)
    addresses = joined(spec.get("externalIPs"))
    match spec.get("type", "ClusterIP"):
        case "ClusterIP" | "NodePort":
            return addresses or NONE
        case "LoadBalancer":
            return ",".join(filter(None, (_ingress_points(obj), addresses))) or "<pending>"
        case "ExternalName":
            return text(spec, "externalName")
    return UNKNOWN


def _service_port(port: dict[str, Any]) -> str:
    number = f"{port.get('port')}:{port['nodePort']}" if port.get("nodePort") else str(port.get("port"))
    return f"{number}/{port.get('protocol', 'TCP')}"


def _service(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [
        name_of(obj),
        text(spec, "type", "ClusterIP"),
        addresses[0] or NONE,
        _external_ip(obj),
        ",".join(map(_service_port, spec.get("ports") or ())) or NONE,
        age(obj, now),
        labels(spec.get("selector")),
    ]


def _host_port(address: str, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in address or "%" in address else f"{address}:{port}"


def _endpoints(obj: Object, now: datetime) -> list[Cell]:
    subsets = obj.get("subsets") or ()
    listed = []
    for subset in subsets:
        addresses = [text(each, "ip") for each in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if not ports:
            listed += addresses
        for port in ports or ():
            listed += [_host_port(address, port.get("port")) for address in addresses]
    return [name_of(obj), shortened(listed, _MOST) if subsets else NONE, age(obj, now)]


def _slice_port(port: dict[str, Any]) -> str:
    number = port.get("port")
    return str(port.get("name", "*") if number is None else number)


def _endpoint_slice(obj: Object, now: datetime) -> list[Cell]:
    addresses = [address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    return [
        name_of(obj),
        text(obj, "addressType"),
        shortened([_slice_port(port) for port in obj.get("ports") or ()], _MOST) or UNSET,
        shortened(addresses, _MOST) or UNSET,
        age(obj, now),
    ]


def _hosts(rules: list[dict[str, Any]]) -> str:
    """Return the hosts of an ingress. As in Kubernetes, what is left out counts rules, not hosts."""
    shown: list[str] = []
    for rule in rules:
        if len(shown) == _MOST:
            return f"{','.join(shown)} + {len(rules) - _MOST} more..."
        shown += [rule["host"]] if rule.get("host") else []
    return ",".join(shown) or "*"


def _ingress(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    return [
        name_of(obj),
        text(spec, "ingressClassName", NONE),
        _hosts(spec.get("rules") or []),
        _ingress_points(obj),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _ingress_class(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    reference, parameters = spec.get("parameters"), NONE
    if reference is not None:
        group = reference.get("apiGroup")
        kind = text(reference, "kind")
        parameters = f"{kind}.{group}" if group is not None else kind
        parameters += f"/{reference.get('name', '')}"
    return [name_of(obj), text(spec, "controller"), parameters, age(obj, now)]


def _network_policy(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), selector(spec_of(obj).get("podSelector")), age(obj, now)]


def _service_cidr(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), joined(spec_of(obj).get("cidrs")), age(obj, now)]


def _ip_address(obj: Object, now: datetime) -> list[Cell]:
    parent, shown = spec_of(obj).get("parentRef"), NONE
    if parent is not None:
        resource = ".".join(filter(None, (parent.get("resource", ""), parent.get("group", "")))).lower()
        shown = "/".join(filter(None, (resource, parent.get("namespace", "")))) + f"/{parent.get('name', '')}"
    return [name_of(obj), shown]


TABLES = {
    "endpoints": TableFormat(
        (NAME, Column("Endpoints", "The addresses and ports that are ready, three at most."), AGE), _endpoints
    ),
    "endpointslices": TableFormat(
        (
            NAME,
            Column("AddressType", "What its addresses are: IPv4, IPv6, or names."),
            Column("Ports", "The ports of every endpoint, three at most."),
            Column("Endpoints", "The addresses, three at most."),
            AGE,
        ),
        _endpoint_slice,
    ),
    "ingressclasses": TableFormat(
        (
            NAME,
            Column("Controller", "The controller that serves ingresses of this class."),
            Column("Parameters", "The object that configures the controller further."),
            AGE,
        ),
        _ingress_class,
    ),
    "ingresses": TableFormat(
        (
            NAME,
            Column("Class", "The ingress class."),
            Column("Hosts", "The hosts whose requests the rules are for."),
            Column("Address", "Where the load balancer takes requests."),
            Column("Ports", "The ports that are open, with TLS or without."),
            AGE,
        ),
        _ingress,
    ),
    "ipaddresses": TableFormat((NAME, Column("ParentRef", "The object that the address belongs to.")), _ip_address),
    "networkpolicies": TableFormat(
        (NAME, Column("Pod-Selector", "Which pods the policy is for."), AGE), _network_policy
    ),
    "servicecidrs": TableFormat((NAME, Column("CIDRs", "The ranges of service addresses."), AGE), _service_cidr),
    "services": TableFormat(
        (
            NAME,
            Column("Type", "How the service is reached."),
            Column("Cluster-IP", "The address inside the cluster."),
            Column("External-IP", "The addresses from outside."),
            Column("Port(s)", "The ports, with those on the nodes."),
            AGE,
            Column("Selector", "Which pods serve it.", priority=1),
        ),
        _service,
    ),
}
