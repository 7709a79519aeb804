"""The commands."""

from podstead.cli.main import main

__all__ = ["main"]
