"""The server's commands: `atdata-appview run` and `atdata-appview demo`.

Exit codes: 0 done; 1 the demo's searches found too little; 2 bad settings or arguments; 3 the
service could not start or had to stop (the log says why).
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

import structlog
from pydantic import ValidationError

from atdata_indexer import log
from atdata_indexer.errors import IndexerError
from atdata_indexer.settings import Settings


def run(argv: list[str]) -> int:
    """Index the network and answer queries until stopped."""
    lines = [
        f"  {Settings.variable(name):32} {field.description} [{_shown(field.default)}]"
        for name, field in Settings.model_fields.items()
    ]
    parser = argparse.ArgumentParser(
        "atdata-appview run",
        description="Index the network and answer queries, until SIGTERM or Ctrl-C.",
        epilog="settings, all from the environment:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(argv)
    from atdata_api import server

    settings = _settings()
    return 2 if settings is None else _until_done(server.run(settings))


def demo(argv: list[str]) -> int:
    """Play a recorded network back on loopback, index it and search it."""
    parser = argparse.ArgumentParser(
        "atdata-appview demo",
        description="Play a recorded network back on loopback, index it, search it, stay up.",
    )
    parser.add_argument(
        "--exit", action="store_true", help="end after the searches (also: DEMO_EXIT=1)"
    )
    arguments = parser.parse_args(argv)
    from atdata_api.demo import play

    settings = _settings(log_level="warning", port=0)
    leave = arguments.exit or os.environ.get("DEMO_EXIT") == "1"
    return 2 if settings is None else _until_done(play(settings, stay=not leave))


def _settings(**defaults: Any) -> Settings | None:
    """The settings of this process; `defaults` give way to what the environment says."""
    unset = {k: v for k, v in defaults.items() if Settings.variable(k) not in os.environ}
    try:
        settings = Settings(**unset)
    except ValidationError as error:
        for fault in error.errors():
            name = Settings.variable(str(fault["loc"][0])) if fault["loc"] else "settings"
            sys.stderr.write(f"{name}: {fault['msg']}\n")
        return None
    log.configure(settings)
    return settings


def _until_done(program: Coroutine[Any, Any, int | None]) -> int:
    try:
        return asyncio.run(program) or 0
    except KeyboardInterrupt:
        return 0
    except (IndexerError, OSError, ExceptionGroup) as error:
        for reason in _leaves(error):
            structlog.get_logger().error("stopped", error=str(reason), kind=type(reason).__name__)
        return 3


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _shown(default: object) -> str:
    return "unset" if default is None else str(default)
