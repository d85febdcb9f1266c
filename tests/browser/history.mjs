// A past for the portal: companies with six weeks of calls, so that lists have pages and charts have curves. The companies are made by the
// command, the calls are written as a killed process would have left them: a journal, which the service delivers when it starts.

import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { crc32 } from "node:zlib";

const DAYS = 42;
const DAY_MS = 86_400_000;
const SANTO_DOMINGO_MS = -4 * 3_600_000; // all year round

const COMPANIES = [
  { name: "Farmacia San Rafael", plan: "pro", odoo: true, calls_a_day: 46, agent: "claude-ai/1.0" },
  { name: "Distribuidora La Altagracia", plan: "pro", odoo: true, calls_a_day: 34, agent: "n8n/1.72" },
  { name: "Colmado Doña Mercedes", plan: "gratis", odoo: true, calls_a_day: 5, agent: "ElevenLabs/2" },
  { name: "Constructora Caribe & Asociados", plan: "basic", odoo: true, calls_a_day: 21, agent: "openai-mcp/1.0.0" },
  { name: "Clínica Dental Bávaro", plan: "basic", odoo: true, calls_a_day: 12, agent: "vapi/3.1" },
  { name: "Taller Hermanos Peña", plan: "gratis", odoo: false, calls_a_day: 0, agent: "" },
];

// weight, milliseconds of Dunet's and of Odoo's, requests
const TOOLS = [
  ["buscar_cliente", 30, 4, 120, 1], ["consultar_rnc_dgii", 26, 1, 0, 0], ["buscar_productos", 22, 6, 240, 2],
  ["crear_cotizacion", 9, 9, 620, 4], ["ver_cotizacion", 7, 4, 150, 1], ["buscar_contribuyente", 4, 9, 0, 0], ["crear_cliente", 2, 7, 480, 3],
];
const FAULTS = ["no_encontrado", "no_encontrado", "varios_posibles", "argumento_invalido", "odoo_lento"];

/** The same numbers each time. */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** An id that sorts by that time. */
function uuidAt(at_ms) {
  const hex = at_ms.toString(16).padStart(12, "0") + randomBytes(10).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-9${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Makes the companies and writes their calls up to `now`; `run` is the command, `data` the service's folder, which is not in use yet. */
export async function writePast(run, data, { odoo, secretFile, now = Date.now() }) {
  const roll = dice(20_261_125);
  const weights = TOOLS.reduce((sum, tool) => sum + tool[1], 0);
  const lines = [];
  for (const { name, plan, odoo: connected, calls_a_day, agent } of COMPANIES) {
    const with_odoo = connected ? ["--odoo-url", odoo.url, "--odoo-db", odoo.database, "--odoo-user", odoo.login, "--odoo-secret-file", secretFile] : [];
    const client_id = JSON.parse(await run("tenant", "add", "--json", "--name", name, "--plan", plan, ...with_odoo).done()).id;
    for (let back = DAYS; back >= 0; back -= 1) {
      const midnight = Math.floor((now + SANTO_DOMINGO_MS) / DAY_MS - back) * DAY_MS - SANTO_DOMINGO_MS;
      const weekday = new Date(midnight).getUTCDay(); // it is 04:00 in UTC
      const share = weekday === 0 ? 0.15 : weekday === 6 ? 0.55 : 1;
      const count = Math.round(calls_a_day * share * (0.75 + 0.5 * roll()) * (1 - back / DAYS / 2.5));
      for (let call = 0; call < count; call += 1) {
        // Two humps: the morning and the afternoon.
        const hour = (roll() < 0.55 ? 9.8 : 15.2) + (roll() + roll() + roll() - 1.5) * 3;
        const at = Math.floor(midnight + hour * 3_600_000);
        if (at > now - 60_000) continue;
        let pick = roll() * weights;
        const [tool, , own_ms, odoo_ms, odoo_requests] = TOOLS.find((one) => (pick -= one[1]) < 0) ?? TOOLS[0];
        const luck = roll();
        const outcome = luck < 0.955 ? "ok" : luck < 0.988 ? "error" : luck < 0.996 ? "refused" : "cancelled";
        const slow = 0.6 + roll() * 0.9 + (roll() < 0.04 ? 4 * roll() : 0);
        const odoo_us = Math.round(odoo_ms * 1000 * slow);
        const row = {
          id: uuidAt(at), client_id, token_id: null, tool, agent, outcome,
          error_code: outcome === "error" ? FAULTS[Math.floor(roll() * FAULTS.length)] : outcome === "refused" ? "limite_herramienta" : null,
          counted: outcome !== "refused",
          billing_month: Number(new Date(at + SANTO_DOMINGO_MS).toISOString().slice(0, 7).replace("-", "")),
          total_us: odoo_us + Math.round(own_ms * 1000 * (0.7 + roll())), odoo_us, odoo_requests,
          request_id: uuidAt(at), started_at: new Date(at).toISOString(),
        };
        const json = JSON.stringify(row);
        lines.push([at, `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`]);
      }
    }
  }
  lines.sort((a, b) => a[0] - b[0]);
  const folder = path.join(data, "journal");
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  await fs.writeFile(path.join(folder, `${"0".repeat(31)}1.jsonl`), lines.map((line) => line[1]).join(""), { mode: 0o600 });
  return { calls: lines.length, companies: COMPANIES.length };
}
