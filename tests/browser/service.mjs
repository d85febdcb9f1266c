// The servers of a tour: a Dunet of its own in a folder of its own, and `dunet demo`, whose sandbox Odoo and made-up taxpayers are borrowed.
// Everything that is started is stopped by its own handle.

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import net from "node:net";
import path from "node:path";

const READY_MS = 30_000;
const STOP_MS = 5_000;

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A child process and what it said; one that `asks` reads what is written to its standard input. */
export class Child {
  said = "";

  constructor(command, args, { env = {}, cwd, asks = false } = {}) {
    // Nothing of the caller's settings: only where programs are.
    this.process = spawn(command, args, { cwd, env: { PATH: process.env.PATH, HOME: cwd, LC_ALL: "C.UTF-8", ...env }, stdio: [asks ? "pipe" : "ignore", "pipe", "pipe"] });
    this.ended = once(this.process, "close").then(([code]) => code);
    this.failed = once(this.process, "error").then(([error]) => { throw error; });
    this.failed.catch(() => {}); // told by whoever waits
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => { this.said += text; });
    }
  }

  /** What this pattern finds, as soon as it is said. */
  async says(pattern) {
    let give;
    const found = new Promise((resolve) => { give = resolve; });
    const look = () => { const match = pattern.exec(this.said); if (match) give(match); };
    const timer = setTimeout(() => give(null), READY_MS);
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", look);
    look();
    const match = await Promise.race([found, this.ended.then(() => null), this.failed]);
    clearTimeout(timer);
    if (!match) throw new Error(`never said ${pattern}: ${this.said.slice(-800)}`);
    return match;
  }

  /** Its exit code, 0 or an error. */
  async done() {
    const code = await Promise.race([this.ended, this.failed]);
    if (code !== 0) throw new Error(`exit ${code}: ${this.said.slice(-800)}`);
    return this.said;
  }

  async stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null || !this.process.pid) return;
    this.process.kill("SIGINT");
    const timer = setTimeout(() => this.process.kill("SIGKILL"), STOP_MS);
    await this.ended;
    clearTimeout(timer);
  }
}

/** `dunet demo`: a sandbox Odoo and, in `samples`, the zips of made-up taxpayers. */
export async function startDemo(bin, folder) {
  await fs.mkdir(folder);
  const child = new Child(bin, ["demo", "--json", "--port", String(await freePort())], { cwd: folder, env: { TMPDIR: folder } });
  try {
    const [line] = await child.says(/^\{.*\}$/m);
    const said = JSON.parse(line);
    const samples = path.join(said.data_dir, "sample");
    const zips = (await fs.readdir(samples)).filter((name) => name.endsWith(".zip")).map((name) => path.join(samples, name));
    return { child, odoo: said.odoo, zips };
  } catch (error) {
    await child.stop();
    throw error;
  }
}

/** A Dunet as `serve` runs it: a new folder, an own key, these taxpayers; nobody may sign in yet. `firstLink` makes the first operator.
 * `before(run, data)` may fill it with commands first. */
export async function startService(bin, folder, zips, before) {
  await fs.mkdir(folder);
  const port = await freePort();
  const env = {
    DUNET_DATA_DIR: path.join(folder, "data"),
    DUNET_VAULT_KEY_FILE: path.join(folder, "vault.key"),
    DUNET_PORT: String(port),
    DUNET_PUBLIC_URL: `http://127.0.0.1:${port}`,
    DUNET_ALLOW_PRIVATE_ODOO: "1", // the Odoo of a test is on this machine
    DUNET_PADRON_ROWS_MIN: "1000",
    // Many people sign in from one address here, and no password of theirs is worth much work.
    DUNET_SIGN_INS_PER_MINUTE: "1000",
    DUNET_PASSWORD_MEMORY_KIB: "64",
    DUNET_PASSWORD_PASSES: "1",
  };
  const run = (...args) => new Child(bin, args, { cwd: folder, env });
  await run("keygen", env.DUNET_VAULT_KEY_FILE).done();
  await run("padron", "import", ...zips).done();
  await before?.(run, env.DUNET_DATA_DIR);
  const child = run("serve");
  try {
    const [firstLink] = await child.says(/http:\/\/127\.0\.0\.1:\d+\/admin\/enlace\/[^\s"]+/);
    return { child, run, base: env.DUNET_PUBLIC_URL, firstLink, folder };
  } catch (error) {
    await child.stop();
    throw error;
  }
}
