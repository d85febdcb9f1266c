// A person of a company, with a browser that has no script: the portal's forms, filled in and sent.
//
//   node member.mjs join              the operator of the demo invites her, and she chooses a password
//   node member.mjs consent ADDRESS   she allows the program that sent her there; ends where the program waits for her
//
// Reads DEMO, the file with what `dunet demo --json` said; keeps her cookies in the file COOKIES.
import fs from "node:fs";
import http from "node:http";

const demo = JSON.parse(fs.readFileSync(process.env.DEMO, "utf8"));
const BASE = new URL(demo.admin_url).origin;
const STEPS_MAX = 8;
const MEMBER = { email: "ana@dunet.example", name: "Ana", password: "una frase larga de prueba" };

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'", "#39": "'", "#x2f": "/" };
const plain = (text = "") => text.replace(/&(#?\w+);/g, (all, name) => ENTITIES[name.toLowerCase()] ?? all);
const attributes = (tag) => Object.fromEntries([...tag.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].slice(1).map(([, name, value]) => [name, plain(value)]));

/** The forms of a page: where each goes, and what it sends when it is left as it is. */
function forms(html) {
  return [...html.matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/g)].map(([form]) => {
    const fields = [];
    for (const [tag] of form.matchAll(/<input\b[^>]*>/g)) {
      const { name, type = "text", value, ...rest } = attributes(tag);
      if (name && (!["checkbox", "radio"].includes(type) || "checked" in rest)) fields.push([name, value ?? (type === "checkbox" ? "on" : "")]);
    }
    for (const [, tag, options] of form.matchAll(/(<select\b[^>]*>)([\s\S]*?)<\/select>/g)) {
      const all = [...options.matchAll(/<option\b[^>]*>/g)].map(([option]) => attributes(option));
      const chosen = all.find((option) => "selected" in option) ?? all[0];
      if (chosen) fields.push([attributes(tag).name, chosen.value]);
    }
    const buttons = [...form.matchAll(/<button\b[^>]*>/g)].map(([tag]) => attributes(tag));
    return { ...attributes(form.match(/<form\b[^>]*>/)[0]), fields, buttons };
  });
}

class Person {
  constructor(file) {
    this.file = file;
    this.jar = file && fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {};
  }

  /** One request, as a browser sends it; what is sent elsewhere carries no cookies of ours. */
  request(address, body) {
    const own = address.origin === BASE;
    const headers = { accept: "text/html", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate" };
    if (own) headers.cookie = Object.entries(this.jar).map((pair) => pair.join("=")).join("; ");
    if (body !== undefined) Object.assign(headers, { "content-type": "application/x-www-form-urlencoded", origin: BASE, "sec-fetch-site": "same-origin" });
    return new Promise((resolve, reject) => {
      const request = http.request(address, { method: body === undefined ? "GET" : "POST", headers }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part) => (text += part)).on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text })).on("error", reject);
        for (const cookie of own ? (answer.headers["set-cookie"] ?? []) : []) {
          const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/);
          if (value) this.jar[name] = value;
          else delete this.jar[name];
        }
        if (this.file) fs.writeFileSync(this.file, JSON.stringify(this.jar));
      });
      request.on("error", reject).end(body);
    });
  }

  /** Goes there and on to wherever that leads. */
  async go(address, body) {
    let at = new URL(address, BASE);
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const answer = await this.request(at, body);
      body = undefined;
      if (!answer.headers.location) return Object.assign(this, { at, page: answer });
      at = new URL(answer.headers.location, at);
    }
    throw new Error(`it leads on and on, to ${at}`);
  }

  /** Sends the page's form that `which` picks, with these values in it, by its button of that value (or its first). */
  async send(which, values, button) {
    const form = forms(this.page.text).find(which);
    if (!form) throw new Error(`no such form at ${this.at} (${this.page.status}): ${this.page.text.replace(/<[^>]*>|\s+/g, " ").slice(0, 600)}`);
    const fields = new URLSearchParams(form.fields);
    for (const [name, value] of Object.entries(values)) fields.set(name, value);
    const pressed = form.buttons.find((one) => one.value === button) ?? form.buttons[0];
    if (pressed?.name) fields.set(pressed.name, pressed.value ?? "");
    return this.go(new URL(form.action || this.at, this.at), fields.toString());
  }
}

const has = (name) => (form) => form.fields.some(([field]) => field === name);
const signIn = (person, email, password) => person.send(has("password"), { email, password });

async function join() {
  const operator = new Person();
  await operator.go("/admin/entrar");
  await signIn(operator, demo.admin_email, demo.admin_password);
  await operator.go(`/admin/clients/${demo.tenant_id}/members`);
  await operator.send(has("email"), { email: MEMBER.email, level: "owner" });
  const link = plain(operator.page.text).match(/https?:\/\/[^"<\s]*\/admin\/enlace\/[\w-]+/)?.[0];
  if (!link) throw new Error(`no link in ${operator.page.text.slice(0, 4000)}`);
  const member = new Person(process.env.COOKIES);
  await member.go(new URL(link).pathname);
  await member.send(has("password"), { name: MEMBER.name, password: MEMBER.password });
  if (member.page.status !== 200) throw new Error(`${member.at}: ${member.page.status}`);
  console.log("ok    portal: a member joins");
}

/** The page that asks is the first that is neither for signing in nor elsewhere. */
async function consent(address) {
  const member = new Person(process.env.COOKIES);
  await member.go(address);
  for (let step = 0; step < STEPS_MAX && member.at.origin === BASE; step += 1) {
    if (forms(member.page.text).some(has("password"))) await signIn(member, MEMBER.email, MEMBER.password);
    else await member.send((form) => form.method === "post" && form.action?.startsWith("/admin/autorizar"), {}, "allow");
  }
}

const [what, address] = process.argv.slice(2);
await (what === "consent" ? consent(address) : join());
