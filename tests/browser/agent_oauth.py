"""An agent that is given nothing but an address: the Python SDK's own OAuth client (PyPI `mcp`), and a browser that somebody else drives.

Reads MCP_URL; arguments: TOOL JSON. Says one line of JSON for each thing that happens: {"open": …} the address to open in a browser, {"result": …}
what the tool answered, then, for each line on standard input, the same call again: {"result": …}, or {"refused": …} when it is asked to sign in anew.
The browser comes back to a port of this machine that is free, as RFC 8252 §7.3 has it.
"""

import asyncio
import json
import os
import sys
import urllib.parse

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

URL = os.environ["MCP_URL"]
NAME = os.environ["CLIENT_NAME"]
TOOL, ARGUMENTS = sys.argv[1], json.loads(sys.argv[2])
WITHIN_S = 90


def say(**what):
    print(json.dumps(what, ensure_ascii=False), flush=True)


class SignInAgain(Exception):
    pass


class Memory:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Loopback:
    """The page that the browser is sent back to."""

    def __init__(self):
        self.came = asyncio.get_running_loop().create_future()

    async def listen(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/callback"

    async def answer(self, reader, writer):
        target = (await reader.readline()).decode().split(" ")[1]
        while (await reader.readline()).strip():
            pass
        if target.startswith("/callback?") and not self.came.done():
            self.came.set_result(urllib.parse.parse_qs(urllib.parse.urlsplit(target).query))
        page = b"<!doctype html><html lang=es><title>Listo</title><link rel=icon href='data:,'><main><h1>Listo</h1>"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
        await writer.drain()
        writer.close()

    async def callback(self):
        query = await asyncio.wait_for(self.came, WITHIN_S)
        if "code" not in query:
            raise RuntimeError(f"no code: {query}")
        return AuthorizationCodeResult(code=query["code"][0], state=query["state"][0], iss=query["iss"][0])


async def call(provider):
    statuses = []

    async def heard(response):
        statuses.append(response.status_code)

    async with httpx2.AsyncClient(auth=provider, timeout=30, trust_env=False, event_hooks={"response": [heard]}) as http:
        async with Client(streamable_http_client(URL, http_client=http), read_timeout_seconds=30) as client:
            listed = await client.list_tools()
            result = await client.call_tool(TOOL, ARGUMENTS)
            text = "\n".join(getattr(part, "text", "") for part in result.content)
            say(result={"tools": sorted(tool.name for tool in listed.tools), "error": bool(result.is_error), "text": text}, statuses=statuses)


def sign_in_again(error):
    """Whether that is what stands behind the failure, however deep in groups of exceptions."""
    inner = [*getattr(error, "exceptions", []), error.__cause__, error.__context__]
    return isinstance(error, SignInAgain) or any(sign_in_again(one) for one in inner if one is not None)


async def main():
    loopback, memory, opened = Loopback(), Memory(), []

    async def redirect(url):
        if opened:
            raise SignInAgain
        opened.append(url)
        say(open=url)

    metadata = OAuthClientMetadata(client_name=NAME, redirect_uris=[await loopback.listen()], token_endpoint_auth_method="none")
    provider = OAuthClientProvider(URL, metadata, memory, redirect, loopback.callback)
    await call(provider)
    while await asyncio.to_thread(sys.stdin.readline):
        try:
            await asyncio.wait_for(call(provider), WITHIN_S)
        except BaseException as error:
            if not sign_in_again(error):
                raise
            say(refused="sign in again")


asyncio.run(main())
