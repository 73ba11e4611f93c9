"""Floor 8: the command line, one thin file a command group."""

from pellucid.cli.main import main

__all__ = ["main"]
