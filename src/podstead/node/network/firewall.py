"""The instance's nftables table, and whether another table drops what it accepts."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from podstead.linux import process
from podstead.node.runtime.base import RuntimeFailure

_TIMEOUT = 120.0
"""Seconds for one nft: the first makes the kernel load its modules, which takes long on a slow machine."""
_IPTABLES_LEGACY, _LEGACY_TABLES = "iptables-legacy", Path("/proc/net/ip_tables_names")


def script(table: str, bridge: str, subnet: IPv4Network, more: str = "") -> str:
    """Return nft's input that replaces the table in one transaction; `more` goes into it."""
    return f"""\
{removal(table)}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} ip daddr != {{ {subnet}, 224.0.0.0/4 }} oifname != "{bridge}" masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{bridge}" accept
    oifname "{bridge}" accept
  }}
{more}}}
"""


def removal(table: str) -> str:
    """Return nft's input that removes the table, there or not."""
    return f"table ip {table}\ndelete table ip {table}\n"


async def apply(text: str) -> None:
    """Give `text` to nft; raises RuntimeFailure with nft's message."""
    try:
        await process.run(["nft", "-f", "-"], input=text.encode(), timeout=_TIMEOUT, check=True)
    except FileNotFoundError:
        raise RuntimeFailure("nft is not installed (package nftables)", reason="NetworkNotReady") from None
    except (process.ProcessError, TimeoutError) as error:
        text = str(error) or f"no answer within {_TIMEOUT:.0f} s"
        raise RuntimeFailure(f"nftables: {text}", reason="NetworkNotReady") from error


async def blocker(bridge: str) -> str | None:
    """Return one line that says which other table drops the pods' forwarded packets and how to let them pass, or None.

    An accept in one table never undoes a drop in another (nft(8), VERDICT STATEMENT), so this can only be told.
    """
    try:
        listing = await process.run(["nft", "-j", "list", "ruleset"], timeout=_TIMEOUT, check=True)
    except (OSError, process.ProcessError, TimeoutError):
        return None
    if await _legacy_drops(bridge):
        return _advice("ip", "filter", "FORWARD", docker=True, bridge=bridge)
    return explain(listing.stdout, bridge)


def explain(ruleset: bytes, bridge: str) -> str | None:
    """Return what `blocker` says of `ruleset`, nft's JSON listing."""
    try:
        entries = json.loads(ruleset)["nftables"]
    except (ValueError, KeyError, TypeError):
        return None
    found = _dropping_chain(entries, bridge)
    if found is None:
        return None
    family, table, chain, docker = found
    return _advice(family, table, chain, docker=docker, bridge=bridge)


def _advice(family: str, table: str, chain: str, *, docker: bool, bridge: str) -> str:
    place = f"the firewall drops forwarded packets (chain {chain} of table {family} {table}), so pods do not get out"
    if docker:
        way = " && ".join(f"iptables -I DOCKER-USER -{side} {bridge} -j ACCEPT" for side in "io")
        return f"{place}; it is Docker's: let pods pass with `{way}`"
    if (family, table, chain) == ("ip", "filter", "FORWARD"):
        way = " && ".join(f"iptables -I FORWARD -{side} {bridge} -j ACCEPT" for side in "io")
        return f"{place}; let pods pass with `{way}`"
    return f"{place}; add rules there that accept packets from and to {bridge}"


def _dropping_chain(entries: list[dict[str, Any]], bridge: str) -> tuple[str, str, str, bool] | None:
    """Return (family, table, chain, whether Docker's DOCKER-USER chain is in that table) of the first base chain in the
    forward path that ends in a drop or reject, unless its table has a rule that accepts what comes from `bridge`."""
    chains = [entry["chain"] for entry in entries if "chain" in entry]
    rules = [entry["rule"] for entry in entries if "rule" in entry]
    for chain in chains:
        family, table, name = chain["family"], chain["table"], chain["name"]
        if chain.get("hook") != "forward" or family not in ("ip", "inet"):
            continue
        own = [rule for rule in rules if (rule["family"], rule["table"], rule["chain"]) == (family, table, name)]
        if chain.get("policy") != "drop" and not (own and _ends_all(own[-1]["expr"])):
            continue
        if any(_accepts(rule["expr"], bridge) for rule in rules if (rule["family"], rule["table"]) == (family, table)):
            continue
        docker = any((one["family"], one["table"], one["name"]) == (family, table, "DOCKER-USER") for one in chains)
        return family, table, name, docker
    return None


def _ends_all(statements: list[dict[str, Any]]) -> bool:
    """Whether a rule drops or rejects whatever reaches it."""
    kinds = {kind for statement in statements for kind in statement}
    return bool(kinds & {"drop", "reject"}) and kinds <= {"drop", "reject", "counter", "log", "comment"}


def _accepts(statements: list[dict[str, Any]], bridge: str) -> bool:
    """Whether a rule accepts all that comes in by `bridge` (the way back is established, or accepted likewise)."""
    matches = [statement["match"] for statement in statements if "match" in statement]
    if len(matches) != 1 or not any("accept" in statement for statement in statements):
        return False
    match = matches[0]
    right = match.get("right")
    if match.get("left") != {"meta": {"key": "iifname"}} or match.get("op") != "==" or not isinstance(right, str):
        return False
    return right == bridge or (right.endswith("*") and bridge.startswith(right[:-1]))


async def _legacy_drops(bridge: str) -> bool:
    """Whether Docker works with the old iptables, which nft does not show, and drops what is forwarded."""
    try:
        if "filter" not in _LEGACY_TABLES.read_text().split():
            return False
        listing = await process.run([_IPTABLES_LEGACY, "-w", "5", "-S"], timeout=_TIMEOUT, check=True)
    except (OSError, process.ProcessError, TimeoutError):
        return False
    lines = listing.stdout.decode(errors="replace").splitlines()
    passes = any(line.endswith(f"-i {bridge} -j ACCEPT") for line in lines)
    return "-P FORWARD DROP" in lines and "-N DOCKER-USER" in lines and not passes
