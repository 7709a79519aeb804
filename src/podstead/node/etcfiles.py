"""What the node writes for a pod's /etc: the contents of hosts and resolv.conf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from podstead.objects.pod import DNSConfig, HostAlias, Pod

MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARACTERS = 3, 32, 2048
"""Kubernetes' limits (Customizing DNS Service; KEP-2595 for the searches)."""

FALLBACK_NAMESERVERS = ("8.8.8.8", "8.8.4.4")
"""For a pod on a host whose only nameservers are loopback or IPv6 addresses (a pod cannot reach them), where none of
the files below tells the real ones. The same choice as Docker's. A host without any nameserver gives its pods none."""

CLUSTER_DOMAIN = "cluster.local"
_SEARCH_LENGTH = 253
_HOSTNAME_LIMIT, _KERNEL_NAME_LIMIT = 63, 64

_HOST = Path("/etc/resolv.conf")
_HOST_HOSTS = Path("/etc/hosts")
_UPSTREAM = (Path("/run/systemd/resolve/resolv.conf"), Path("/run/NetworkManager/no-stub-resolv.conf"))
"""Where systemd-resolved and NetworkManager (with dnsmasq) keep the real nameservers behind their local one."""

_HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_HOSTS_OF_HOST = "# Kubernetes-managed hosts file (host network).\n"


@dataclass(frozen=True, slots=True)
class PodName:
    """`host` is the short name, `domain` empty without a subdomain; `kernel` what hostname(1) says."""

    host: str
    domain: str = ""
    kernel: str = ""


def pod_name(pod: Pod) -> PodName:
    """Return the pod's names (Kubernetes: "DNS for Services and Pods", hostname, subdomain, setHostnameAsFQDN).

    Raises ValueError where the whole name is asked for and the kernel takes none as long.
    """
    spec, meta = pod.spec, pod.metadata
    if spec.hostname_override is not None:
        host = _cut(spec.hostname_override)
        return PodName(host, kernel=host)
    host = _cut(spec.hostname or meta.name)
    if not spec.subdomain:
        return PodName(host, kernel=host)
    domain = f"{spec.subdomain}.{meta.namespace}.svc.{CLUSTER_DOMAIN}"
    whole = f"{host}.{domain}"
    if not spec.set_hostname_as_fqdn:
        return PodName(host, domain, host)
    if len(whole) > _KERNEL_NAME_LIMIT:
        raise ValueError(
            f"failed to construct FQDN from Pod hostname and cluster domain, FQDN {whole} is too long "
            f"({_KERNEL_NAME_LIMIT} characters is the max, {len(whole)} characters requested)"
        )
    return PodName(host, domain, whole)


def _cut(name: str) -> str:
    return name if len(name) <= _HOSTNAME_LIMIT else name[:_HOSTNAME_LIMIT].rstrip("-.")


def hosts_file(
    ip: str,
    name: PodName,
    aliases: Iterable[HostAlias] = (),
    *,
    host_network: bool = False,
    host_hosts_path: Path = _HOST_HOSTS,
) -> str:
    """Return the contents of a pod's /etc/hosts, as the kubelet lays them out; on the host's network the host's own."""
    if host_network:
        # A host without the file is as one whose file is empty.
        own = host_hosts_path.read_text(errors="replace") if host_hosts_path.is_file() else ""
        text = _HOSTS_OF_HOST + own
    else:
        text = _HOSTS + (f"{ip}\t{name.host}.{name.domain}\t{name.host}\n" if name.domain else f"{ip}\t{name.host}\n")
    extra = ["\t".join((alias.ip, *alias.hostnames)) for alias in aliases]
    if extra:
        extra = ["", "# Entries added by HostAliases.", *extra]
    return text + "".join(f"{line}\n" for line in extra)


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """Contents of a pod's /etc/resolv.conf. `warnings`: events (reason, message) with `{pod}` for the pod's name."""

    text: str
    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Resolver:
    """What a resolv.conf(5) says. `options` are in order, a later one of the same name replaces the earlier."""

    nameservers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    def limited(self) -> ResolvConf:
        """Return the file, what is beyond Kubernetes' limits left off and told."""
        warnings, lines = [], []
        searches, servers = _limited(self.searches), self.nameservers[:MAX_NAMESERVERS]
        if len(servers) < len(self.nameservers):
            text = (
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is:"
            )
            warnings.append(("DNSConfigForming", f"{text} {' '.join(servers)}"))
        if len(searches) < len(self.searches):
            text = "Search Line limits were exceeded, some search paths have been omitted, the applied search line is:"
            warnings.append(("DNSConfigForming", f"{text} {' '.join(searches)}"))
        if searches:
            lines.append("search " + " ".join(searches))
        lines += [f"nameserver {server}" for server in servers]
        if self.options:
            words = (f"{name}:{value}" if value else name for name, value in self.options.items())
            lines.append("options " + " ".join(words))
        return ResolvConf("".join(f"{line}\n" for line in lines), tuple(warnings))


