"""An agent of a client: one tool call through the Python SDK (PyPI `mcp`), as a program of theirs would make it.

Reads MCP_URL and MCP_TOKEN; arguments: TOOL JSON. Prints what came back as JSON: {tools, error, content, text}.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

TIMEOUT_S = 30


async def main(tool, arguments):
    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    async with httpx2.AsyncClient(headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:
        async with Client(streamable_http_client(os.environ["MCP_URL"], http_client=http), read_timeout_seconds=TIMEOUT_S) as client:
            listed = await client.list_tools()
            result = await client.call_tool(tool, arguments)
            text = "\n".join(part.text for part in result.content if getattr(part, "text", None))
            print(json.dumps({
                "tools": sorted(one.name for one in listed.tools),
                "error": bool(result.is_error),
                "content": result.structured_content,
                "text": text,
            }))


asyncio.run(asyncio.wait_for(main(sys.argv[1], json.loads(sys.argv[2])), 60))
