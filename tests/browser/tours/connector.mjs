// The connector doctor: its steps come one by one; on this machine VS Code would come through, and what comes from the Internet would not.

import assert from "node:assert/strict";

import { DESK, PHONE, Person, look } from "../portal.mjs";
import { check, step } from "../report.mjs";

export async function connector(browser, service, { operator, screens }) {
  for (const width of [DESK, PHONE]) {
    const person = await Person.make(browser, service.base, { width, state: operator });
    const page = await person.page();
    await step(`connectors: the operator goes the way, ${width} px`, async () => {
      await person.open("/admin/connector");
      assert.ok((await page.locator("main").innerText()).includes(`${service.base}/mcp`));
      // The way may be gone in a moment: what was there in between is noted where it happens.
      await page.locator("#doctor").evaluate((list) => {
        list.waits = 0;
        new MutationObserver((changes) => {
          for (const { addedNodes } of changes) for (const node of addedNodes) if (node.classList?.contains("step-wait")) list.waits += 1;
        }).observe(list, { childList: true });
      });
      await page.locator("button[data-stream-to]").click();
      await page.locator("#doctor .step", { has: page.locator("b", { hasText: "Claude: resultado" }) }).waitFor();
      await page.locator("form button[aria-busy]").waitFor({ state: "detached" });
      const steps = await page.locator("#doctor .step").count();
      assert.equal(await page.locator("#doctor").evaluate((list) => list.waits), steps, "each step was waited for");
      const last = (program) => page.locator("#doctor .step", { has: page.locator("b", { hasText: `${program}: resultado` }) }).getAttribute("class");
      assert.match(await last("VS Code"), /step-ok/);
      assert.match(await last("Claude"), /step-bad/);
      assert.equal(await page.locator("#doctor .step-bad small").count(), 1, "only the network is to blame");
    });
    await look(person, "connector-probado", { screens });
    check("connectors: nothing else was said on the way", person.drain());
    await person.close();
  }
}