def resolv_conf(
    policy: str, dns_config: DNSConfig, host_resolv_conf_path: Path = _HOST, *, host_network: bool = False
) -> ResolvConf:
    """Return the contents of a pod's /etc/resolv.conf, and what the pod is to be warned of.

    `policy` is spec.dnsPolicy: None takes `dns_config` alone, all others begin with the host's (there is no cluster
    DNS, and without one Kubernetes treats ClusterFirst as Default) and `dns_config` adds to it:
    nameservers and searches that are not there yet, options by name. What is beyond Kubernetes' limits is left off.
    """
    resolver = _Resolver() if policy == "None" else _of_host(host_resolv_conf_path, host_network)
    resolver.nameservers = _unique([*resolver.nameservers, *dns_config.nameservers])
    resolver.searches = _unique([*resolver.searches, *dns_config.searches])
    for option in dns_config.options:
        resolver.options[option.name] = option.value or ""
    made = resolver.limited()
    # Not at ClusterFirst, as the kubelet does: it is the default, and each and every pod would be warned of nothing.
    asks_cluster = policy == "ClusterFirstWithHostNet"
    return ResolvConf(made.text, (_MISSING_DNS, *made.warnings)) if asks_cluster else made


_MISSING_DNS = (
    "MissingClusterDNS",
    'pod: "{pod}". kubelet does not have ClusterDNS IP configured and cannot create Pod using '
    '"ClusterFirstWithHostNet" policy. Falling back to "Default" policy.',
)


def _of_host(path: Path, host_network: bool) -> _Resolver:
    """Return the host's resolver with those nameservers that a pod can reach, which is all of them on its network."""
    resolver = _parse(path)
    if host_network or not resolver.nameservers:
        return resolver
    usable = [server for server in resolver.nameservers if _reachable(server)]
    if not usable:
        for upstream in _UPSTREAM:
            behind = _parse(upstream)
            usable = [server for server in behind.nameservers if _reachable(server)]
            if usable:
                resolver.searches = resolver.searches or behind.searches
                break
    resolver.nameservers = usable or list(FALLBACK_NAMESERVERS)
    return resolver


def _parse(path: Path) -> _Resolver:
    """Read resolv.conf(5); lines that it does not know are skipped, and a file that is not there is empty."""
    resolver = _Resolver()
    try:
        lines = path.read_text(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return resolver
    for line in lines:
        keyword, *words = line.split() or [""]
        if keyword == "nameserver" and words:
            resolver.nameservers.append(words[0])
        elif keyword in ("search", "domain"):
            resolver.searches = [word.rstrip(".") or "." for word in words]
        elif keyword == "options":
            for word in words:
                name, _, value = word.partition(":")
                resolver.options[name] = value
    return resolver


def _reachable(server: str) -> bool:
    """Whether a pod can reach a nameserver of the host's: it has IPv4 only, and a loopback of its own."""
    try:
        address = IPv4Address(server)
    except ValueError:
        return False
    return not address.is_loopback and not address.is_unspecified


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _limited(searches: Sequence[str]) -> list[str]:
    """Return the searches within the limits: 32, 253 characters each (longer ones are a danger to glibc's resolver),
    and 2,048 characters in all, blanks between them included."""
    kept: list[str] = []
    length = 0
    for search in searches[:MAX_SEARCHES]:
        if len(search) > _SEARCH_LENGTH:
            continue
        length += len(search) + (1 if kept else 0)
        if length > MAX_SEARCH_CHARACTERS:
            break
        kept.append(search)
    return kept
