"""Typed views of probes and of readiness gates."""

from __future__ import annotations

from podstead.objects.lifecycle import ExecAction, HTTPGetAction, TCPSocketAction
from podstead.objects.struct import Struct


class GRPCAction(Struct, frozen=True, kw_only=True):
    """grpc.health.v1; `service` empty: the server as a whole."""

    port: int = 0
    service: str = ""


class Probe(Struct, frozen=True, kw_only=True):
    """core/v1 Probe; one of the four actions is set. Seconds; thresholds count results in a row."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None
    """The container's time to end in when this probe has it restarted; None: the pod's."""


class PodReadinessGate(Struct, frozen=True, kw_only=True):
    """A condition that others set, without which the pod is not Ready (KEP-580)."""

    condition_type: str = ""
