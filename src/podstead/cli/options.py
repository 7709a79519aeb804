"""What several commands have in common: --name, --data-dir, --output, and what Tab offers for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

OUTPUTS = ("table", "json", "yaml")


def _complete_instances(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from podstead.cli.completion import instance_names

    return instance_names(incomplete)


def named(parameter: str = "name") -> Callable[[F], F]:
    """Give a command the option --name; its value comes as `parameter`."""
    return click.option(
        "--name",
        parameter,
        default="default",
        show_default=True,
        metavar="NAME",
        shell_complete=_complete_instances,
        help="The instance to work on.",
    )


def output_option(command: F) -> F:
    """Give a command the option --output."""
    option = click.option(
        "--output",
        "-o",
        type=click.Choice(OUTPUTS),
        default=OUTPUTS[0],
        show_default=True,
        help="For people, or for programs.",
    )
    return option(command)


def print_structured(value: Any, output: str) -> None:
    """Print a value as `json` or `yaml`."""
    if output == "json":
        import json

        click.echo(json.dumps(value, indent=2))
        return
    import yaml

    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below a head, each column as wide as it must be."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def directory_option(help_text: str) -> Callable[[F], F]:
    """Give a command the option --data-dir; its value comes as `data_dir`."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--data-dir", type=kind, metavar="DIR", help=help_text)
