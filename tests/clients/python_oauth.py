"""Signing in with the Python SDK's own OAuth client (PyPI `mcp`): from the bare address to a tool's answer, and a renewed token.

The browser is a few lines of HTTP that press the portal's buttons: the operator invites somebody, who takes the invitation and allows what is asked.
Reads MCP_URL, ADMIN_EMAIL, ADMIN_PASSWORD, TENANT_ID and story.json; prints one `ok` or `FAIL` line per check.
"""

import asyncio
import html
import json
import os
import pathlib
import re
import sys
import urllib.parse

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

STORY = json.loads(pathlib.Path(__file__).with_name("story.json").read_text())
URL = os.environ["MCP_URL"]
ORIGIN = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(URL))
REDIRECT = "http://127.0.0.1:43111/callback"
failed = 0


def check(name, good, seen=""):
    global failed
    if good:
        print(f"ok    Python SDK, signing in: {name}")
    else:
        failed += 1
        print(f"FAIL  Python SDK, signing in: {name}: {str(seen)[:600]}")
    return good


class Browser:
    """Keeps cookies, sends the forms of the pages it sees, follows redirects within the portal."""

    def __init__(self):
        self.http = httpx2.AsyncClient(base_url=ORIGIN, trust_env=False, timeout=30)

    async def get(self, path):
        answer = await self.http.get(path)
        while answer.is_redirect and answer.headers["location"].startswith("/"):
            answer = await self.http.get(answer.headers["location"])
        self.page = answer
        return answer

    def fields(self, action):
        """The hidden fields of the form that goes there."""
        form = next(form for form in re.findall(r"<form\b.*?</form>", self.page.text, re.S) if f'action="{action}"' in form.replace("&#x2f;", "/"))
        return {name: html.unescape(value) for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)}, form

    async def send(self, action, **typed):
        hidden, _ = self.fields(action)
        return await self.http.post(action, data={**hidden, **typed})


async def member():
    """Somebody of the demo's company, signed in."""
    operator, password = Browser(), "caballo batería grapa 7"
    await operator.get("/admin/entrar")
    await operator.send("/admin/entrar", email=os.environ["ADMIN_EMAIL"], password=os.environ["ADMIN_PASSWORD"])
    members = f"/admin/clients/{os.environ['TENANT_ID']}/members"
    await operator.get(members)
    invited = await operator.send(members, email="marta@nova.example", level="owner")
    await operator.get(invited.headers["location"])
    link = html.unescape(re.search(r'id="link" readonly value="([^"]*)"', operator.page.text)[1])
    path = urllib.parse.urlsplit(link).path
    browser = Browser()
    await browser.get(path)
    await browser.send(path, name="Marta", password=password)
    return browser


class Memory:
    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def main():
    browser, memory, came = await member(), Memory(), {}

    async def redirect(url):
        check("the address it sends people to has S256 and the resource", "code_challenge_method=S256" in url and urllib.parse.quote(URL, safe="") in url, url)
        await browser.get(url)
        path = browser.page.url.path
        hidden, form = browser.fields(path)
        tools = re.findall(r'name="tools" value="(\w+)"', form)
        check("the page names program and company", "Prueba SDK" in browser.page.text and hidden.get("tenant") == os.environ["TENANT_ID"], browser.page.text[-2000:])
        sent = await browser.send(path, tools=tools, days="90", decision="allow")
        came["to"] = sent.headers.get("location", "")

    async def callback():
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(came["to"]).query)
        check("the browser comes back with code, state and issuer", came["to"].startswith(REDIRECT) and {"code", "state", "iss"} <= query.keys(), came)
        return AuthorizationCodeResult(code=query["code"][0], state=query["state"][0], iss=query["iss"][0])

    metadata = OAuthClientMetadata(client_name="Prueba SDK", redirect_uris=[REDIRECT], token_endpoint_auth_method="none")
    provider = OAuthClientProvider(URL, metadata, memory, redirect, callback)
    async with httpx2.AsyncClient(auth=provider, timeout=30, trust_env=False) as http:
        async with Client(streamable_http_client(URL, http_client=http), read_timeout_seconds=30) as client:
            listed = await client.list_tools()
            check("lists the tools it was allowed", sorted(tool.name for tool in listed.tools) == sorted(STORY["tools"]), listed)
            taxpayer = await client.call_tool("consultar_rnc_dgii", {"rnc": STORY["taxpayer"]["rnc"]})
            check("a tool answers", STORY["taxpayer"]["name"] in str(taxpayer.structured_content), taxpayer)
            customers = await client.call_tool("buscar_cliente", {"consulta": STORY["customer"]["words"]})
            check("and so does the company's Odoo", STORY["customer"]["name"] in customers.content[0].text, customers)
    check("it was given a refresh token", memory.tokens and memory.tokens.refresh_token, memory.tokens)

    # An hour later: its access token is no longer good, and nobody is asked again.
    first = memory.tokens.access_token
    provider.context.token_expiry_time = 1
    came.clear()
    async with httpx2.AsyncClient(auth=provider, timeout=30, trust_env=False) as http:
        async with Client(streamable_http_client(URL, http_client=http), read_timeout_seconds=30) as client:
            listed = await client.list_tools()
            check("renews its token without asking anybody", listed.tools and not came and memory.tokens.access_token != first, (came, memory.tokens))


try:
    asyncio.run(asyncio.wait_for(main(), 120))
except BaseException as error:  # an exception group, too: one line is enough
    check("runs to the end", False, repr(error))
sys.exit(1 if failed else 0)
