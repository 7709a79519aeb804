"""One strategy a kind, for what differs; kinds that do not differ have the generic one."""

from __future__ import annotations

from podstead.objects.kinds import ResourceInfo
from podstead.registry.strategies.base import Strategy
from podstead.registry.strategies.events import EventStrategy
from podstead.registry.strategies.namespaces import NamespaceStrategy
from podstead.registry.strategies.nodes import NodeStrategy
from podstead.registry.strategies.pods import PodStrategy
from podstead.registry.strategies.secrets import SecretStrategy
from podstead.registry.strategies.serviceaccounts import ServiceAccountStrategy

_STRATEGIES: dict[str, type[Strategy]] = {
    "events": EventStrategy,
    "namespaces": NamespaceStrategy,
    "nodes": NodeStrategy,
    "pods": PodStrategy,
    "secrets": SecretStrategy,
    "serviceaccounts": ServiceAccountStrategy,
}


def strategy_for(info: ResourceInfo) -> Strategy:
    return _STRATEGIES.get(info.resource, Strategy)(info)
