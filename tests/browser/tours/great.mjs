// The way of a client: it registers itself, connects its Odoo, makes a token; a real MCP client calls, and the calls appear on the pages that were
// open meanwhile. Everything by the pages' own buttons.

import assert from "node:assert/strict";

import { PHONE, Person, look } from "../portal.mjs";
import { check, eventually, step } from "../report.mjs";
import { Child } from "../service.mjs";
import { signUp } from "./sign_up.mjs";

const RNC = { number: "131793916", name: /INDEXA/ }; // in every made-up listing
const NO_RNC = "ZX12345"; // no hexadecimal id has it by chance
const OWNER = { email: "duena@elprogreso.do", name: "Dulce Dueña", password: "tornillo clavo martillo 5" };
const VIEWER = { email: "contable@elprogreso.do", name: "Carla Contable", password: "factura recibo balance 4" };
const AGENT = new URL("../agent.mjs", import.meta.url).pathname;

export async function great(browser, service, { operator, odoo, screens }) {
  const boss = await Person.make(browser, service.base, { state: operator });
  const desk = await boss.page();

  await step("operator: states the rate of the dollar", async () => {
    await boss.open("/admin/configs");
    const form = desk.locator("form", { has: desk.locator("#usd_rate") });
    await form.locator("#usd_rate").fill("62.50");
    await form.locator("button[type=submit]").click();
    await desk.locator(".flash-ok").waitFor();
  });
  await step("operator: makes a client; the padrón knows a name", async () => {
    await boss.open("/admin/clients");
    await desk.locator('a[href="/admin/clients/new"]').first().click();
    await desk.locator("#rnc").fill(RNC.number);
    await desk.locator('button[value="look_up"]').click();
    await eventually(async () => assert.match(await desk.locator("#name").inputValue(), RNC.name));
    await look(boss, "clients-new-encontrado", { screens, quiet: true });
    await desk.locator("#rnc").fill(""); // that one will come by itself
    await desk.locator("#name").fill("Ferretería El Progreso");
    await desk.locator("#plan").selectOption("basic");
    await submit(desk, "/admin/clients/new");
    await desk.waitForURL(/\/admin\/clients\/[0-9a-f-]{36}/);
  });
  const { at, owner } = await signUp(browser, service, { boss, who: OWNER, rnc: RNC, screens });
  const phone = await owner.page();

  await step("client: the list of first steps begins with its Odoo", async () => {
    await owner.open(`${at}/onboarding`);
    await phone.locator("#step-odoo.is-now a").click();
    await phone.waitForURL(`**${at}/odoo`);
  });
  await step("client: a wrong key: the test says what is wrong, and what to do", async () => {
    await phone.locator("#url").fill(odoo.url);
    await phone.locator("#database").fill(odoo.database);
    await phone.locator("#login").fill(odoo.login);
    await phone.locator("#secret").fill("esta-no-es-la-clave");
    await phone.locator("button[data-stream-to]").click();
    await phone.locator("#doctor .step-bad small").first().waitFor();
    await phone.locator("form button[aria-busy]").waitFor({ state: "detached" });
    await look(owner, "clients-id-odoo-mal", { screens, quiet: true });
  });
  await step(`client: connected to ${odoo.kind}: every step of the test is good, and it is saved`, async () => {
    await phone.locator("#secret").fill(odoo.secret);
    await phone.locator("button[data-stream-to]").click();
    await phone.locator("#doctor .step").first().waitFor();
    await phone.locator("form button[aria-busy]").waitFor({ state: "detached" });
    assert.equal(await phone.locator("#doctor .step-bad").count(), 0, await phone.locator("#doctor").innerText());
    assert.ok((await phone.locator("#doctor .step-ok").count()) >= 4, await phone.locator("#doctor").innerText());
    await look(owner, "clients-id-odoo-bien", { screens, quiet: true });
    await submit(phone, `${at}/odoo`);
    await phone.locator(".flash-ok").waitFor();
    assert.equal(await phone.locator("#secret").inputValue(), "", "the key comes back to the page");
    await owner.open(`${at}/onboarding`);
    await phone.locator("#step-odoo.is-done").waitFor();
  });

  const token = await step("client: a token, shown once", async () => {
    await owner.open(`${at}/tokens`);
    await phone.locator("#name").fill("Claude de ventas");
    await submit(phone, `${at}/tokens`, { clickCount: 2 });
    const text = await phone.locator("#tok").inputValue();
    assert.match(text, /^dunet_live_/);
    await look(owner, "clients-id-tokens-nuevo", { screens, quiet: true });
    await phone.reload();
    assert.equal(await phone.locator("#tok").count(), 0, "the token shows again");
    assert.ok(!(await phone.content()).includes(text), "the token is still in the page");
    assert.equal(await phone.locator("main tbody tr").count(), 1, "a double click made two");
    return text;
  });
  await step("client: the page tries it as an agent would", async () => {
    await owner.open(`${at}/connect`);
    await phone.locator("#token").fill(token);
    await submit(phone, `${at}/connect#probar`);
    await phone.locator("#test .step").first().waitFor();
    assert.equal(await phone.locator("#test .step-bad").count(), 0, await phone.locator("#test").innerText());
    await look(owner, "clients-id-connect-probado", { screens, quiet: true });
  });

  await step("client: an agent calls; the open pages tell of it by themselves", async () => {
    await owner.open(`${at}/onboarding`);
    await phone.locator("#step-call.is-now").waitFor();
    await boss.open("/admin/logs");
    await desk.locator("[data-live-state]", { hasText: "En vivo" }).waitFor();
    const row = (which) => desk.locator(`#log tr${which}`, { hasText: RNC.name });
    const found = await call(service, token, "consultar_rnc_dgii", { rnc: RNC.number });
    assert.ok(!found.error && found.tools.includes("consultar_rnc_dgii") && RNC.name.test(found.text), JSON.stringify(found));
    await row("[data-herramienta=consultar_rnc_dgii][data-resultado=ok]").waitFor();
    await phone.locator("#step-call.is-done").waitFor();
    const here = await call(service, token, "odoo_contexto", {});
    assert.ok(!here.error, here.text);
    await row("[data-herramienta=odoo_contexto]").waitFor();
    const wrong = await call(service, token, "consultar_rnc_dgii", { rnc: NO_RNC });
    assert.ok(wrong.error, JSON.stringify(wrong));
    await row("[data-resultado=error]").locator(".status-warn").waitFor();
    await look(boss, "logs-en-vivo", { screens, quiet: true });
    await look(owner, "clients-id-onboarding-listo", { screens, quiet: true });
  });
  await step("client: what was sent is nowhere on the pages", async () => {
    assert.ok(!(await desk.content()).includes(NO_RNC), "the log shows a value of an argument");
  });
  await step("client: its figures know the calls", async () => {
    for (const address of [at, `${at}/metrics`]) {
      await eventually(async () => {
        await boss.open(address);
        const figures = await desk.locator(".stat-value").allInnerTexts();
        assert.ok(figures.some((figure) => figure.trim() === "3"), `${address}: three calls, and the page says ${figures.join(", ")}`);
      });
    }
  });

  await step("client: and its charts", async () => {
    await boss.open(`${at}/metrics`);
    await desk.locator("figure.chart canvas").first().waitFor();
    assert.match(await desk.locator("main").innerText(), /consultar_rnc_dgii/);
  });

  const customer = await step("client: a write waits for the owner, who approves it on the telephone; the agent hears of it", async () => {
    await owner.open(`${at}/tools`);
    const row = phone.locator("tr", { has: phone.locator('input[name=tool][value="crear_cliente"]') });
    await row.locator("input[name=on]").check();
    await row.locator("select[name=writes]").selectOption("crear_cliente:owner_approves");
    await submit(phone, `${at}/tools`);
    await phone.locator(".flash-ok").waitFor();
    const wish = { nombre: `Taller de la gira ${Date.now()}`, clave: "gira-1" };
    const asked = await eventually(async () => {
      const asked = await call(service, token, "crear_cliente", wish);
      assert.equal(asked.content?.estado, "pendiente_de_aprobacion", asked.text);
      return asked;
    });
    assert.ok(asked.content.vista_previa ?? asked.content.clave, asked.text);
    await owner.open(`${at}/approvals`);
    assert.match(await phone.locator("main").innerText(), new RegExp(wish.nombre));
    await look(owner, "clients-id-approvals-espera", { screens, quiet: true });
    await submit(phone, `${at}/approvals/approve`, { clickCount: 2 });
    await phone.locator(".flash-ok").waitFor();
    await look(owner, "clients-id-approvals-hecha", { screens, quiet: true });
    const told = await call(service, token, "crear_cliente", wish);
    assert.ok(!told.error && Number.isInteger(told.content.cliente_id), told.text);
    return wish.nombre;
  });

  const viewer = await joined(browser, service, { boss, at, who: VIEWER, level: "viewer", width: PHONE, screens });
  await step("client: who may only read is offered nothing else, and another client is not there", async () => {
    await viewer.open(`${at}/tokens`);
    assert.equal(await (await viewer.page()).locator(`main form[method=post]`).count(), 0);
    await viewer.open("/admin/clients", 403);
    await viewer.open(at.replace(/.{4}$/, (end) => (end === "0000" ? "1111" : "0000")), 404);
  });
  check("client: nothing else was said on the way", [...boss.drain(), ...owner.drain(), ...viewer.drain()]);

  const members = [];
  for (const [who, person] of [["owner", owner], ["viewer", viewer]]) members.push({ who, state: await person.context.storageState() });
  for (const person of [boss, owner, viewer]) await person.close();
  return { path: at, members, token, owner: OWNER, customer };
}

