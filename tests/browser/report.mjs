// What was checked: one `ok` or `FAIL` line each, as tests/clients/ writes them.

const LINES_MAX = 6; // of what was wrong; the rest is a count

export const counts = { passed: 0, failed: 0, ignored: 0 };

/** What else is worth knowing when a step fails: functions that say where a browser stands. */
export const witnesses = new Set();

/** One line. `faults` is a list of what is wrong; none is good. */
export function check(name, faults = []) {
  if (!faults.length) {
    counts.passed += 1;
    console.log(`ok    ${name}`);
    return true;
  }
  counts.failed += 1;
  const shown = [...new Set(faults)].slice(0, LINES_MAX).map((fault) => `      ${String(fault).replace(/\s+/g, " ").slice(0, 400)}`);
  const more = new Set(faults).size - shown.length;
  console.log([`FAIL  ${name}`, ...shown, ...(more > 0 ? [`      and ${more} more`] : [])].join("\n"));
  return false;
}

/** What could not be tried here, and why. */
export function skip(name, why) {
  counts.ignored += 1;
  console.log(`skip  ${name}: ${why}`);
}

/** A step of a tour: good when it does not throw. The tour ends with the first that fails, for the next ones build on it. */
export async function step(name, act) {
  let value;
  try {
    value = await act();
  } catch (error) {
    const said = await Promise.all([...witnesses].map((witness) => witness()));
    check(name, [error.message, ...said.flat()]);
    throw new TourEnded(name);
  }
  check(name);
  return value;
}

export class TourEnded extends Error {}

/** Runs a tour; whether it came to its end. */
export async function tour(act) {
  try {
    return { value: await act(), done: true };
  } catch (error) {
    if (!(error instanceof TourEnded)) check("a tour breaks down", [error.stack]);
    return { done: false };
  }
}

/** Tries until `act` does not throw, for what takes a moment behind the pages. */
export async function eventually(act, within_ms = 10_000) {
  const end = Date.now() + within_ms;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
