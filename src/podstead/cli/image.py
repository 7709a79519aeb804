"""`podstead image pull | load | import | ls`: images of one instance, whether its server runs or not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from podstead.node.runtime.base import Image
    from podstead.paths import Paths

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def _instance_options(command: F) -> F:
    name = click.option(
        "--name", "instance", default="default", show_default=True, metavar="NAME", help="The instance to work on."
    )
    data = click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where the instance keeps its data (where `up` put it, or /var/lib/podstead/NAME).",
    )
    return name(data(command))


image = click.Group("image", help="Pull, load and import images.")


@image.command()
@click.argument("reference", metavar="IMAGE")
@_instance_options
def pull(reference: str, instance: str, data_dir: Path | None) -> None:
    """Pull IMAGE from its registry."""
    from podstead.node.images.pull import Images

    images = Images(_paths(instance, data_dir))
    _say_ready(_run(images.pull_image(reference)))


@image.command()
@click.argument("source", metavar="ARCHIVE-OR-NAME")
@click.option("--tag", default="", metavar="IMAGE", help="Name the image anew.")
@_instance_options
def load(source: str, tag: str, instance: str, data_dir: Path | None) -> None:
    """Load a docker or OCI archive, an OCI directory, or an image of this host's podman or docker by its name."""
    from podstead.node.images.importer import Importer

    for loaded in _run(Importer(_paths(instance, data_dir)).load(source, tag)):
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
@_instance_options
def import_(rootfs: Path, reference: str, changes: tuple[str, ...], instance: str, data_dir: Path | None) -> None:
    """Make IMAGE from a root file system: a tar, plain or compressed."""
    from podstead.node.images.importer import Importer
    from podstead.node.images.layout import changed

    try:
        config = changed(changes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--change") from error
    _say_ready(_run(Importer(_paths(instance, data_dir)).import_rootfs(rootfs, reference, config)))


@image.command()
@_instance_options
def ls(instance: str, data_dir: Path | None) -> None:
    """List the images."""
    from podstead.node.images.pull import Images

    rows = [("IMAGE", "ID", "SIZE")]
    for listed in _run(Images(_paths(instance, data_dir)).list_images()):
        names = listed.tags or listed.digests or ("<none>",)
        rows += [(name, listed.id[:12], _size(listed.size)) for name in names]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _paths(instance: str, data_dir: Path | None) -> Paths:
    from podstead.cli.instance import InstanceError, locate

    if os.geteuid() != 0:
        raise click.ClickException("podstead needs root")
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
    except OSError as error:
        raise click.ClickException(f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")) from error
    except KeyboardInterrupt:
        raise click.Abort from None


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
