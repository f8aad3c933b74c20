import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { type Server, engine, launch } from "./launcher.ts";

/** Whether tests may stop and start the server and find their data again. */
export const durable = engine === "disk" || engine === "disk-restart";

/** Whether it is our server: tests of what the protocol leaves open need it. */
export const ours = engine !== "external";

/**
 * Registers hooks that run one server for the calling test file, and print
 * what it logged during a test that failed. The returned object is usable from
 * beforeAll on.
 */
export function useServer(): { readonly current: Server } {
  let server: Server | undefined;
  let failed = false;
  const logAt = new Map<string, number>();

  beforeAll(async () => {
    server = await launch();
  });
  beforeEach(({ task }) => {
    logAt.set(task.id, server?.logSize() ?? 0);
    server?.assertAlive(); // Else each test to come waits for its time limit.
  });
  afterEach(({ task }) => {
    if (task.result?.state !== "fail") return;
    failed = true;
    const log = server?.logSince(logAt.get(task.id) ?? 0);
    if (log) console.error(`--- server log during "${task.name}" ---\n${log}--- end of log ---`);
  });
  afterAll(async () => {
    await server?.dispose({ keep: failed });
  });

  return {
    get current(): Server {
      if (!server) throw new Error("the server has not been started");
      return server;
    },
  };
}
