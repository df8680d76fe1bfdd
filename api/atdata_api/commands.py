"""The server's commands: `atdata-appview run`, its halves `index` and `serve`, and `demo`.

Exit codes: 0 done; 1 the demo's searches found too little; 2 bad settings or arguments; 3 the
service could not start or had to stop (the log says why).
"""

import argparse
import asyncio
import ctypes
import os
import socket
import sys
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

import structlog
from pydantic import ValidationError

from atdata_indexer import log
from atdata_indexer.errors import IndexerError
from atdata_indexer.settings import Settings

_ARENA_MAX = -8
"""glibc's M_ARENA_MAX (mallopt(3))."""

DEMO_PORT = 8900
"""Where clients ask when they are told nothing else; the demo takes it when it is free."""


def run(argv: list[str]) -> int:
    """Index the network and answer queries until stopped."""
    _parser("run", "Index the network and answer queries, until SIGTERM or Ctrl-C.").parse_args(
        argv
    )
    from atdata_api import server

    settings = read_settings()
    return 2 if settings is None else _until_done(server.run(settings))


def index(argv: list[str]) -> int:
    """Index the network until stopped, and answer only this machine's `serve` and operator."""
    parser = _parser("index", "Index the network, until SIGTERM or Ctrl-C; `serve` answers.")
    parser.parse_args(argv)
    from atdata_api import server

    settings = read_settings()
    return 2 if settings is None else _until_done(server.index(settings))


def serve(argv: list[str]) -> int:
    """Answer queries over an index that `atdata-appview index` keeps, until stopped."""
    parser = _parser("serve", "Answer queries over the index that `index` keeps on this machine.")
    parser.add_argument(
        "--workers", type=_workers, default=1, metavar="N", help="processes that answer [1]"
    )
    workers = parser.parse_args(argv).workers
    from atdata_api import serve

    settings = read_settings()
    return 2 if settings is None else _until_done(serve.serve(settings, workers))


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

    leave = arguments.exit or os.environ.get("DEMO_EXIT") == "1"
    port = 0 if leave or not _free(DEMO_PORT) else DEMO_PORT
    settings = read_settings(log_level="warning", port=port)
    return 2 if settings is None else _until_done(play(settings, stay=not leave))


def _free(port: int) -> bool:
    """Whether nothing listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    """The parser of a command that reads every setting."""
    lines = [
        f"  {Settings.variable(name):32} {field.description} [{_shown(field.default)}]"
        for name, field in Settings.model_fields.items()
    ]
    return argparse.ArgumentParser(
        f"atdata-appview {name}",
        description=description,
        epilog="settings, all from the environment:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _workers(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 256:
        raise ValueError
    return count


def read_settings(**defaults: Any) -> Settings | None:
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
    _share_memory()
    try:
        return asyncio.run(program) or 0
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except (IndexerError, OSError, ExceptionGroup) as error:
        for reason in leaves(error):
            structlog.get_logger().error("stopped", error=str(reason), kind=type(reason).__name__)
        return 3


def _share_memory() -> None:
    """Let threads share what glibc has taken from the system: left alone, each keeps its own."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def leaves(error: Exception) -> Iterator[Exception]:
    """The errors in a group of groups; one that is none, itself."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _shown(default: object) -> str:
    return "unset" if default is None else str(default)
