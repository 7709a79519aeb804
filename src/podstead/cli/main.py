"""The command line: `podstead up | down | ls | status | version ...`; each command imports its own work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podstead import KUBERNETES_VERSION, __version__
from podstead.cli import instance as instances
from podstead.cli.instance import Instance, InstanceError
from podstead.cli.options import directory_option, named, output_option, print_structured, print_table
from podstead.cli.problems import INTERRUPTED, one_line

if TYPE_CHECKING:
    import subprocess

NOT_RUNNING = 3
"""Exit code of `status` when there is no server, as systemctl's."""
READY_PATIENCE = 300.0
"""Seconds that `up` waits for a server that says nothing: a machine may be slow; one that dies is seen at once."""
DOWN_PATIENCE = 30.0
"""Seconds that `down` waits for another `podstead` that works on the same data directory."""


_ELSEWHERE = {"image": "podstead.cli.image", "kubectl": "podstead.cli.kubectl"}
"""Commands in modules of their own, which are imported when they are needed."""


class _Commands(click.Group):
    """Turns what a user must put right into one line and exit code 1; no traceback reaches anybody."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # of the output: whoever read it has seen enough
        except (InstanceError, OSError) as error:
            raise click.ClickException(one_line(error)) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE:
            import importlib

            command: click.Command = getattr(importlib.import_module(_ELSEWHERE[cmd_name]), cmd_name)
            return command
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])


_FILE = click.Path(dir_okay=False, path_type=Path)


def _complete_runtimes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [word for word in ("auto", "crun", "runc") if word.startswith(incomplete)]


def _check_reserved(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value:
        from podstead.node.info import parse_reserved

        try:
            parse_reserved(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return value


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The Kubernetes API and real Linux containers on one machine, in one process."""


@cli.command()
@named()
@directory_option("Where the instance keeps its data (/var/lib/podstead/NAME).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the API on 127.0.0.1 (a free one from 6443 on).")
@click.option("--kubeconfig", type=_FILE, metavar="FILE", help="Write the context there, not to ~/.kube/config.")
@click.option("--foreground", is_flag=True, help="Stay in the foreground and log to the terminal.")
@click.option(
    "--runtime",
    metavar="auto|crun|runc|PATH",
    shell_complete=_complete_runtimes,
    help="The OCI runtime (auto: the fastest that works here).",
)
@click.option(
    "--system-reserved",
    metavar="cpu=N,memory=N",
    callback=_check_reserved,
    help="What of the machine is not for pods (cpu, memory, ephemeral-storage).",
)
def up(
    name: str,
    data_dir: Path | None,
    port: int | None,
    kubeconfig: Path | None,
    foreground: bool,
    runtime: str | None,
    system_reserved: str | None,
) -> None:
    """Start the server and wait until its node is Ready."""
    from podstead.cli import requirements

    began = time.monotonic()
    instances.check_name(name)
    requirements.check()
    if runtime and "/" in runtime:
        runtime = str(Path(runtime).absolute())
    known = instances.find(name)
    if known is not None and (server := instances.running(known.paths)) is not None:
        _refuse_change(known, data_dir, port, runtime)
        _refuse_reserved(known, system_reserved)
        if not server.ready:
            raise InstanceError(
                f"{_title(known)} is being started already (pid {server.pid}): `podstead status` tells more"
            )
        _merge_kubeconfig(known, kubeconfig)
        click.echo(f"{_title(known)} is running already at {known.url} (pid {server.pid})")
        return
    instance = instances.settle(name, data_dir, port, runtime, system_reserved)
    if not instances.port_is_free(instance.port):
        raise InstanceError(f"port {instance.port} is in use: choose another with --port")
    if foreground:
        from podstead.cli.server import serve

        sys.exit(serve(instance, foreground=True, on_ready=lambda: _merge_or_warn(instance, kubeconfig)))
    problem = _start_in_background(instance)
    context = _merge_kubeconfig(instance, kubeconfig)
    if problem:
        where = f"{_title(instance)} runs at {instance.url}"
        raise InstanceError(f"{where}, but its node is not ready: {problem}; see {instance.paths.server_log}")
    took = time.monotonic() - began
    click.echo(f"{_title(instance)} is ready at {instance.url} after {took:.2f} s; kubectl context: {context}")


