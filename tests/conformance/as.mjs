// Stands before a service and adds a token to every request: the conformance suite cannot send one.
//
//   node as.mjs PORT TARGET    listens on 127.0.0.1:PORT; the token is in MCP_TOKEN
//
// Nothing else is changed: the suite's own Host and Origin go through as they are, streams are not held up, and who hangs up here hangs up there.
import http from "node:http";

const [port, target] = process.argv.slice(2);
const to = new URL(target);
const agent = new http.Agent({ keepAlive: true });

const server = http.createServer((request, response) => {
  const headers = { ...request.headers, authorization: `Bearer ${process.env.MCP_TOKEN}` };
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
  response.on("close", () => onward.destroy());
  request.pipe(onward);
});
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
