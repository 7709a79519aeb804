"""Typed views of what happens at a container's start and end: hooks, stop signal, restart rules."""

from __future__ import annotations

from podstead.objects.struct import Struct


class ExecAction(Struct, frozen=True, kw_only=True):
    """A command in the container; no shell, no $(VAR)."""

    command: tuple[str, ...] = ()


class HTTPHeader(Struct, frozen=True, kw_only=True):
    name: str = ""
    value: str = ""


class HTTPGetAction(Struct, frozen=True, kw_only=True):
    """A GET. `port`: a number or the name of one of the container's; `host` empty: the pod's address."""

    path: str = ""
    port: int | str = 0
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Struct, frozen=True, kw_only=True):
    """Accepted of a hook for old manifests' sake; running it fails."""

    port: int | str = 0
    host: str = ""


class SleepAction(Struct, frozen=True, kw_only=True):
    seconds: int = 0


class LifecycleHandler(Struct, frozen=True, kw_only=True):
    """What a hook does; one of its fields is set."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Struct, frozen=True, kw_only=True):
    """Hooks of a container's start and end, and the signal in place of its image's (SIGTERM, SIGRTMIN+3 ...)."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class RestartRuleOnExitCodes(Struct, frozen=True, kw_only=True):
    """`operator`: In or NotIn."""

    operator: str = ""
    values: tuple[int, ...] = ()


class RestartRule(Struct, frozen=True, kw_only=True):
    """What comes before a container's restart policy (KEP-5307). `action`: Restart."""

    action: str = ""
    exit_codes: RestartRuleOnExitCodes = RestartRuleOnExitCodes()

    def fits(self, exit_code: int) -> bool:
        """Tell whether a container that ended with `exit_code` is one of those meant."""
        return (exit_code in self.exit_codes.values) is (self.exit_codes.operator == "In")
