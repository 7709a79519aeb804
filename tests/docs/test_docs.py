"""The documentation keeps up with the code: every command and option, the tables, the links, the fields of --output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from podstead.cli.main import cli
from podstead.cli.options import OUTPUTS
from support import doc_tables

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"])
REFERENCE = (ROOT / "docs" / "cli.md").read_text()


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = (*path, name)
        yield " ".join(words), command
        if isinstance(command, click.Group):
            yield from commands(command, words)


ALL = dict(commands(cli, ("podstead",)))


def section(command: str) -> str:
    """The part of the reference below the command's own head."""
    found = re.search(rf"^(#+) {re.escape(command)}\b.*?\n(.*?)(?=^#{{1,3}} |\Z)", REFERENCE, re.M | re.S)
    assert found is not None, f"docs/cli.md has no head for `{command}`"
    return found.group(2)


@pytest.mark.parametrize("command", ALL)
def test_every_option_is_in_the_reference(command: str) -> None:
    text = section(command)
    for parameter in ALL[command].params:
        if isinstance(parameter, click.Option):
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{option}" in text, f"docs/cli.md does not tell of {command} {option}"


def test_the_reference_has_no_option_that_is_not_there() -> None:
    known = {option for command in ALL.values() for parameter in command.params for option in parameter.opts}
    told = set(re.findall(r"^\|.*", REFERENCE, re.M))
    words = {word for line in told for word in re.findall(r"`(--?[a-z][a-z-]*)", line.split("|")[1])}
    assert words <= known | {"--help", "-h"}


def test_every_choice_is_in_the_reference() -> None:
    assert "\\|".join(OUTPUTS) in REFERENCE
    for command in ALL.values():
        for parameter in command.params:
            if isinstance(parameter, click.Argument) and isinstance(parameter.type, click.Choice):
                assert "|".join(parameter.type.choices) in REFERENCE


@pytest.mark.parametrize("page", doc_tables.PAGES)
def test_tables_are_those_of_the_code(page: str) -> None:
    message = "run `.venv/bin/python tests/support/doc_tables.py`"
    assert (ROOT / "docs" / page).read_text() == doc_tables.filled(page), message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_printed_are_there(page: Path) -> None:
    for words in re.findall(r"^ {4,}(?:\$ )?(?:sudo )?podstead ([a-z]+(?: [a-z]+)?)", page.read_text(), re.M):
        first, _, second = words.partition(" ")
        if first == "is":  # what it says
            continue
        assert f"podstead {first}" in ALL, words
        if first == "image":
            assert f"podstead image {second}" in ALL, words