/** The button that sends the form to that address. */
async function submit(page, action, how = {}) {
  await page.locator(`form[action="${action}"] button[type=submit]:visible:not([formaction], [aria-hidden], [name=act])`).first().click(how);
}

/** Invited by a link, which shows once, and with an account. */
async function joined(browser, service, { boss, at, who, level, width, screens }) {
  const desk = await boss.page();
  const link = await step("client: the operator invites somebody who may read, by a link that shows once", async () => {
    await boss.open(`${at}/members`);
    await desk.locator("#email").fill(who.email);
    await desk.locator("#level").selectOption(level);
    await submit(desk, `${at}/members`);
    const text = await desk.locator("#link").inputValue();
    if (screens) await look(boss, "clients-id-members-invitacion", { screens, quiet: true });
    await desk.reload();
    assert.equal(await desk.locator("#link").count(), 0, "the link shows again");
    return text;
  });
  const person = await Person.make(browser, service.base, { width });
  const page = await person.page();
  await step(`client: ${who.name} opens it on a telephone and chooses a password`, async () => {
    await person.open(link);
    await page.locator("#name").fill(who.name);
    await page.locator("#password").fill(who.password);
    if (screens) await look(person, "enlace-invitacion", { screens, quiet: true });
    await page.locator("main form button[type=submit]").click();
    await page.waitForURL((url) => !url.pathname.startsWith("/admin/enlace"));
    await eventually(async () => assert.ok(new URL(page.url()).pathname.startsWith(at), page.url()));
  });
  return person;
}

/** One call by the TypeScript SDK. */
export async function call(service, token, tool, args) {
  const env = { MCP_URL: `${service.base}/mcp`, MCP_TOKEN: token };
  const said = await new Child(process.execPath, [AGENT, tool, JSON.stringify(args)], { env }).done();
  return JSON.parse(said.trim().split("\n").at(-1));
}
