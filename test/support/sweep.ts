import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Vitest's global setup: one temporary folder for the whole run. Each launcher
 * keeps its pid file in it, so that a server whose test worker was killed is
 * still stopped at the end. Folders of failed tests stay, for a look.
 */
export default function setup(): () => void {
  const dir = mkdtempSync(join(tmpdir(), "durable-streams-test-"));
  process.env.DURABLE_STREAMS_RUN_DIR = dir;
  return () => {
    for (const entry of readdirSync(dir)) {
      if (!entry.endsWith(".pid")) continue;
      const pid = Number(readFileSync(join(dir, entry), "utf8"));
      if (!Number.isInteger(pid) || pid <= 1) continue;
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It is gone already.
      }
      rmSync(join(dir, entry), { force: true });
    }
    if (readdirSync(dir).length === 0) rmSync(dir, { recursive: true });
    else console.error(`server logs and data of failed tests: ${dir}`);
  };
}
