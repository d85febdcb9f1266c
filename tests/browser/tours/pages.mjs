// Every page somebody can open: begins where it is told, follows each link that leads to a page of another kind, and looks at it at 390 and
// 1280 px, light and dark, and without script. Nothing here knows a page by name: a new one is found by the link that leads to it.

import { DESK, PHONE, Person, fileName, inspectPlain, look } from "../portal.mjs";
import { check, step } from "../report.mjs";

/** The kind of a page: its path with ids, months and numbers taken out. */
export function kind(address) {
  return new URL(address, "http://x").pathname
    .replace(/\/[0-9a-f]{8}-[0-9a-f-]{27}/g, "/{id}")
    .replace(/\/\d{4}-\d\d(-\d\d)?(?=\/|$)/g, "/{date}")
    .replace(/\/\d+(?=\/|$)/g, "/{n}")
    .replace(/\/(?=[^/]*\d)[A-Za-z0-9_-]{16,}(?=\/|$)/g, "/{key}");
}

/** A link that leads to no page: the browser saves what comes. */
const isFile = (error) => error.message.includes("Download is starting");

/** Not a document for programs. */
const isPage = (page) => page.evaluate(() => document.contentType === "text/html");

/** Looks at everything reachable from `starts`. `who` names the person in the lines; `matrix` says which widths, themes and whether without script. */
export async function everyPage(browser, service, { who, state, starts, screens, prefix = "", matrix = {} }) {
  const { widths = [PHONE, DESK], themes = ["light", "dark"], plain = true } = matrix;
  const persons = await Promise.all(widths.map((width) => Person.make(browser, service.base, { width, state, theme: themes[0] })));
  const bare = plain ? await Person.make(browser, service.base, { state, script: false }) : null;
  const seen = new Map();
  const queue = [...starts];
  const files = [];

  const visit = async (person, address, name) => {
    try {
      await person.open(address);
    } catch (error) {
      if (isFile(error)) {
        files.push(address);
        return [];
      }
      check(`${who}: ${name}, ${person.width} px`, [error.message, ...person.drain()]);
      return [];
    }
    const page = await person.page();
    if (!(await isPage(page))) return [];
    const landed = kind(page.url());
    if (landed !== name && seen.has(landed)) return []; // sent on to one that was looked at
    const links = await page.evaluate(() => [...document.querySelectorAll("a[href]")].map((link) => ({ href: link.href, file: link.hasAttribute("download") })));
    await look(person, prefix ? `${prefix}-${name}` : name, { screens, themes, says: `${who}: ${name}` });
    return links;
  };
  const visitPlain = async (address, name) => {
    const faults = [];
    try {
      const page = await bare.open(address);
      if (!(await isPage(page))) return;
      faults.push(...(await page.evaluate(inspectPlain)));
      if (screens && faults.length) await page.screenshot({ path: `${screens}/${fileName(name)}-plain.png`, fullPage: true });
    } catch (error) {
      if (isFile(error)) return;
      faults.push(error.message);
    }
    check(`${who}: ${name}, without script`, [...faults, ...bare.drain()]);
  };

  while (queue.length) {
    const address = queue.shift();
    const is = kind(address);
    if (seen.has(is)) continue;
    seen.set(is, address);
    const [found] = await Promise.all([
      Promise.all(persons.map((person) => visit(person, address, is))),
      bare ? visitPlain(address, is) : null,
    ]);
    for (const { href, file } of found.flat()) {
      const url = new URL(href);
      if (url.origin !== service.base || !/^\/admin(\/|$)/.test(url.pathname)) continue;
      const next = `${url.pathname}${url.search}`;
      if (file) files.push(next);
      else queue.push(next);
    }
  }

  // What is offered as a file comes as one.
  const first = persons[0];
  for (const [is, address] of new Map(files.map((address) => [kind(address), address]))) {
    const answer = await first.context.request.get(address);
    const sent = answer.headers()["content-disposition"] ?? "";
    check(`${who}: ${is}, a file`, answer.status() === 200 && sent.startsWith("attachment") ? [] : [`${answer.status()} ${sent}`]);
  }
  for (const person of [...persons, bare]) await person?.close();
  return [...seen.keys()];
}

/** In English: no page may fall apart over longer or shorter words. */
export async function inEnglish(browser, service, { state, starts }) {
  const person = await Person.make(browser, service.base, { state });
  const done = await step("English: the operator chooses it in the profile", async () => {
    const page = await person.open("/admin/profile");
    await page.locator("#language").selectOption("en");
    await page.locator('form[action="/admin/profile"] button[type=submit]').click();
    await page.locator('html[lang^="en"]').waitFor();
    return person.context.storageState();
  });
  await person.close();
  await everyPage(browser, service, { who: "English", state: done, starts, matrix: { widths: [PHONE], themes: ["light"], plain: false } });
}
