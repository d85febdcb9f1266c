// The story through the TypeScript SDK v1 (npm `@modelcontextprotocol/sdk`, the era of `initialize`):
// what n8n, Gemini CLI and mcp-remote are built on.
//
// Reads MCP_URL, MCP_TOKEN and the expectations in story.json; prints one `ok` or `FAIL` line per check.
// CLIENTS_MODULES is the folder that holds node_modules.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const story = JSON.parse(readFileSync(new URL("story.json", import.meta.url), "utf8"));
const resolve = createRequire(`${process.env.CLIENTS_MODULES}/`).resolve;
const load = (path) => import(pathToFileURL(resolve(`@modelcontextprotocol/sdk/${path}`)));
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");

let failed = 0;
function check(name, good, seen = "") {
  if (good) console.log(`ok    TypeScript SDK v1: ${name}`);
  else {
    failed += 1;
    console.log(`FAIL  TypeScript SDK v1: ${name}: ${(typeof seen === "string" ? seen : JSON.stringify(seen)).slice(0, 600)}`);
  }
  return good;
}

// The {codigo, mensaje, que_hacer} of a failed call, wherever a client finds it first.
function errorOf(result) {
  if (result.structuredContent?.codigo) return result.structuredContent;
  try {
    return JSON.parse(result.content[0].text);
  } catch {
    return {};
  }
}

async function tell(client) {
  const { tools } = await client.listTools();
  const names = tools.map((tool) => tool.name).sort();
  check("lists every tool of the demo's plan", String(names) === String([...story.tools].sort()), names);

  const call = (name, args) => client.callTool({ name, arguments: args });
  const taxpayer = await call("consultar_rnc_dgii", { rnc: story.taxpayer.rnc });
  check("finds the taxpayer", !taxpayer.isError && taxpayer.structuredContent?.nombre?.includes(story.taxpayer.name), taxpayer);

  const customers = await call("buscar_cliente", { consulta: story.customer.words });
  check("finds the customer", !customers.isError && customers.content[0].text.includes(story.customer.name), customers);

  const order = { cliente: story.customer.name, lineas: story.lines };
  const preview = await call("crear_cotizacion", order);
  const { vista_previa, codigo_confirmacion, numero } = preview.structuredContent ?? {};
  if (check("previews a quotation", !preview.isError && vista_previa && codigo_confirmacion && !numero, preview)) {
    const made = await call("crear_cotizacion", { ...order, codigo_confirmacion });
    const seen = made.structuredContent ?? {};
    const good = seen.numero && seen.moneda && 0 < seen.impuestos && seen.impuestos < seen.total;
    check("creates it with the code", !made.isError && good, made);
    const again = await call("ver_cotizacion", { numero: seen.numero ?? "" });
    check("reads it back with the same total", again.structuredContent?.total === seen.total, again);
    const twice = await call("crear_cotizacion", { ...order, codigo_confirmacion });
    check("a code works once", twice.isError && errorOf(twice).codigo === "codigo_usado", twice);
  }

  const bad = await call("consultar_rnc_dgii", { rnc: story.bad_rnc });
  check("a bad number is an error that says what to do", bad.isError && errorOf(bad).codigo && errorOf(bad).que_hacer, bad);
}

const giveUp = setTimeout(() => {
  check("runs to the end", false, "no answer in 120 s");
  process.exit(1);
}, 120_000);
const client = new Client({ name: "dunet-test", version: "1" });
try {
  const headers = { Authorization: `Bearer ${process.env.MCP_TOKEN}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(process.env.MCP_URL), { requestInit: { headers } }));
  await tell(client);
  await client.close();
} catch (error) {
  check("runs to the end", false, String(error));
}
clearTimeout(giveUp);
process.exitCode = failed ? 1 : 0;
