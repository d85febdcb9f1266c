"""The story through the Python SDK (PyPI `mcp`, the era of 2026-07-28): what a Python agent would do.

Reads MCP_URL, MCP_TOKEN and the expectations in story.json; prints one `ok` or `FAIL` line per check.
"""

import asyncio
import json
import os
import pathlib
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

STORY = json.loads(pathlib.Path(__file__).with_name("story.json").read_text())
failed = 0


def check(name, good, seen=""):
    global failed
    if good:
        print(f"ok    Python SDK: {name}")
    else:
        failed += 1
        print(f"FAIL  Python SDK: {name}: {str(seen)[:600]}")
    return good


def error_of(result):
    """The {codigo, mensaje, que_hacer} of a failed call, wherever a client finds it first."""
    if result.structured_content and "codigo" in result.structured_content:
        return result.structured_content
    try:
        return json.loads(result.content[0].text)
    except (IndexError, ValueError):
        return {}


async def story(client):
    version = client.protocol_version
    check("negotiates 2026-07-28", version == "2026-07-28", version)

    listed = await client.list_tools()
    names = sorted(tool.name for tool in listed.tools)
    check("lists every tool of the demo's plan", names == sorted(STORY["tools"]), names)
    check("every tool declares its output", all(tool.output_schema for tool in listed.tools))

    taxpayer = await client.call_tool("consultar_rnc_dgii", {"rnc": STORY["taxpayer"]["rnc"]})
    found = taxpayer.structured_content or {}
    check("finds the taxpayer", not taxpayer.is_error and STORY["taxpayer"]["name"] in found.get("nombre", ""), taxpayer)

    customers = await client.call_tool("buscar_cliente", {"consulta": STORY["customer"]["words"]})
    check("finds the customer", not customers.is_error and STORY["customer"]["name"] in customers.content[0].text, customers)

    order = {"cliente": STORY["customer"]["name"], "lineas": STORY["lines"]}
    preview = await client.call_tool("crear_cotizacion", order)
    seen = preview.structured_content or {}
    code = seen.get("codigo_confirmacion")
    if check("previews a quotation", not preview.is_error and seen.get("vista_previa") and code and not seen.get("numero"), preview):
        made = await client.call_tool("crear_cotizacion", {**order, "codigo_confirmacion": code})
        seen = made.structured_content or {}
        good = seen.get("numero") and seen.get("moneda") and 0 < float(seen.get("impuestos", 0)) < float(seen.get("total", 0))
        check("creates it with the code", not made.is_error and good, made)
        again = await client.call_tool("ver_cotizacion", {"numero": seen.get("numero", "")})
        read = again.structured_content or {}
        check("reads it back with the same total", read.get("total") == seen.get("total"), again)
        twice = await client.call_tool("crear_cotizacion", {**order, "codigo_confirmacion": code})
        check("a code works once", twice.is_error and error_of(twice).get("codigo") == "codigo_usado", twice)

    bad = await client.call_tool("consultar_rnc_dgii", {"rnc": STORY["bad_rnc"]})
    error = error_of(bad)
    check("a bad number is an error that says what to do", bad.is_error and error.get("codigo") and error.get("que_hacer"), bad)


async def main():
    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        async with Client(streamable_http_client(os.environ["MCP_URL"], http_client=http), read_timeout_seconds=30) as client:
            await story(client)


try:
    asyncio.run(asyncio.wait_for(main(), 120))
except BaseException as error:  # an exception group, too: one line is enough
    check("runs to the end", False, repr(error))
sys.exit(1 if failed else 0)
