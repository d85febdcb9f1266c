// An agent of a client: one tool call through the official TypeScript SDK (npm `@modelcontextprotocol/sdk`), as a program of theirs would make it.
//
// Reads MCP_URL and MCP_TOKEN; arguments: TOOL JSON. Prints what came back as JSON: {tools, error, content, text}.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const timeout = 30_000;
const [tool, args] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.MCP_TOKEN}`, "User-Agent": "agente-de-prueba/1" };
const transport = new StreamableHTTPClientTransport(new URL(process.env.MCP_URL), { requestInit: { headers } });
const client = new Client({ name: "dunet-tour", version: "1" });
await client.connect(transport, { timeout });
const listed = await client.listTools(undefined, { timeout });
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) }, undefined, { timeout });
const said = {
  tools: listed.tools.map(({ name }) => name).sort(),
  error: Boolean(result.isError),
  content: result.structuredContent ?? null,
  text: result.content.map(({ text }) => text ?? "").join("\n"),
};
console.log(JSON.stringify(said));
await client.close();
