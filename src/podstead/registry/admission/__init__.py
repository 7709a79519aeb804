"""Admission: one file a plugin; every writer passes them all."""

from __future__ import annotations

from podstead.registry.admission.base import Attributes, Base, Chain, Lookup, Operation, Plugin
from podstead.registry.admission.certificate_subject import CertificateSubjectRestriction
from podstead.registry.admission.default_toleration_seconds import DefaultTolerationSeconds
from podstead.registry.admission.limit_ranger import LimitRanger
from podstead.registry.admission.namespace_lifecycle import NamespaceLifecycle
from podstead.registry.admission.priority import Priority
from podstead.registry.admission.runtime_class import RuntimeClass
from podstead.registry.admission.service_account import ServiceAccount

__all__ = ["Attributes", "Base", "Chain", "Lookup", "Operation", "Plugin", "default_chain"]


def default_chain(lookup: Lookup) -> Chain:
    """Return the plugins that are always on, in Kubernetes' order."""
    return Chain(
        [
            NamespaceLifecycle(lookup),
            LimitRanger(lookup),
            ServiceAccount(lookup),
            DefaultTolerationSeconds(),
            Priority(lookup),
            RuntimeClass(lookup),
            CertificateSubjectRestriction(),
        ]
    )
