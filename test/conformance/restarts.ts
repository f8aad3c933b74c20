import { afterAll, afterEach, beforeEach, expect } from "vitest";
import type { Server } from "../support/launcher.ts";
import { StreamLedger } from "./ledger.ts";

/** How many tests run between two restarts. */
const EVERY = 20;

/**
 * Registers hooks that restart the server between tests, by SIGKILL and by
 * SIGTERM in turn, and hold every stream that the tests left behind to what it
 * was before. No restart happens while a test runs, so that test.concurrent
 * blocks and tests that measure time are left alone.
 */
export function restartBetweenTests(server: { readonly current: Server }): void {
  const ledger = new StreamLedger();
  let running = 0;
  let finished = 0;
  let nextRestart = EVERY;
  let restarts = 0;
  let gate: Promise<void> | undefined;
  let down: unknown;

  const restart = async (): Promise<void> => {
    const signal = restarts % 2 === 0 ? "SIGKILL" : "SIGTERM";
    const before = await ledger.read();
    try {
      await server.current.restart(signal);
    } catch (error) {
      down = error;
      throw error;
    }
    restarts++;
    expect(await ledger.read(), `streams after ${signal}`).toEqual(before);
    ledger.settle();
  };

  beforeEach(async () => {
    while (gate) await gate.catch(() => {}); // Its own test reports the failure.
    running++;
    if (down) throw new Error("the server did not come back from an earlier restart", { cause: down });
  });
  afterEach(async () => {
    running--;
    finished++;
    if (running > 0 || finished < nextRestart) return;
    nextRestart = finished + EVERY;
    gate = restart();
    try {
      await gate;
    } finally {
      gate = undefined;
    }
  });
  afterAll(() => {
    ledger.close();
    // Tests of one test.concurrent block count as one, so there may be fewer.
    expect(restarts, "restarts during the suite").toBeGreaterThanOrEqual(Math.floor(finished / EVERY / 2));
  });
}
