"""The commands."""

try:
    from podstead.cli.main import main
except KeyboardInterrupt:  # Ctrl-C before anything has begun
    raise SystemExit(130) from None

__all__ = ["main"]
