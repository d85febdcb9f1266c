// A company that registers itself: the operator opens the door, a stranger comes in by it on a telephone, the operator lets them in.

import assert from "node:assert/strict";

import { PHONE, Person, look } from "../portal.mjs";
import { eventually, step } from "../report.mjs";
import { signIn } from "./first.mjs";

/** The new owner, and the address of their company. */
export async function signUp(browser, service, { boss, who, rnc, screens }) {
  const desk = await boss.page();
  await step("sign-up: the operator opens it, with approval", async () => {
    await boss.open("/admin/configs");
    const form = desk.locator("form", { has: desk.locator("[name=sign_up]") });
    await form.locator("[name=sign_up][value=approval]").check();
    await form.locator("#sign_up_plan").selectOption("pro");
    await form.locator("button[type=submit]").click();
    await desk.locator(".flash-ok").waitFor();
  });

  const person = await Person.make(browser, service.base, { width: PHONE });
  const phone = await person.page();
  await step("sign-up: a stranger finds it, and the padrón knows the company", async () => {
    await person.open("/admin/entrar");
    await phone.locator('main a[href="/admin/registro"]').click();
    await phone.locator("#rnc").fill(rnc.number);
    await phone.locator("button[value=look]").click();
    await eventually(async () => assert.match(await phone.locator("#company").inputValue(), rnc.name));
    await look(person, "registro", { screens, quiet: true });
  });
  await step("sign-up: a short password comes back beside its field", async () => {
    await phone.locator("#name").fill(who.name);
    await phone.locator("#email").fill(who.email);
    await phone.locator("#password").fill("corta");
    await person.expecting(422, async () => {
      await phone.locator("button.btn-primary[value=send]").click();
      await phone.locator("#password-error").waitFor();
    });
    assert.equal(await phone.locator("#email").inputValue(), who.email);
    await look(person, "registro-error", { screens, quiet: true });
  });
  await step("sign-up: it is sent, and says that somebody looks at it", async () => {
    await phone.locator("#password").fill(who.password);
    await phone.locator("button.btn-primary[value=send]").click();
    await phone.waitForURL("**/admin/registro/recibido");
    await look(person, "registro-recibido", { screens, quiet: true });
  });
  await step("sign-up: the operator approves it", async () => {
    await boss.open("/admin/sign-ups");
    assert.match(await desk.locator("main tbody tr").innerText(), rnc.name);
    await look(boss, "sign-ups-en-espera", { screens, quiet: true });
    await desk.locator('form[action="/admin/sign-ups/approve"] button').click();
    await desk.locator(".flash-ok").waitFor();
  });
  const at = await step("sign-up: the owner signs in to their company", async () => {
    await signIn(person, who);
    await eventually(async () => assert.match(new URL(phone.url()).pathname, /^\/admin\/clients\/[0-9a-f-]{36}/));
    return new URL(phone.url()).pathname.split("/").slice(0, 4).join("/");
  });
  return { owner: person, at };
}
