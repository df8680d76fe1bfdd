"""The command line, `atdata-appview`: `command` is the whole of it, the others its commands.

It prints what the client answers, and leaves everything else to the client; `kept_session` is the
one thing it keeps, between `login` and the commands after it.
"""

from atdata_client.cli.command import EXIT_CODES, SERVER_COMMANDS, build, main

__all__ = ["EXIT_CODES", "SERVER_COMMANDS", "build", "main"]
