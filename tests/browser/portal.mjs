// The browser, and what every page of the portal must be: whole, quiet, within its width, accessible. Playwright drives Debian's Chromium.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { chromium } from "playwright-core";

import { check, witnesses } from "./report.mjs";

const require = createRequire(import.meta.url);
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"];
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const STEP_MS = 15_000;
export const PHONE = 390;
export const DESK = 1280;

/** Chromium with a new user folder of Playwright's. */
export function launch() {
  return chromium.launch({ executablePath: process.env.BROWSER_BIN || "/usr/bin/chromium", args: FLAGS });
}

/** Somebody with a browser: a context of Playwright's whose pages are watched. */
export class Person {
  faults = [];
  guests = new Set(); // origins that pages may lead to, besides the portal
  #expected = new Set();

  /** `state`: the cookies of somebody who has signed in; `script: false` is a browser without. */
  static async make(browser, base, { width = DESK, theme = "light", script = true, state, language = "es-DO" } = {}) {
    const phone = width < 600;
    const context = await browser.newContext({
      baseURL: base,
      viewport: { width, height: phone ? 844 : 800 },
      isMobile: phone,
      hasTouch: phone,
      colorScheme: theme,
      javaScriptEnabled: script,
      storageState: state,
      locale: language,
      timezoneId: "America/Santo_Domingo",
      reducedMotion: "reduce",
      acceptDownloads: true,
    });
    return new Person(context, base, width, theme);
  }