def _refuse_reserved(known: Instance, system_reserved: str | None) -> None:
    if system_reserved is not None and system_reserved != known.system_reserved:
        kept = known.system_reserved or "nothing"
        raise InstanceError(f"{_title(known)} is running with {kept} reserved: `podstead down` first")


def _refuse_change(known: Instance, data_dir: Path | None, port: int | None, runtime: str | None) -> None:
    if data_dir is not None and str(data_dir.resolve()) != known.data:
        raise InstanceError(f"{_title(known)} is running with its data in {known.data}: `podstead down` first")
    if port is not None and port != known.port:
        raise InstanceError(f"{_title(known)} is running on port {known.port}: `podstead down` first")
    if runtime and runtime != known.runtime:
        raise InstanceError(f"{_title(known)} is running with --runtime {known.runtime}: `podstead down` first")


def _title(instance: Instance) -> str:
    return "podstead" if instance.name == "default" else f"podstead {instance.name!r}"


_WITHOUT = "`podstead kubectl` needs none, `up --kubeconfig FILE` writes another"


def _merge_kubeconfig(instance: Instance, file: Path | None) -> str:
    """Merge the instance's context into the user's kubeconfig; returns the context's name. Raises InstanceError."""
    import yaml

    from podstead.cli import kubeconfig

    target = file or kubeconfig.default_path()
    try:
        admin = yaml.safe_load(instance.paths.admin_kubeconfig.read_text())
        kubeconfig.merge(target, instance.context, admin)
    except (InstanceError, OSError) as error:
        where = f"{_title(instance)} is running at {instance.url}"
        raise InstanceError(f"{where}, but {target} was not changed: {one_line(error)}; {_WITHOUT}") from error
    return instance.context


def _merge_or_warn(instance: Instance, file: Path | None) -> None:
    try:
        _merge_kubeconfig(instance, file)
    except InstanceError as error:
        click.echo(f"Warning: {error}", err=True)


def _start_in_background(instance: Instance) -> str:
    """Start the server in a session of its own and wait for its word; returns why its node is not ready, or nothing.

    Raises InstanceError with the reason where it does not start. Interrupted, it takes the server along.
    """
    import subprocess

    paths = instance.paths
    paths.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader, writer = os.pipe()
    with paths.server_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "podstead.cli.serve", instance.name, str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writer],
            start_new_session=True,
            cwd="/",
        )
    os.close(writer)
    try:
        line = _first_line(reader, READY_PATIENCE)
    except KeyboardInterrupt:
        process.terminate()
        _end(process)
        raise
    if line is None:
        process.terminate()
    word, _, problem = (line or "").partition(" ")
    if word == "ready":
        return problem
    _end(process)
    if line is None:
        raise InstanceError(f"the server was not ready after {READY_PATIENCE:.0f} s; see {paths.server_log}")
    raise InstanceError(line or f"the server ended with code {process.returncode}; see {paths.server_log}")


