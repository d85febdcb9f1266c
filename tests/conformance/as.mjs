// Stands before a service and adds a token to every request: the conformance suite cannot send one.
//
//   node as.mjs PORT TARGET    listens on 127.0.0.1:PORT; the token is in MCP_TOKEN
//
// Its own name in Host and Origin becomes the service's; every other goes through as it is. Streams are not held up, and who hangs up here hangs up
// there.
import http from "node:http";

const [port, target] = process.argv.slice(2);
const to = new URL(target);
const named = (value) => value?.replace(`127.0.0.1:${port}`, to.host);
const agent = new http.Agent({ keepAlive: true });

const server = http.createServer((request, response) => {
  const headers = { ...request.headers, host: named(request.headers.host), authorization: `Bearer ${process.env.MCP_TOKEN}` };
  if (headers.origin) headers.origin = named(headers.origin);
  const onward = http.request({ host: to.hostname, port: to.port, method: request.method, path: request.url, headers, agent });
  onward.on("response", (answer) => {
    response.writeHead(answer.statusCode, answer.rawHeaders);
    response.flushHeaders();
    answer.pipe(response);
  });
  onward.on("error", (error) => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end(String(error));
  });
  response.on("close", () => response.writableFinished || onward.destroy());
  request.pipe(onward);
});
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
