// The way of a client: made by the operator, its owner invited, Odoo connected, a token, a call by a real MCP client, and the call on the pages.

import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";

import { Person, look } from "../portal.mjs";
import { check, eventually, step } from "../report.mjs";
import { Child } from "../service.mjs";

const CLIENT = { name: "Ferretería El Progreso", rnc: "131793916" };
const OWNER = { email: "duena@elprogreso.do", name: "Dulce Dueña", password: "tornillo clavo martillo 5" };

export async function great(browser, service, { operator, odoo, screens }) {
  const boss = await Person.make(browser, service.base, { state: operator });
  const desk = await boss.page();

  const tenant = await step("client: the operator makes one", async () => {
    const secret = path.join(service.folder, "odoo.secret");
    await fs.writeFile(secret, odoo.secret, { mode: 0o600 });
    const said = await service.run("tenant", "add", "--json", "--name", CLIENT.name, "--rnc", CLIENT.rnc, "--plan", "pro",
      "--odoo-url", odoo.url, "--odoo-db", odoo.database, "--odoo-user", odoo.login, "--odoo-secret-file", secret).done();
    return JSON.parse(said).id;
  });
  const at = `/admin/clients/${tenant}`;

  const invitation = await step("client: the operator invites its owner, by a link that is shown once", async () => {
    await boss.open(`${at}/members`);
    await desk.getByLabel(/correo/i).fill(OWNER.email);
    await desk.locator("#level").selectOption("owner");
    await desk.locator(`form[action="${at}/members"] button[type=submit]`).click();
    await desk.locator("#link").waitFor();
    const link = await desk.locator("#link").inputValue();
    await look(boss, "clients-id-members-invitacion", { screens, quiet: true });
    await desk.reload();
    assert.equal(await desk.locator("#link").count(), 0, "the link shows again");
    return link;
  });

  const member = await Person.make(browser, service.base, { width: 390 });
  const phone = await member.page();
  await step("client: its owner opens it on a telephone and chooses a password", async () => {
    await member.open(invitation);
    await phone.getByLabel(/^nombre/i).fill(OWNER.name);
    await phone.locator("#password").fill(OWNER.password);
    await look(member, "enlace-invitacion", { screens, quiet: true });
    await phone.locator("form button[type=submit]").click();
    await phone.waitForURL((url) => url.pathname.startsWith("/admin") && !url.pathname.startsWith("/admin/enlace"));
  });

  const token = await step("client: a token", async () => {
    const said = await service.run("token", "issue", "--json", "--tenant", tenant, "--name", "Claude de ventas").done();
    return JSON.parse(said).token;
  });

  await step("client: an agent calls", async () => {
    const call = async (tool, args) => {
      const env = { MCP_URL: `${service.base}/mcp`, MCP_TOKEN: token };
      const said = await new Child(process.env.AGENT_PYTHON, [new URL("../agent.py", import.meta.url).pathname, tool, JSON.stringify(args)], { env }).done();
      return JSON.parse(said);
    };
    const taxpayer = await call("consultar_rnc_dgii", { rnc: CLIENT.rnc });
    assert.ok(!taxpayer.error && taxpayer.tools.includes("consultar_rnc_dgii"), JSON.stringify(taxpayer));
    const context = await call("odoo_contexto", {});
    assert.ok(!context.error, context.text);
    const bad = await call("consultar_rnc_dgii", { rnc: "12345" });
    assert.ok(bad.error, JSON.stringify(bad));
  });

  await step("client: its figures know the calls", async () => {
    await eventually(async () => {
      await boss.open(at);
      const figures = await desk.locator(".stat-value").allInnerTexts();
      assert.ok(figures.includes("3"), `three calls, and the page says ${figures.join(", ")}`);
    });
  });
  check("client: nothing else was said on the way", [...boss.drain(), ...member.drain()]);

  const members = [{ who: "owner", state: await member.context.storageState() }];
  await boss.close();
  await member.close();
  return { path: at, members };
}
