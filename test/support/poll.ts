import { setTimeout as delay } from "node:timers/promises";

/**
 * Calls probe every few milliseconds until it returns something truthy, and
 * returns that. After deadlineMs it throws an error that says what was waited
 * for and what was seen last. A probe that throws counts as "not yet".
 */
export async function until<T>(
  what: string | (() => string),
  probe: () => T | Promise<T>,
  deadlineMs = 10_000,
  everyMs = 5,
): Promise<NonNullable<T>> {
  const end = Date.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value as NonNullable<T>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= end) {
      const name = typeof what === "string" ? what : what();
      throw new Error(`not within ${deadlineMs} ms: ${name}; last: ${String(last)}`);
    }
    await delay(everyMs);
  }
}
