// The first operator: the link that the service says when it starts, an account, the panel. And what a stranger gets.

import assert from "node:assert/strict";

import { Person, look } from "../portal.mjs";
import { check, step } from "../report.mjs";

export const OPERATOR = { email: "operador@dunet.do", name: "Olga Operadora", password: "caballo batería grapa 7" };

export async function first(browser, service, { screens }) {
  const person = await Person.make(browser, service.base);
  const page = await person.page();

  await step("first: a stranger is sent to sign in", async () => {
    await person.open("/admin");
    assert.equal(new URL(page.url()).pathname, "/admin/entrar");
  });
  await look(person, "entrar", { screens });

  await step("first: the start-up link asks for an account", async () => {
    await person.open(service.firstLink);
    await page.getByLabel(/correo/i).waitFor();
  });
  await look(person, "enlace-primero", { screens });

  await step("first: a short password comes back beside its field, and what was typed with it", async () => {
    await page.getByLabel(/correo/i).fill(OPERATOR.email);
    await page.getByLabel(/^nombre/i).fill(OPERATOR.name);
    await page.locator("#password").fill("corta");
    await person.expecting(422, async () => {
      await page.locator("form button[type=submit]").click();
      await page.locator("#password-error").waitFor();
    });
    assert.equal(await page.getByLabel(/correo/i).inputValue(), OPERATOR.email);
    assert.equal(await page.locator("#password").inputValue(), "");
    assert.equal(await page.evaluate(() => document.activeElement.id), "password");
  });
  await look(person, "enlace-primero-error", { screens });

  await step("first: with a good one the panel opens", async () => {
    await page.locator("#password").fill(OPERATOR.password);
    await page.locator("form button[type=submit]").click();
    await page.waitForURL((url) => url.pathname === "/admin");
    await page.locator("nav.sidebar a[aria-current=page]").waitFor();
  });
  check("first: nothing else was said on the way", person.drain());

  await step("first: by keyboard, the first stop leads past the menu", async () => {
    await page.keyboard.press("Tab");
    await page.locator("a.skip:focus").waitFor();
    await page.keyboard.press("Enter");
    await page.locator("main:focus").waitFor();
  });
  await step("first: what is not there says so, with the number of the request", async () => {
    await person.open("/admin/nada", 404);
    assert.match(await page.locator("main code").first().innerText(), /^[0-9a-f-]{36}$/);
  });
  await look(person, "error-404", { screens });
  await person.open("/admin");

  await step("first: the link works once", async () => {
    const other = await Person.make(browser, service.base);
    await other.open(service.firstLink, 404);
    await look(other, "enlace-gastado", { screens, themes: ["light"] });
    await other.close();
  });

  await step("first: signing out, a wrong password, signing in", async () => {
    await page.locator("details.menu > summary").click();
    await page.locator("form[action='/admin/salir'] button").click();
    await page.waitForURL((url) => url.pathname === "/admin/entrar");
    await page.getByLabel(/correo/i).fill(OPERATOR.email);
    await page.locator("#password").fill("no es esta clave 1");
    await person.expecting(422, async () => {
      await page.locator("form button[type=submit]").click();
      await page.locator(".flash-bad").waitFor();
    });
    await signIn(person, OPERATOR);
    assert.equal(new URL(page.url()).pathname, "/admin");
  });
  check("first: nothing else was said on the way back", person.drain());

  const state = await person.context.storageState();
  await person.close();
  return state;
}

/** The same without a look around. */
export async function begin(browser, service) {
  const person = await Person.make(browser, service.base);
  const page = await person.page();
  await step("the service at work has its operator", async () => {
    await person.open(service.firstLink);
    await page.locator("#email").fill(OPERATOR.email);
    await page.locator("#name").fill(OPERATOR.name);
    await page.locator("#password").fill(OPERATOR.password);
    await page.locator("form button[type=submit]").click();
    await page.waitForURL((url) => url.pathname === "/admin");
  });
  const state = await person.context.storageState();
  await person.close();
  return state;
}

/** Signs in on the page of that, which is open or is opened. */
export async function signIn(person, { email, password }) {
  const page = await person.page();
  if (new URL(page.url(), person.base).pathname !== "/admin/entrar") await person.open("/admin/entrar");
  await page.getByLabel(/correo/i).fill(email);
  await page.locator("#password").fill(password);
  await page.locator("form button[type=submit]").click();
  await page.waitForURL((url) => url.pathname !== "/admin/entrar");
}
