"""The index as tools for language models: an MCP server, over stdio or streamable HTTP.

It asks the index, and nothing else; nothing is written. What it answers is bounded, says what it
left out, and is data of other people, which the server's instructions tell the model.
"""

from atdata_client.mcp.server import (
    INSTRUCTIONS,
    MAX_REQUEST_BYTES,
    build,
    serve_http,
    serve_stdio,
    serving,
)

__all__ = [
    "INSTRUCTIONS",
    "MAX_REQUEST_BYTES",
    "build",
    "serve_http",
    "serve_stdio",
    "serving",
]
