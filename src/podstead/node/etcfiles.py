"""What the node writes for a pod's /etc: the contents of hosts and resolv.conf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from podstead.objects.pod import DNSConfig, HostAlias

MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARACTERS = 3, 32, 2048
"""Kubernetes' limits (Customizing DNS Service; KEP-2595 for the searches)."""

FALLBACK_NAMESERVERS = ("8.8.8.8", "8.8.4.4")
"""For a pod on a host whose only nameservers are loopback or IPv6 addresses (a pod cannot reach them), where none of
the files below tells the real ones. The same choice as Docker's. A host without any nameserver gives its pods none."""

_HOST = Path("/etc/resolv.conf")
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


def hosts_file(ip: str, hostname: str, aliases: Iterable[HostAlias] = ()) -> str:
    """Return the contents of a pod's /etc/hosts, as the kubelet lays them out."""
    lines = [f"{ip}\t{hostname}"]
    extra = ["\t".join((alias.ip, *alias.hostnames)) for alias in aliases]
    if extra:
        lines += ["", "# Entries added by HostAliases.", *extra]
    return _HOSTS + "".join(f"{line}\n" for line in lines)


@dataclass(slots=True)
class _Resolver:
    """What a resolv.conf(5) says. `options` are in order, a later one of the same name replaces the earlier."""

    nameservers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        lines = []
        searches = _limited(self.searches)
        if searches:
            lines.append("search " + " ".join(searches))
        lines += [f"nameserver {server}" for server in self.nameservers[:MAX_NAMESERVERS]]
        if self.options:
            words = (f"{name}:{value}" if value else name for name, value in self.options.items())
            lines.append("options " + " ".join(words))
        return "".join(f"{line}\n" for line in lines)


def resolv_conf(policy: str, dns_config: DNSConfig, host_resolv_conf_path: Path = _HOST) -> str:
    """Return the contents of a pod's /etc/resolv.conf.

    `policy` is spec.dnsPolicy: None takes `dns_config` alone, all others begin with the host's (there is no cluster
    DNS, and without one Kubernetes treats ClusterFirst as Default) and `dns_config` adds to it: nameservers and
    searches that are not there yet, options by name. What is beyond Kubernetes' limits is left off.
    """
    resolver = _Resolver() if policy == "None" else _of_host(host_resolv_conf_path)
    resolver.nameservers = _unique([*resolver.nameservers, *dns_config.nameservers])
    resolver.searches = _unique([*resolver.searches, *dns_config.searches])
    for option in dns_config.options:
        resolver.options[option.name] = option.value or ""
    return resolver.text()


def _of_host(path: Path) -> _Resolver:
    """Return the host's resolver with those nameservers that a pod can reach."""
    resolver = _parse(path)
    if not resolver.nameservers:
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
    """Return the searches within the limits: 32, and 2,048 characters in all, blanks between them included."""
    kept: list[str] = []
    length = 0
    for search in searches[:MAX_SEARCHES]:
        length += len(search) + (1 if kept else 0)
        if length > MAX_SEARCH_CHARACTERS:
            break
        kept.append(search)
    return kept
