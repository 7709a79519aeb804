"""Completion for bash, zsh and fish: their scripts, and the answers to what these ask.

A script gives the line up to the cursor in COMP_LINE and reads one line for each thing that Tab may offer: its kind,
the whole word, and help, with tabs between. Kinds: `plain`; `nospace`, after which more of the word comes; `file` and
`dir`, for which the shell looks itself.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, ShellComplete

if TYPE_CHECKING:
    from podstead.cli.instance import Instance

VARIABLE = "_PODSTEAD_COMPLETE"
"""Environment variable, set by the scripts alone: the shell that asks."""

_BASH = """\
# podstead's completion for bash: source <(podstead completion bash)
_podstead_complete() {
    local kind word help
    COMPREPLY=()
    while IFS=$'\\t' read -r kind word help; do
        case $kind in
            plain) COMPREPLY+=("$word") ;;
            nospace) COMPREPLY+=("$word"); compopt -o nospace ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        _PODSTEAD_COMPLETE=bash "$1" 2>/dev/null)
}
complete -o nosort -F _podstead_complete podstead
"""

_ZSH = """\
#compdef podstead
# podstead's completion for zsh: source <(podstead completion zsh), after compinit; or a file _podstead in $fpath
_podstead() {
    local kind word help
    local -a plain nospace
    while IFS=$'\\t' read -r kind word help; do
        case $kind in
            plain) plain+=("${word//:/\\\\:}${help:+:$help}") ;;
            nospace) nospace+=("${word//:/\\\\:}${help:+:$help}") ;;
            file) _files ;;
            dir) _files -/ ;;
        esac
    done < <(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" _PODSTEAD_COMPLETE=zsh ${(Q)words[1]} 2>/dev/null)
    (( $#plain )) && _describe -V podstead plain
    (( $#nospace )) && _describe -V podstead nospace -S ''
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _podstead "$@"
else
    compdef _podstead podstead
fi
"""

_FISH = """\
# podstead's completion for fish: podstead completion fish | source
function __podstead_complete
    set -lx COMP_LINE (commandline -cp)
    set -lx _PODSTEAD_COMPLETE fish
    for line in (podstead 2>/dev/null)
        set -l parts (string split \\t -- $line)
        switch $parts[1]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case '*'
                printf '%s\\t%s\\n' $parts[2] "$parts[3]"
        end
    end
end
complete -c podstead -f -a '(__podstead_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def answer(shell: str, cli: click.Command) -> None:
    """Print what may come at the end of the line in the environment."""
    line = os.environ.get("COMP_LINE", "")
    words, last = split(line)
    # `--name=d` is one word; what follows the sign is completed, the word begins as it did.
    head = last[: last.index("=") + 1] if last.startswith("-") and "=" in last else ""
    # click takes such a word apart; kubectl wants it whole, and finds it in the context's `obj`.
    asked = ShellComplete(cli, {"obj": last}, "podstead", VARIABLE)
    for item in asked.get_completions(words[1:], last):
        word = head + str(item.value)
        if item.type in ("plain", "nospace"):
            if not word.startswith(last):
                continue
            if shell == "bash":
                word = word[_kept_by_bash(line, last) :]
        click.echo(f"{item.type}\t{word}\t{' '.join((item.help or '').split())}")


def split(line: str) -> tuple[list[str], str]:
    """Return the whole words of a line as a shell reads them, and the one that it ends in, maybe empty.

    A quotation may be open at the end.
    """
    end = "\0"
    lexer = shlex.shlex(line + end, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words += lexer
    except ValueError:
        words.append(lexer.token)
    *whole, last = words
    return whole, last.removesuffix(end)


def _kept_by_bash(line: str, last: str) -> int:
    """How many characters of the last word stay as they are: bash takes `centos:7` for several words, unless quoted."""
    open_quote = line.rpartition(" ")[2][:1] in ("'", '"')
    breaks = "" if open_quote else os.environ.get("COMP_WORDBREAKS", "")
    return max((last.rfind(sign) + 1 for sign in "=:" if sign in breaks), default=0)


# -- what there is


def instance_names(beginning: str) -> list[str]:
    """Return the instances' names that begin so."""
    from podstead.cli import instance as instances

    try:
        return [name for name in instances.names() if name.startswith(beginning)]
    except OSError:
        return []


def image_names(instance: str, data_dir: str | os.PathLike[str] | None, beginning: str) -> list[str]:
    """Return the images' names in an instance's store that begin so; Docker Hub's by their short names too."""
    import asyncio
    from pathlib import Path

    from podstead.cli.instance import InstanceError, locate
    from podstead.node.images.pull import Images
    from podstead.node.runtime.base import RuntimeFailure

    try:
        paths = locate(instance, Path(data_dir) if data_dir else None)
        images = asyncio.run(Images(paths).list_images())
    except (InstanceError, RuntimeFailure, OSError):
        return []
    full = [name for image in images for name in image.tags]
    short = [name.removeprefix("docker.io/library/") for name in full if name.startswith("docker.io/library/")]
    return sorted(name for name in {*full, *short} if name.startswith(beginning))


_ERROR, _NO_SPACE, _NO_FILES, _EXTENSIONS, _DIRECTORIES = 1, 2, 4, 8, 16
"""Bits of the number at the end of what `kubectl __complete` says (of the library cobra: all its users have them)."""


def kubectl_items(instance: Instance, arguments: tuple[str, ...], incomplete: str) -> list[CompletionItem[str]]:
    """Return what kubectl itself offers after `arguments`, asked against the instance."""
    import subprocess

    from podstead.cli.instance import InstanceError
    from podstead.cli.kubectl import program_of

    try:
        program, environment = program_of(instance)
        asked = subprocess.run(
            [program, "__complete", *arguments, incomplete],
            env={**environment, "KUBECTL_ACTIVE_HELP": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (InstanceError, OSError, subprocess.TimeoutExpired):
        return []
    return list(_items(asked.stdout))


def _items(said: str) -> Iterator[CompletionItem[str]]:
    *lines, last = said.splitlines() or [""]
    number = last.removeprefix(":")
    directive = int(number) if number.isdigit() else _ERROR
    if directive & _ERROR:
        return
    if directive & _EXTENSIONS:
        yield CompletionItem("", "file")
        return
    for line in lines:
        word, _, help_text = line.partition("\t")
        yield CompletionItem(word, "nospace" if directive & _NO_SPACE else "plain", help_text or None)
    if directive & _DIRECTORIES:
        yield CompletionItem("", "dir")
    elif not lines and not directive & _NO_FILES:
        yield CompletionItem("", "file")
