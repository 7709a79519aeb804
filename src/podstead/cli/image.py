"""`podstead image pull | load | import | ls | rm | prune`: images of one instance, whether its server runs or not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from podstead.cli.options import directory_option, named, output_option, print_structured, print_table
from podstead.cli.problems import one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from podstead.node.images.removal import Removed
    from podstead.node.runtime.base import Image, Progress, RegistryAuth
    from podstead.paths import Paths

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def _instance_options(command: F) -> F:
    data = directory_option("Where the instance keeps its data (where `up` put it, or /var/lib/podstead/NAME).")
    return named("instance")(data(command))


def _quiet_option(command: F) -> F:
    return click.option("--quiet", "-q", is_flag=True, help="Show no progress.")(command)


def _complete_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, "file")]


image = click.Group("image", help="Pull, load, import, list and remove images.")


@image.command()
@click.argument("reference", metavar="IMAGE")
@click.option("--creds", metavar="USER[:PASSWORD]", help="Log in to the registry so (the password is asked for).")
@click.option(
    "--cert-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Certificates to trust the registry by (*.crt), instead of /etc/containers/certs.d/HOST:PORT.",
)
@_quiet_option
@_instance_options
def pull(
    reference: str, creds: str | None, cert_dir: Path | None, quiet: bool, instance: str, data_dir: Path | None
) -> None:
    """Pull IMAGE from its registry."""
    from podstead.node.images.pull import Images

    images = Images(_paths(instance, data_dir), certificates=cert_dir)
    auths = [_login(reference, creds)] if creds else []
    with _bar("Pulling", quiet) as progress:
        pulled = _run(images.pull_image(reference, auths, progress))
    _say_ready(pulled)


def _login(reference: str, creds: str) -> RegistryAuth:
    from podstead.node.images.references import InvalidReference, parse
    from podstead.node.runtime.base import RegistryAuth

    user, colon, password = creds.partition(":")
    if not colon:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
    try:
        return RegistryAuth(parse(reference).domain, user, password, "--creds")
    except InvalidReference as error:
        raise click.BadParameter(str(error), param_hint="IMAGE") from error


@image.command()
@click.argument("source", metavar="ARCHIVE-OR-NAME", shell_complete=_complete_files)
@click.option("--tag", default="", metavar="IMAGE", help="Name the image anew.")
@_quiet_option
@_instance_options
def load(source: str, tag: str, quiet: bool, instance: str, data_dir: Path | None) -> None:
    """Load a docker or OCI archive, an OCI directory, or an image of this host's podman or docker by its name."""
    from podstead.node.images.importer import Importer

    importer = Importer(_paths(instance, data_dir))
    with _bar("Loading", quiet) as progress:
        images = _run(importer.load(source, tag, progress))
    for loaded in images:
        _say_ready(loaded)


