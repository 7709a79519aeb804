"""From a container's spec and its image to what the runtime makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podstead.node.containers import Surroundings, container_config
from podstead.node.environment import ConfigError, expand
from podstead.node.runtime.base import ContainerConfig, Image, ImageConfig
from podstead.objects.pod import from_object

AROUND = Surroundings({"data": Path("/v/data")}, Path("/l/0.log"), Path("/t/0"), 1 << 30)
IMAGE = ImageConfig(user="", env=("PATH=/bin", "A=image"), entrypoint=("/entry",), cmd=("cmd",), working_dir="/work")


def _config(
    container: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **image: Any
) -> ContainerConfig:
    values = {name: getattr(IMAGE, name) for name in ("user", "env", "entrypoint", "cmd", "working_dir")} | image
    whole = {"containers": [{"name": "c", "image": "i:1", **(container or {})}], **(spec or {})}
    pod = from_object({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": whole})
    made = Image("ab" * 32, ("i:1",), (), 1, ImageConfig(**values), ())
    return container_config(pod, pod.spec.containers[0], made, 3, AROUND)


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ["/entry", "cmd"]),
        ({"args": ["x"]}, ["/entry", "x"]),
        ({"command": ["/own"]}, ["/own"]),
        ({"command": ["/own"], "args": ["x"]}, ["/own", "x"]),
    ],
)
def test_command_and_args_replace_the_images(container: dict[str, Any], argv: list[str]) -> None:
    assert list(_config(container).args) == argv


def test_no_command_at_all() -> None:
    with pytest.raises(ConfigError, match="no command specified") as caught:
        _config(entrypoint=(), cmd=())
    assert caught.value.reason == "CreateContainerError"


@pytest.mark.parametrize("verb", ["add", "drop"])
def test_a_capability_that_does_not_exist_is_refused(verb: str) -> None:
    with pytest.raises(ConfigError, match=f'unknown capability "CAP_NET_ADMIM" to {verb}') as caught:
        _config({"securityContext": {"capabilities": {verb: ["ALL", "net_raw", "NET_ADMIM"]}}})
    assert caught.value.reason == "CreateContainerError"


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ({"command": ["sh", "-c\0x"]}, "command"),
        ({"command": ["sh"], "workingDir": "/a\0/../.."}, "workingDir"),
        ({"command": ["sh"], "env": [{"name": "A", "value": "b\0c"}]}, "env"),
        ({"command": ["sh"], "terminationMessagePath": "/a\0b"}, "mountPath"),
    ],
)
def test_what_the_kernel_would_cut_short_is_refused(container: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} has a NUL character"):
        _config(container)


def test_variables_overlay_the_images_and_refer_to_earlier_ones() -> None:
    env = [{"name": "A", "value": "own"}, {"name": "B", "value": "$(A)-$(C)-$$(A)"}, {"name": "C", "value": "late"}]
    config = _config({"env": env, "command": ["echo", "$(B)", "$(PATH)"]})
    assert dict(config.env) == {"PATH": "/bin", "A": "own", "B": "own-$(C)-$(A)", "C": "late"}
    assert list(config.args) == ["echo", "own-$(C)-$(A)", "$(PATH)"]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(NO)", "$(NO)"), ("$A $(", "$A $("), ("50$$", "50$")],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_mounts_are_absolute_and_the_termination_file_is_one() -> None:
    config = _config({"volumeMounts": [{"name": "data", "mountPath": "tmp/x", "readOnly": True}]})
    first, last = config.mounts
    assert (first.container_path, first.host_path, first.readonly) == ("/tmp/x", Path("/v/data"), True)
    assert (last.container_path, last.host_path) == ("/dev/termination-log", Path("/t/0"))


def test_limits_become_the_cgroups() -> None:
    limits = {"cpu": "500m", "memory": "64Mi"}
    config = _config({"resources": {"limits": limits, "requests": {"cpu": "250m", "memory": "64Mi"}}})
    resources = config.resources
    assert (resources.cpu_shares, resources.cpu_quota, resources.cpu_period) == (256, 50_000, 100_000)
    assert resources.memory_limit == 64 << 20
    assert resources.oom_score_adj == 1000 - 1000 * (64 << 20) // (1 << 30)
    assert _config({"resources": {"limits": limits}}).resources.oom_score_adj == -997
    assert _config().resources.oom_score_adj == 1000
    assert _config().resources.cpu_shares == 2


def test_the_containers_security_context_wins() -> None:
    spec = {"securityContext": {"runAsUser": 1, "runAsGroup": 2, "seccompProfile": {"type": "RuntimeDefault"}}}
    own = {"runAsUser": 5, "capabilities": {"add": ["cap_net_admin"], "drop": ["ALL"]}}
    security = _config({"securityContext": own}, spec).security
    assert (security.run_as_user, security.run_as_group, security.seccomp) == (5, 2, "RuntimeDefault")
    assert (security.capabilities_add, security.capabilities_drop) == (("NET_ADMIN",), ("ALL",))
    assert _config({"securityContext": {"privileged": True}}, spec).security.seccomp == "Unconfined"


@pytest.mark.parametrize(
    ("user", "context", "message"),
    [
        ("", {}, "container has runAsNonRoot and image will run as root"),
        ("0:5", {}, "image will run as root"),
        ("web", {}, "image has non-numeric user (web), cannot verify user is non-root"),
        ("7", {"runAsUser": 0}, "container's runAsUser breaks non-root policy"),
    ],
)
def test_root_is_refused_where_it_is_not_wanted(user: str, context: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _config({"securityContext": {"runAsNonRoot": True, **context}}, user=user)
    assert message in str(caught.value)
    assert caught.value.reason == "CreateContainerConfigError"


def test_a_user_with_a_number_is_not_root() -> None:
    assert _config({"securityContext": {"runAsNonRoot": True}}, user="7").user == "7"


def test_where_it_works_and_what_it_is() -> None:
    assert _config().working_dir == "/work"
    assert _config(working_dir="").working_dir == "/"
    assert _config({"workingDir": "/own"}).working_dir == "/own"
    assert (_config().attempt, _config().labels["io.kubernetes.pod.name"]) == (3, "p")
