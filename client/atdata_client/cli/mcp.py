"""The command that lets language models ask the index."""

import socket
from typing import Annotated

import typer

from atdata_client.cli.shared import Index


def mcp(
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve streamable HTTP there, as /mcp.  [default: stdin and stdout]",
        ),
    ] = None,
    index: Index = None,
) -> None:
    """Serve the index to language models, as tools by MCP (Model Context Protocol).

    They search, show, and write source; nothing is changed. Ends with stdin, or when stopped.
    """
    import anyio

    from atdata_client import mcp as serving

    if http is None:
        anyio.run(serving.serve_stdio, index)
        return
    host, port = _address(http)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        name = f"[{host}]" if ":" in host else host
        typer.echo(f"MCP at http://{name}:{listener.getsockname()[1]}/mcp", err=True)
        anyio.run(serving.serve_http, index, listener, host)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{text} is not HOST:PORT, as in 127.0.0.1:8901")
    return host.strip("[]"), int(port)