@image.command(name="import")
@click.argument("rootfs", metavar="ROOTFS.tar", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("reference", metavar="IMAGE")
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="INSTRUCTION",
    help="""A Dockerfile instruction such as 'CMD ["sh"]': CMD, ENTRYPOINT, ENV, WORKDIR, USER, STOPSIGNAL.""",
)
@_quiet_option
@_instance_options
def import_(
    rootfs: Path, reference: str, changes: tuple[str, ...], quiet: bool, instance: str, data_dir: Path | None
) -> None:
    """Make IMAGE from a root file system: a tar, plain or compressed."""
    from podstead.node.images.importer import Importer
    from podstead.node.images.layout import changed

    try:
        config = changed(changes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--change") from error
    importer = Importer(_paths(instance, data_dir))
    with _bar("Importing", quiet) as progress:
        imported = _run(importer.import_rootfs(rootfs, reference, config, progress))
    _say_ready(imported)


@image.command()
@output_option
@_instance_options
def ls(output: str, instance: str, data_dir: Path | None) -> None:
    """List the images."""
    from podstead.node.images.pull import Images
    from podstead.node.images.usage import images_in_use

    paths = _paths(instance, data_dir)
    images = _run(Images(paths).list_images())
    used = images_in_use(paths)
    if output != "table":
        print_structured([_described(listed, len(used.get(listed.id, ()))) for listed in images], output)
        return
    rows = []
    for listed in images:
        names = listed.tags or listed.digests or ("<none>",)
        rows += [(name, listed.id[:12], _size(listed.size), str(len(used.get(listed.id, ())))) for name in names]
    print_table(("IMAGE", "ID", "SIZE", "CONTAINERS"), rows)


def _described(listed: Image, containers: int) -> dict[str, Any]:
    return {
        "id": f"sha256:{listed.id}",
        "names": list(listed.tags),
        "digests": list(listed.digests),
        "size": listed.size,
        "containers": containers,
    }


def _complete_images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from podstead.cli.completion import image_names

    return image_names(ctx.params.get("instance") or "default", ctx.params.get("data_dir"), incomplete)


@image.command()
@click.argument("references", metavar="IMAGE...", nargs=-1, required=True, shell_complete=_complete_images)
@click.option("--force", "-f", is_flag=True, help="Take all names away, also of an image that containers use.")
@_instance_options
def rm(references: tuple[str, ...], force: bool, instance: str, data_dir: Path | None) -> None:
    """Remove images by name, digest or ID. An image that a container was made from is never taken from under it:
    with --force it loses its names, and goes with the next `prune` after its last container.
    """
    from podstead.node.images.pull import Images
    from podstead.node.images.removal import ImageRemover
    from podstead.node.runtime.base import RuntimeFailure

    paths = _paths(instance, data_dir)

    async def remove() -> list[str]:
        remover, problems = ImageRemover(paths, Images(paths)), []
        for reference in references:
            try:
                _say_removed(await remover.remove(reference, force=force))
            except RuntimeFailure as error:
                problems.append(str(error))
        return problems

    problems = _run(remove())
    if problems:
        raise click.ClickException("; ".join(problems))


@image.command()
@click.option("--all", "-a", "everything", is_flag=True, help="All images without a container, not only nameless ones.")
@_instance_options
def prune(everything: bool, instance: str, data_dir: Path | None) -> None:
    """Remove images that no container uses and that have no name, and what unfinished pulls left."""
    from podstead.node.images.pull import Images
    from podstead.node.images.removal import ImageRemover

    paths = _paths(instance, data_dir)
    removed = _run(ImageRemover(paths, Images(paths)).prune(everything=everything))
    _say_removed(removed)
    click.echo(f"Freed {_size(removed.freed)}")


def _say_removed(removed: Removed) -> None:
    for name in removed.untagged:
        click.echo(f"Untagged {name}")
    for identity in removed.deleted:
        click.echo(f"Deleted sha256:{identity}")


@contextmanager
def _bar(label: str, quiet: bool) -> Iterator[Progress | None]:
    """Give what draws a bar on the terminal, which begins with the first bytes; nothing if there is no terminal."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        shown: Any = None

        def progress(done: int, total: int) -> None:
            nonlocal shown
            if shown is None:
                bar = click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=lambda text: text)
                shown = stack.enter_context(bar)
            shown.length = max(total, done, 1)
            shown.update(done - shown.pos, f"{_size(done)} of {_size(total)}")

        yield progress


def _paths(instance: str, data_dir: Path | None) -> Paths:
    from podstead.cli.instance import InstanceError, locate

    if os.geteuid() != 0:
        raise click.ClickException("podstead needs root: try sudo")
    try:
        return locate(instance, data_dir)
    except InstanceError as error:
        raise click.ClickException(str(error)) from error


def _run(work: Coroutine[Any, Any, T]) -> T:
    from podstead.node.images.importer import ImportFailed
    from podstead.node.runtime.base import RuntimeFailure

    try:
        return asyncio.run(work)
    except (ImportFailed, RuntimeFailure) as error:
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(one_line(error)) from error


def _say_ready(ready: Image) -> None:
    name = (*ready.tags, *ready.digests, ready.id)[0]
    click.echo(f"Image {name} (sha256:{ready.id[:12]}, {_size(ready.size)}) is ready")


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"