def _first_line(descriptor: int, patience: float) -> str | None:
    """Return the line that comes through a pipe, empty at its end, None if nothing came in `patience` seconds."""
    import select

    with os.fdopen(descriptor, "rb") as pipe:
        if not select.select([pipe], [], [], patience)[0]:
            return None
        return pipe.readline().decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a server that could not start; one that does not end by itself is asked to, then killed."""
    import subprocess

    for ask in (process.terminate, process.kill):
        try:
            process.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            ask()
    process.wait()


@cli.command()
@named()
@click.option("--purge", is_flag=True, help="Remove the instance's data, images and kubeconfig context too.")
@click.option("--grace", type=click.FloatRange(0, 3600), default=2.0, show_default=True, help="Seconds for containers.")
@click.option("--kubeconfig", type=_FILE, metavar="FILE", help="Where `up` wrote the context (with --purge).")
def down(name: str, purge: bool, grace: float, kubeconfig: Path | None) -> None:
    """End all pods and the server; leave nothing running and nothing mounted. Data is kept for the next `up`."""
    from podstead.cli import requirements
    from podstead.cli.teardown import tear_down

    requirements.check_root()
    instance = instances.find(name)
    if instance is None:
        click.echo(f"podstead {name!r}: nothing to do, there is no such instance")
        return
    with _stopped(instance) as server:
        ended = tear_down(instance, grace)
        if purge:
            _purge(instance)
    what = "is down" if server or ended.containers else "was down already"
    pods = f"; ended {ended.pods} pod{'s' * (ended.pods != 1)}" if ended.pods else ""
    data = "; its data is removed" if purge else f"; its data stays in {instance.data}"
    if purge:
        _forget_context(instance, kubeconfig, f"{_title(instance)} {what}{pods}{data}")
    click.echo(f"{_title(instance)} {what}{pods}{data}")


@contextmanager
def _stopped(instance: Instance) -> Iterator[bool]:
    """Stop the server and keep another from starting; yields whether there was one.

    Two `down` at once come one after the other. Raises InstanceError.
    """
    from podstead.linux.hold import Held, hold

    had_server, deadline = False, time.monotonic() + DOWN_PATIENCE
    with ExitStack() as stack:
        while True:
            if (server := instances.running(instance.paths)) is not None:
                instances.stop(server, timeout=10)
                had_server = True
            if not instance.paths.data.is_dir():
                break
            try:
                stack.enter_context(hold(instance.paths.lock_file))
                break
            except Held:
                if time.monotonic() > deadline:
                    text = f"the data directory {instance.data} is in use by another podstead process: try again later"
                    raise InstanceError(text) from None
                time.sleep(0.05)
        yield had_server


def _purge(instance: Instance) -> None:
    from podstead.linux.remove import MountInside, remove_tree

    data = instance.paths.data
    if data.exists():
        try:
            remove_tree(data)
        except MountInside as error:
            raise InstanceError(f"{data} was not removed: {error}: unmount it (umount {error.path}) first") from error
    instances.forget(instance.name)


def _forget_context(instance: Instance, file: Path | None, done: str) -> None:
    from podstead.cli import kubeconfig

    target = file or kubeconfig.default_path()
    try:
        kubeconfig.remove(target, instance.context)
    except (InstanceError, OSError) as error:
        raise InstanceError(
            f"{done}, but {target} still has the context {instance.context}: {one_line(error)}"
        ) from error


@cli.command()
@output_option
@named()
def status(output: str, name: str) -> None:
    """Say whether the instance runs, and what is in it. Exit code 3: it does not."""
    from podstead.cli import status as facts

    found = facts.of(name)
    if output != "table":
        print_structured(found, output)
    else:
        click.echo(facts.text(found))
    if found["state"] != facts.RUNNING:
        sys.exit(NOT_RUNNING)


@cli.command()
@output_option
def ls(output: str) -> None:
    """List the instances of this machine."""
    from podstead.cli import status as facts

    found = facts.listed()
    if output != "table":
        print_structured(found, output)
        return
    rows = [
        (one["name"], one["state"], one["url"], one["dataDir"], "-" if one["pods"] is None else str(one["pods"]))
        for one in found
    ]
    print_table(("NAME", "STATE", "API", "DATA", "PODS"), rows)


@cli.command()
def version() -> None:
    """Print the versions of podstead and of the Kubernetes API that it serves."""
    click.echo(f"podstead {__version__} (Kubernetes {KUBERNETES_VERSION})")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets the shell complete podstead's commands, options and names.

    \b
    bash: source <(podstead completion bash)     in ~/.bashrc
    zsh:  source <(podstead completion zsh)      in ~/.zshrc, after compinit
    fish: podstead completion fish | source      in ~/.config/fish/config.fish
    """
    from podstead.cli.completion import SCRIPTS

    click.echo(SCRIPTS[shell], nl=False)


def main() -> None:
    """Entry point of the `podstead` command."""
    try:
        if shell := os.environ.get("_PODSTEAD_COMPLETE"):
            from podstead.cli.completion import answer

            answer(shell, cli)
            return
        sys.exit(cli.main(prog_name="podstead", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Python would complain once more when it empties its buffers at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
