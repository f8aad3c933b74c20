import { defineConfig } from "vitest/config";

// ENGINE=disk or ENGINE=memory,disk-restart narrows a run. Against a server
// that somebody else runs (DURABLE_STREAMS_URL) there is only one: "external".
const all = process.env.DURABLE_STREAMS_URL
  ? ["external"]
  : ["memory", "disk", "disk-restart"];
const engines = process.env.ENGINE ? process.env.ENGINE.split(",") : all;
for (const engine of engines) {
  if (!all.includes(engine)) {
    throw new Error(`ENGINE=${engine}: expected some of ${all.join(",")}`);
  }
}

export default defineConfig({
  test: {
    globalSetup: ["support/sweep.ts"],
    // Tests measure one server at a time, on machines with few cores.
    fileParallelism: false,
    reporters: [["default", { summary: false }]],
    hookTimeout: 60_000,
    projects: [
      ...engines.map((engine) => ({
        extends: true as const,
        test: {
          name: `conformance-${engine}`,
          include: ["conformance/**/*.test.ts"],
          env: { ENGINE: engine },
          // The suite's own limits stand; this is for its tests without one.
          testTimeout: 15_000,
        },
      })),
      ...engines
        // The client's tests restart the server themselves.
        .filter((engine) => engine !== "disk-restart")
        .map((engine) => ({
          extends: true as const,
          test: {
            name: `client-${engine}`,
            include: ["client/**/*.test.ts"],
            env: { ENGINE: engine },
            testTimeout: 40_000,
          },
        })),
    ],
  },
});