  constructor(context, base, width, theme) {
    Object.assign(this, { context, base, width, theme });
    context.setDefaultTimeout(STEP_MS);
    context.on("page", (page) => this.#watch(page));
    this.witness = async () => [
      ...this.drain(),
      ...(this.one ? [`at ${this.one.url()}: ${await this.one.locator("main").innerText({ timeout: 1000 }).catch(() => "")}`] : []),
    ];
    witnesses.add(this.witness);
  }

  async page() {
    this.one ??= await this.context.newPage();
    return this.one;
  }

  async close() {
    witnesses.delete(this.witness);
    await this.context.close();
  }

  #watch(page) {
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      // Chromium says so of each answer that is no success; which of them are wrong is decided below.
      if (message.text().startsWith("Failed to load resource")) return;
      this.faults.push(`console: ${message.text()}`);
    });
    // Leaving a form that is half filled in is asked for; nothing else may stop a page.
    page.on("dialog", (dialog) => {
      if (dialog.type() !== "beforeunload") this.faults.push(`asks: ${dialog.message()}`);
      dialog.accept().catch(() => {}); // the page may be gone
    });
    page.on("pageerror", (error) => this.faults.push(`script: ${error.message}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(`${this.base}/`) && !/^(data|blob):/.test(request.url()) && !this.guests.has(new URL(request.url()).origin)) this.faults.push(`asks another host: ${request.url()}`);
    });
    page.on("requestfailed", (request) => {
      // A page that is left ends its streams, a download ends its navigation.
      if (request.failure()?.errorText === "net::ERR_ABORTED") return;
      this.faults.push(`failed: ${request.url()}: ${request.failure()?.errorText}`);
    });
    page.on("response", (response) => {
      if (response.status() >= 400 && !this.#expected.has(response.status())) this.faults.push(`${response.status()}: ${response.url()}`);
    });
  }

  /** What went wrong since the last time it was asked. */
  drain() {
    return this.faults.splice(0);
  }

  /** Answers of this status are no fault while `act` runs. */
  async expecting(status, act) {
    this.#expected.add(status);
    try {
      return await act();
    } finally {
      this.#expected.delete(status);
    }
  }

  async open(address, status = 200) {
    const page = await this.page();
    const answer = await this.expecting(status, () => page.goto(address, { waitUntil: "load" }));
    if (answer.status() !== status) throw new Error(`${address} answers ${answer.status()}, not ${status}`);
    return page;
  }

  async signOut() {
    await this.context.clearCookies();
  }
}

/** Looks at the page as it stands, in each theme: `name` for the pictures, `says` for the lines; `quiet` says nothing of what is good. */
export async function look(person, name, { screens, themes = ["light", "dark"], says = name, quiet = false } = {}) {
  const page = await person.page();
  for (const theme of themes) {
    const faults = [];
    try {
      await page.emulateMedia({ colorScheme: theme });
      await settled(page);
      faults.push(...(await page.evaluate(inspect)), ...(await accessible(page)));
      if (screens) await page.screenshot({ path: path.join(screens, `${fileName(name)}-${person.width}-${theme}.png`), fullPage: true, animations: "disabled" });
    } catch (error) {
      faults.push(error.message);
    }
    faults.push(...person.drain());
    if (!quiet || faults.length) check(`${says}, ${person.width} px, ${theme}`, faults);
  }
}

/** Fonts are there, charts are drawn (they are without motion), and what a change of theme moves has come to rest. */
async function settled(page) {
  await page.evaluate(async () => {
    window.scrollTo(0, 0); // what is under the head of a scrolled page is not out of reach
    await document.fonts.ready;
    await Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {})).slice(0, 50));
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  });
}

export function fileName(name) {
  return name.replace(/\/admin\/?/, "").replace(/[{}]/g, "").replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "") || "panel";
}

async function accessible(page) {
  // By the debugger's own hand: the policy of the page stays in force.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const { violations } = await page.evaluate(
    (tags) => window.axe.run(document, { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] }),
    AXE_TAGS,
  );
  const grave = [];
  for (const found of violations) {
    const line = `axe, ${found.impact}: ${found.id} (${found.nodes.length}): ${found.nodes[0].html} ${found.nodes[0].any[0]?.message ?? ""}`;
    if (["serious", "critical"].includes(found.impact)) grave.push(line);
    else console.log(`note  ${new URL(page.url()).pathname}: ${line.slice(0, 300)}`);
  }
  return grave;
}

/** In the page. Whatever a reader would call broken. */
function inspect() {
  const faults = [];
  const width = document.documentElement.clientWidth;
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".sr-only, dialog:not([open])");
  const tag = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") ?? ""}"> ${element.textContent.trim().slice(0, 40)}`;

  // Nothing is wider than the window; what scrolls by itself may be.
  const over = document.documentElement.scrollWidth - width;
  const sticksOut = [...document.querySelectorAll("body *")].filter((element) =>
    element.getBoundingClientRect().right > width + 1 && shown(element) && !element.closest(".table-wrap, .tabs, pre, [popover], .skip, canvas"));
  if (over > 0) faults.push(`wider than the window by ${over} px`);
  for (const element of sticksOut.slice(0, 2)) faults.push(`sticks out: ${tag(element)}`);

  // What one presses and reads is not cut off.
  for (const element of document.querySelectorAll(".btn, .badge, .status, .stat-value, h1, h2")) {
    const style = getComputedStyle(element);
    if (shown(element) && element.scrollWidth > element.clientWidth + 1 && style.display !== "inline" && style.overflowX !== "visible" && style.textOverflow !== "ellipsis") {
      faults.push(`cut off: ${tag(element)}`);
    }
  }

  // No sentence is missing, no value is a program's.
  const text = document.body.innerText;
  for (const pattern of [/\bportal\.[a-z_]+\.[a-z_.]+/, /%\{[a-z_]+\}/, /\{\{|\}\}|\{%/, /\[object /, /\b(undefined|NaN|null)\b/, /(^|\s)None($|\s)/m, /Invalid Date/, /\d{4}-\d\d-\d\dT\d\d:/]) {
    const found = pattern.exec(text);
    if (found) faults.push(`the text says ${JSON.stringify(text.slice(Math.max(0, found.index - 20), found.index + 40))}`);
  }

  const titles = document.querySelectorAll("h1");
  if (titles.length !== 1) faults.push(`${titles.length} first headings`);
  if (document.title.trim().startsWith("·")) faults.push("no title");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`the id ${id} is there twice`);
  for (const use of document.querySelectorAll("svg use")) {
    const box = use.getBBox();
    if (shown(use.closest("svg")) && !box.width && !box.height) faults.push(`an icon is missing: ${use.getAttribute("href")}`);
  }
  for (const image of document.images) if (!image.naturalWidth) faults.push(`a picture is missing: ${image.src}`);
  return faults;
}

/** In a page without script: nothing that needs script shows, what a form needs does. */
export function inspectPlain() {
  const faults = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true });
  if (!shown(document.querySelector("main"))) faults.push("nothing to see");
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) faults.push(`wider than the window by ${over} px`);
  for (const element of document.querySelectorAll(".needs-js")) if (shown(element)) faults.push(`useless without script: ${element.outerHTML.slice(0, 120)}`);
  const openers = new Set([...document.querySelectorAll("a[data-dialog][href]")].map((link) => link.dataset.dialog));
  for (const form of document.querySelectorAll("form")) {
    const dialog = form.closest("dialog");
    const folded = form.closest("details:not([open])") || [...document.querySelectorAll("[popovertarget]")].some((opener) => form.closest(`#${opener.getAttribute("popovertarget")}`));
    if (dialog ? !openers.has(`#${dialog.id}`) : !folded && !shown(form)) faults.push(`out of reach without script: the form to ${form.getAttribute("action")}`);
    if (!form.querySelector("button, input[type=submit], input[type=image]") && !document.querySelector(`[form="${form.id}"]`)) faults.push(`no button sends the form to ${form.getAttribute("action")}`);
  }
  for (const table of document.querySelectorAll("table[data-chart]")) {
    if (!shown(table)) faults.push(`out of reach without script: the table ${table.caption?.textContent ?? ""}`);
  }
  return faults;
}
