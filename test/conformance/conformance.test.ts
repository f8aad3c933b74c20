import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { engine, longPollTimeoutMs } from "../support/launcher.ts";
import { useServer } from "../support/server.ts";
import { restartBetweenTests } from "./restarts.ts";

const server = useServer();
if (engine === "disk-restart") restartBetweenTests(server);

runConformanceTests({
  // Read by every test, after the server has its port.
  get baseUrl() {
    return server.current.baseUrl;
  },
  longPollTimeoutMs,
});
