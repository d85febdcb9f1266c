// A program that is given the bare address: it finds out by itself where to sign in, Chromium signs the member in and says yes, the program asks the
// company's Odoo; it stands on the pages of agents, is shut out there, and its next call is refused.

import assert from "node:assert/strict";

import { DESK, PHONE, Person, look } from "../portal.mjs";
import { check, eventually, step } from "../report.mjs";
import { Child } from "../service.mjs";

const AGENT = new URL("../agent_oauth.py", import.meta.url).pathname;
const NAME = "Asistente de la gira";
const OFF = "consultar_rnc_dgii";
const DAYS = 30;
const DAY_MS = 86_400_000;

/** `owner`: who says yes; `customer`: one that only the Odoo of `at` knows. */
export async function signIn(browser, service, { at, owner, customer, python, screens }) {
  const agent = new Child(python, [AGENT, "buscar_cliente", JSON.stringify({ consulta: customer })], { env: { MCP_URL: `${service.base}/mcp`, CLIENT_NAME: NAME }, asks: true });
  const person = await Person.make(browser, service.base, { width: DESK });
  try {
    await walk(browser, service, { agent, person, at, owner, customer, screens });
  } finally {
    await person.close();
    await agent.stop();
  }
}

async function walk(browser, service, { agent, person, at, owner, customer, screens }) {
  const page = await person.page();
  const back = await step("agent: from the bare address it finds where to sign in", async () => {
    const { open } = JSON.parse((await agent.says(/^\{"open": .*\}$/m))[0]);
    const asked = new URL(open);
    assert.equal(asked.origin, service.base);
    assert.equal(asked.searchParams.get("code_challenge_method"), "S256");
    assert.equal(asked.searchParams.get("resource"), `${service.base}/mcp`);
    await person.open(open);
    assert.equal(new URL(page.url()).pathname, "/admin/entrar", "nobody is signed in yet");
    return new URL(asked.searchParams.get("redirect_uri"));
  });
  await step("agent: the member signs in, and is asked", async () => {
    await page.getByLabel(/correo/i).fill(owner.email);
    await page.locator("#password").fill(owner.password);
    await page.locator("form button[type=submit]").click();
    await page.waitForURL("**/admin/autorizar/*");
    const text = await page.locator("main").innerText();
    for (const part of [NAME, back.hostname, owner.email]) assert.ok(text.includes(part), `${part}: ${text}`);
  });
  await look(person, "autorizar", { screens });
  const phone = await Person.make(browser, service.base, { width: PHONE, state: await person.context.storageState() });
  await phone.open(page.url());
  await look(phone, "autorizar", { screens });
  await phone.close();

  await step("agent: nothing is given without a tool, and the page says so", async () => {
    const ticks = page.locator("input[name=tools]");
    for (const tick of await ticks.all()) await tick.uncheck();
    await person.expecting(422, async () => {
      await page.locator("button[name=decision][value=allow]").click();
      await page.locator(".flash-bad").waitFor();
    });
    await look(person, "autorizar-error", { screens, themes: ["light"], quiet: true });
    for (const tick of await ticks.all()) await tick.check();
  });
  const first = await step("agent: less one tool and for thirty days it is let in, and goes back to its own address", async () => {
    await page.locator(`input[name=tools][value=${OFF}]`).uncheck();
    await page.locator("#days").selectOption(String(DAYS));
    person.guests.add(back.origin);
    await page.locator("button[name=decision][value=allow]").click();
    await page.waitForURL((url) => url.origin === back.origin);
    assert.equal(new URL(page.url()).searchParams.get("iss"), service.base);
    return JSON.parse((await agent.says(/^\{"result": .*\}$/m))[0]);
  });
  await step("agent: the company's Odoo answers it", async () => {
    assert.ok(!first.result.error && first.result.text.includes(customer), JSON.stringify(first));
    assert.ok(first.result.tools.includes("buscar_cliente") && !first.result.tools.includes(OFF), first.result.tools.join(", "));
  });

  await step("agent: it stands on the page of agents, with what it was not given and when it ends", async () => {
    await eventually(async () => {
      await person.open(`${at}/agents`);
      const row = page.locator("table tr", { has: page.locator("th", { hasText: NAME }) }).first();
      const text = await row.innerText();
      assert.ok(text.includes(owner.name) && text.includes(OFF), text);
      const ends = Date.parse(await row.locator("td[data-label=Vence] time, td time").last().getAttribute("datetime"));
      assert.ok(Math.abs(ends - Date.now() - DAYS * DAY_MS) < DAY_MS, new Date(ends).toISOString());
    });
    await look(person, "clients-id-agents-conectado", { screens, quiet: true });
  });
  await step("agent: the member shuts it out on their own page", async () => {
    await person.open("/admin/profile");
    const row = page.locator("table tr", { has: page.locator("th", { hasText: NAME }) });
    assert.equal(await row.count(), 1);
    await look(person, "profile-con-agente", { screens, quiet: true });
    await row.locator('form[action="/admin/profile/agents"] button[type=submit]').click();
    await page.locator(".flash-ok").waitFor();
    assert.equal(await row.count(), 0, "it is still there");
  });
  await step("agent: its next call is refused, its refresh token too: it would have to ask again", async () => {
    await eventually(async () => {
      // Other processes hear of it within seconds; this one at once.
      agent.process.stdin.write("\n");
      await agent.says(/^\{"refused": .*\}$/m);
    });
    assert.equal(agent.said.match(/^\{"result": /gm).length, 1, agent.said);
  });
  check("agent: nothing else was said on the way", person.drain());
}
