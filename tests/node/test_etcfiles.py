"""/etc/hosts and /etc/resolv.conf of a pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from podstead.node import etcfiles
from podstead.node.etcfiles import FALLBACK_NAMESERVERS, PodName, hosts_file, pod_name, resolv_conf
from podstead.objects.pod import DNSConfig, DNSOption, HostAlias, from_object

NONE = DNSConfig()


def test_hosts_as_the_kubelet_writes_it() -> None:
    lines = hosts_file("10.1.2.3", PodName("sharevol"), []).splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert lines[1] == "127.0.0.1\tlocalhost"
    assert "::1\tlocalhost ip6-localhost ip6-loopback" in lines
    assert lines[-1] == "10.1.2.3\tsharevol"


def test_hosts_with_aliases() -> None:
    aliases = [HostAlias(ip="127.0.0.1", hostnames=("foo.local", "bar.local")), HostAlias(ip="10.0.0.1")]
    assert hosts_file("10.1.2.3", PodName("p"), aliases).endswith(
        "10.1.2.3\tp\n\n# Entries added by HostAliases.\n127.0.0.1\tfoo.local\tbar.local\n10.0.0.1\n"
    )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(etcfiles, "_UPSTREAM", (tmp_path / "resolved", tmp_path / "networkmanager"))
    return tmp_path / "resolv.conf"


@pytest.mark.parametrize("policy", ["ClusterFirst", "ClusterFirstWithHostNet", "Default"])
def test_the_hosts_resolver_is_taken_over(host: Path, policy: str) -> None:
    host.write_text(
        "# made by hand\nsearch a.example b.example.\nnameserver 192.0.2.1\nnameserver 192.0.2.2 # second\n"
        "options ndots:2 rotate\nsortlist 1.2.3.4\nnameserver\n"
    )
    assert resolv_conf(policy, NONE, host).text == (
        "search a.example b.example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:2 rotate\n"
    )


def test_behind_systemd_resolved_the_real_servers_are_taken(host: Path) -> None:
    host.write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n")
    (host.parent / "resolved").write_text("nameserver 192.0.2.53\nsearch other\n")
    assert resolv_conf("Default", NONE, host).text == "search lan\nnameserver 192.0.2.53\noptions edns0 trust-ad\n"


def test_behind_network_managers_dnsmasq_the_real_servers_are_taken(host: Path) -> None:
    host.write_text("nameserver 127.0.1.1\n")
    (host.parent / "networkmanager").write_text("search lan\nnameserver 192.0.2.54\n")
    assert resolv_conf("Default", NONE, host).text == "search lan\nnameserver 192.0.2.54\n"


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.53", "::1", "fe80::1%eth0", "2001:db8::1", "0.0.0.0"])
def test_a_server_that_no_pod_can_reach_falls_back(host: Path, server: str) -> None:
    host.write_text(f"nameserver {server}\n")
    expected = "".join(f"nameserver {fallback}\n" for fallback in FALLBACK_NAMESERVERS)
    assert resolv_conf("Default", NONE, host).text == expected


def test_an_unreachable_server_among_others_is_left_out(host: Path) -> None:
    host.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n")
    assert resolv_conf("Default", NONE, host).text == "nameserver 192.0.2.1\n"


def test_a_host_without_a_resolver_gives_none(host: Path) -> None:
    assert resolv_conf("Default", NONE, host).text == ""
    host.write_text("")
    assert resolv_conf("Default", NONE, host).text == ""


def test_policy_none_takes_the_pods_own_alone(host: Path) -> None:
    host.write_text("nameserver 192.0.2.1\nsearch lan\n")
    config = DNSConfig(
        nameservers=("2001:db8::1", "10.0.0.1"),
        searches=("my.dns.search",),
        options=(DNSOption(name="ndots", value="2"), DNSOption(name="edns0")),
    )
    assert resolv_conf("None", config, host).text == (
        "search my.dns.search\nnameserver 2001:db8::1\nnameserver 10.0.0.1\noptions ndots:2 edns0\n"
    )


def test_the_pods_own_is_added_to_the_hosts(host: Path) -> None:
    host.write_text("nameserver 192.0.2.1\nsearch lan\noptions ndots:2 rotate\n")
    config = DNSConfig(
        nameservers=("192.0.2.1", "10.0.0.1"), searches=("lan", "more"), options=(DNSOption(name="ndots", value="5"),)
    )
    assert resolv_conf("ClusterFirst", config, host).text == (
        "search lan more\nnameserver 192.0.2.1\nnameserver 10.0.0.1\noptions ndots:5 rotate\n"
    )


def test_limits(host: Path) -> None:
    host.write_text("".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 6)))
    many = DNSConfig(searches=tuple(f"s{number}" for number in range(40)))
    lines = resolv_conf("Default", many, host).text.splitlines()
    assert len(lines[0].split()) == 1 + 32
    assert lines[1:] == ["nameserver 192.0.2.1", "nameserver 192.0.2.2", "nameserver 192.0.2.3"]
    long = DNSConfig(searches=tuple(f"{number:0100}" for number in range(30)))
    search = resolv_conf("Default", long, host).text.splitlines()[0].removeprefix("search ")
    assert 1900 < len(search) <= 2048


def test_what_is_left_off_is_told(host: Path) -> None:
    host.write_text("".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 6)))
    made = resolv_conf("Default", DNSConfig(searches=("a" * 254, "b")), host)
    assert made.text.startswith("search b\n")
    assert made.warnings == (
        (
            "DNSConfigForming",
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            "192.0.2.1 192.0.2.2 192.0.2.3",
        ),
        (
            "DNSConfigForming",
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: b",
        ),
    )


@pytest.mark.parametrize(
    ("policy", "host_network", "warned"),
    [
        ("ClusterFirst", False, False),
        ("ClusterFirst", True, False),
        ("ClusterFirstWithHostNet", True, True),
        ("Default", False, False),
        ("None", False, False),
    ],
)
def test_who_asks_for_the_clusters_dns_is_told_that_there_is_none(
    host: Path, policy: str, host_network: bool, warned: bool
) -> None:
    warnings = resolv_conf(policy, NONE, host, host_network=host_network).warnings
    assert [reason for reason, _ in warnings] == (["MissingClusterDNS"] if warned else [])


def test_on_the_hosts_network_its_loopback_servers_are_the_pods(host: Path) -> None:
    host.write_text("nameserver 127.0.0.53\n")
    assert resolv_conf("Default", NONE, host, host_network=True).text == "nameserver 127.0.0.53\n"


def test_on_the_hosts_network_the_hosts_names_are_the_pods(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("192.0.2.7 me\n")
    aliases = [HostAlias(ip="10.0.0.1", hostnames=("x",))]
    made = hosts_file("192.0.2.7", PodName("p"), aliases, host_network=True, host_hosts_path=tmp_path / "hosts")
    assert made == (
        "# Kubernetes-managed hosts file (host network).\n192.0.2.7 me\n\n"
        "# Entries added by HostAliases.\n10.0.0.1\tx\n"
    )


def name_of(name: str = "web", **spec: object) -> PodName:
    return pod_name(from_object({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}))


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, PodName("web", "", "web")),
        ({"hostname": "h", "setHostnameAsFQDN": True}, PodName("h", "", "h")),
        ({"subdomain": "s"}, PodName("web", "s.shop.svc.cluster.local", "web")),
        (
            {"subdomain": "s", "setHostnameAsFQDN": True},
            PodName("web", "s.shop.svc.cluster.local", "web.s.shop.svc.cluster.local"),
        ),
        ({"hostnameOverride": "all.of.it", "subdomain": "s"}, PodName("all.of.it", "", "all.of.it")),
    ],
)
def test_names(spec: dict[str, object], wanted: PodName) -> None:
    assert name_of(**spec) == wanted


def test_a_long_name_is_cut_and_a_long_whole_name_refused() -> None:
    assert name_of("a" * 62 + "-b").host == "a" * 62
    with pytest.raises(ValueError, match=r"is too long \(64 characters is the max, 77 characters requested\)"):
        name_of("a" * 52, subdomain="s", setHostnameAsFQDN=True)


def test_a_subdomain_is_in_hosts() -> None:
    assert hosts_file("10.1.2.3", name_of(subdomain="s")).endswith("\n10.1.2.3\tweb.s.shop.svc.cluster.local\tweb\n")
