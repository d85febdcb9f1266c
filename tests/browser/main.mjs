// The tours of the portal, in the order in which the service fills: nobody, the first operator, a client at work, everybody's pages.
// Run by tests/browser/run, which says where the program, the Odoo are. Ends with `browser: N passed, N failed, N ignored`.

import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { writePast } from "./history.mjs";
import { PHONE, launch } from "./portal.mjs";
import { check, counts, skip, tour } from "./report.mjs";
import { startDemo, startService } from "./service.mjs";
import { connector } from "./tours/connector.mjs";
import { begin, first } from "./tours/first.mjs";
import { great } from "./tours/great.mjs";
import { everyPage, inEnglish } from "./tours/pages.mjs";
import { signIn } from "./tours/sign_in.mjs";

const { values: options } = parseArgs({ options: { bin: { type: "string" }, python: { type: "string" }, screens: { type: "string" } } });
const bin = path.resolve(options.bin);
const screens = options.screens && path.resolve(options.screens);
if (screens) await fs.mkdir(screens, { recursive: true });

const folder = await fs.mkdtemp(path.join(os.tmpdir(), "dunet-browser-"));
const open = []; // what must be closed, newest last
let ending;
async function end() {
  ending ??= (async () => {
    for (const close of open.reverse()) await close().catch((error) => console.error(`closing: ${error.message}`));
    await fs.rm(folder, { recursive: true, force: true });
  })();
  await ending;
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => end().finally(() => process.exit(130)));

/** The real Odoo when the caller has started one, else the sandbox. */
function odooOf(demo) {
  const env = process.env;
  if (!env.ODOO_TEST_URL) return { kind: "sandbox", url: demo.odoo.url, database: demo.odoo.database, login: demo.odoo.user, secret: demo.odoo.api_key };
  return { kind: "Odoo 19", url: env.ODOO_TEST_URL, database: env.ODOO_TEST_DB, login: env.ODOO_TEST_API_LOGIN, secret: env.ODOO_TEST_API_API_KEY };
}

try {
  if (!process.env.ODOO_TEST_URL) skip("client: connected to Odoo 19", "no ODOO_TEST_URL, so the sandbox stands in; `scripts/odoo start` prints the settings");
  const demo = await startDemo(bin, path.join(folder, "demo"));
  open.push(() => demo.child.stop());
  const browser = await launch();
  open.push(() => browser.close());

  // Nobody and nothing there yet: what the pages say then.
  const empty = await startService(bin, path.join(folder, "empty"), demo.zips);
  open.push(() => empty.child.stop());
  const alone = await tour(() => first(browser, empty, { screens }));
  if (alone.done) {
    const matrix = { widths: [PHONE], themes: ["light"], plain: false };
    await tour(() => everyPage(browser, empty, { who: "operator, nothing there yet", state: alone.value, starts: ["/admin"], screens, prefix: "vacio", matrix }));
  }
  await empty.child.stop();

  // A service at work.
  const secretFile = path.join(folder, "odoo.secret");
  await fs.writeFile(secretFile, demo.odoo.api_key, { mode: 0o600 });
  const sandbox = { url: demo.odoo.url, database: demo.odoo.database, login: demo.odoo.user };
  const service = await startService(bin, path.join(folder, "service"), demo.zips, (run, data) => writePast(run, data, { odoo: sandbox, secretFile }));
  open.push(() => service.child.stop());
  const operator = await tour(() => begin(browser, service));
  if (operator.done) {
    const starts = ["/admin"];
    const client = await tour(() => great(browser, service, { operator: operator.value, odoo: odooOf(demo), screens }));
    if (client.value) {
      const { path: at, owner, customer } = client.value;
      starts.unshift(at);
      await tour(() => signIn(browser, service, { at, owner, customer, python: options.python, screens }));
    }
    await tour(() => connector(browser, service, { operator: operator.value, screens }));
    await tour(() => everyPage(browser, service, { who: "operator", state: operator.value, starts, screens }));
    for (const member of client.value?.members ?? []) {
      await tour(() => everyPage(browser, service, { ...member, starts: ["/admin"], screens, prefix: member.who, matrix: { themes: ["light"], plain: false } }));
    }
    await tour(() => inEnglish(browser, service, { state: operator.value, starts }));
    await tour(() => everyPage(browser, service, { who: "stranger", starts: ["/admin/entrar"], screens, prefix: "fuera" }));
  }
} catch (error) {
  check("the tours", [error.stack]);
} finally {
  await end();
}
console.log(`browser: ${counts.passed} passed, ${counts.failed} failed, ${counts.ignored} ignored`);
process.exitCode = counts.failed || !counts.passed ? 1 : 0;
