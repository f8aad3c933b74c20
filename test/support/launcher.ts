import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./poll.ts";

export type Engine = "memory" | "disk" | "disk-restart" | "external";

/** The engine that this test project runs against; see vitest.config.ts. */
export const engine = (process.env.ENGINE ?? "memory") as Engine;

/** How long a client waits at the tail before a 204, in milliseconds. */
export const longPollTimeoutMs = 1000;

const START_MS = 30_000;
const STOP_MS = 10_000;

const here = dirname(fileURLToPath(import.meta.url));

function binaryPath(): string {
  const path = process.env.DURABLE_STREAMS_SERVER
    ? resolve(process.env.DURABLE_STREAMS_SERVER)
    : resolve(here, "../../bin/durable-streams-server");
  if (!existsSync(path)) {
    throw new Error(
      `no server at ${path}: run "go build -o bin/ ./cmd/durable-streams-server" ` +
        `in the repository's root, or set DURABLE_STREAMS_SERVER or DURABLE_STREAMS_URL`,
    );
  }
  return path;
}

/**
 * One server process with a folder of its own. It keeps its port and its data
 * across restart().
 */
export interface Server {
  /** Scheme, host and port; streams live below `${baseUrl}/v1/stream/`. */
  readonly baseUrl: string;
  /** Sends SIGTERM and waits for a clean exit. */
  stop(): Promise<void>;
  /** Sends SIGKILL and waits for the end. */
  kill(): Promise<void>;
  /** Starts the server again after stop() or kill(). */
  start(): Promise<void>;
  /** Ends the server with the signal, and starts it again. */
  restart(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
  /** Throws, with the log, when the server ended without being told to. */
  assertAlive(): void;
  /** The size of the log in bytes, to be handed to logSince later. */
  logSize(): number;
  /** What the server logged since logSize returned from (its last 4 kB). */
  logSince(from: number): string;
  /** Stops the server; removes its folder, or keeps it for a look. */
  dispose(options: { keep: boolean }): Promise<void>;
}

/** Starts a server, or names the one at DURABLE_STREAMS_URL. */
export async function launch(): Promise<Server> {
  if (process.env.DURABLE_STREAMS_URL) {
    return new ExternalServer(process.env.DURABLE_STREAMS_URL.replace(/\/+$/, ""));
  }
  const binary = binaryPath();
  // Somebody may take the port between our look and the server's bind.
  for (let attempt = 1; ; attempt++) {
    const server = new ChildServer(binary, await freePort());
    try {
      await server.start();
      return server;
    } catch (error) {
      const taken = /address already in use/.test(server.logSince(0));
      await server.dispose({ keep: !taken });
      if (!taken || attempt === 5) throw error;
    }
  }
}

class ExternalServer implements Server {
  constructor(readonly baseUrl: string) {}
  private refuse(): Promise<never> {
    return Promise.reject(new Error("a server at DURABLE_STREAMS_URL cannot be restarted"));
  }
  stop = this.refuse;
  kill = this.refuse;
  start = this.refuse;
  restart = this.refuse;
  assertAlive(): void {}
  logSize(): number {
    return 0;
  }
  logSince(): string {
    return "";
  }
  async dispose(): Promise<void> {}
}

class ChildServer implements Server {
  readonly baseUrl: string;
  private readonly dir: string;
  private readonly logPath: string;
  private readonly pidPath: string;
  private child?: ChildProcess;
  private guard?: ChildProcess;
  private ended?: Promise<string>;
  /** Whether the process should be alive: between start() and stop() or kill(). */
  private wanted = false;
  private how = "";

  constructor(
    private readonly binary: string,
    port: number,
  ) {
    const runDir = process.env.DURABLE_STREAMS_RUN_DIR ?? tmpdir();
    this.baseUrl = `http://127.0.0.1:${port}`;
    this.dir = mkdtempSync(join(runDir, `${engine}-`));
    this.logPath = join(this.dir, "server.log");
    this.pidPath = join(runDir, `${basename(this.dir)}.pid`);
    writeFileSync(this.logPath, "");
    writeFileSync(join(this.dir, "Caddyfile"), this.caddyfile());
    mkdirSync(join(this.dir, "home"));
  }

  private caddyfile(): string {
    const storage = engine === "memory" ? "" : `\n\t\t\tdata_dir ${JSON.stringify(join(this.dir, "data"))}`;
    return `{
	admin off
	auto_https off
	persist_config off
}

${this.baseUrl} {
	bind 127.0.0.1
	route /v1/stream/* {
		durable_streams {${storage}
			long_poll_timeout ${longPollTimeoutMs}ms
		}
	}
}
`;
  }

  async start(): Promise<void> {
    if (this.child) throw new Error("the server is running already");
    const home = join(this.dir, "home");
    const log = openSync(this.logPath, "a");
    const child = spawn(
      this.binary,
      ["run", "--config", join(this.dir, "Caddyfile"), "--adapter", "caddyfile"],
      {
        cwd: this.dir,
        stdio: ["ignore", log, log],
        env: {
          PATH: process.env.PATH,
          ...(process.env.GOCOVERDIR ? { GOCOVERDIR: process.env.GOCOVERDIR } : {}),
          HOME: home,
          XDG_DATA_HOME: join(home, "data"),
          XDG_CONFIG_HOME: join(home, "config"),
        },
      },
    );
    closeSync(log);
    this.child = child;
    process.on("exit", this.killNow);

    let exit: string | undefined;
    this.ended = new Promise((done) => {
      const finish = (how: string) => {
        exit = how;
        this.how = how;
        this.child = undefined;
        this.guard?.kill("SIGKILL");
        this.guard = undefined;
        process.off("exit", this.killNow);
        rmSync(this.pidPath, { force: true });
        done(how);
      };
      child.once("error", (error) => finish(String(error)));
      child.once("exit", (code, signal) => finish(signal ?? `exit code ${code}`));
    });
    if (child.pid !== undefined) {
      writeFileSync(this.pidPath, String(child.pid));
      this.guard = guardOf(child.pid);
    }

    try {
      await until(
        `an answer from ${this.baseUrl}`,
        async () => {
          if (exit) return true;
          const response = await fetch(`${this.baseUrl}/v1/stream/ready`, {
            method: "HEAD",
            signal: AbortSignal.timeout(2000),
          });
          return response.status < 500;
        },
        START_MS,
        20,
      );
      if (exit) throw new Error(`the server ended before it answered: ${exit}`);
      this.wanted = true;
    } catch (error) {
      await this.kill();
      throw withLog(error, this.logSince(0));
    }
  }

  async stop(): Promise<void> {
    this.assertAlive();
    this.wanted = false;
    const { child, ended } = this;
    if (!child || !ended) return;
    const from = this.logSize();
    child.kill("SIGTERM");
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, STOP_MS);
    const how = await ended;
    clearTimeout(timer);
    if (late) throw withLog(new Error(`the server did not stop within ${STOP_MS} ms of SIGTERM`), this.logSince(from));
    if (how !== "exit code 0") throw withLog(new Error(`the server stopped with ${how}`), this.logSince(from));
  }

  async kill(): Promise<void> {
    this.assertAlive();
    this.wanted = false;
    this.killNow();
    await this.ended;
  }

  assertAlive(): void {
    if (!this.wanted || this.child) return;
    throw withLog(new Error(`the server ended by itself: ${this.how}`), this.logSince(0));
  }

  private killNow = (): void => {
    this.child?.kill("SIGKILL");
  };

  async restart(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    await (signal === "SIGTERM" ? this.stop() : this.kill());
    await this.start();
  }

  logSize(): number {
    return statSync(this.logPath).size;
  }

  logSince(from: number): string {
    const text = readFileSync(this.logPath).subarray(from);
    return text.subarray(Math.max(0, text.length - 4096)).toString("utf8");
  }

  async dispose({ keep }: { keep: boolean }): Promise<void> {
    try {
      await this.stop();
      const log = readFileSync(this.logPath, "utf8");
      const bad = /panic|DATA RACE|fatal error/.exec(log);
      if (bad) {
        throw withLog(new Error(`the server's log tells of a ${bad[0]}`), log.slice(Math.max(0, bad.index - 500), bad.index + 4000));
      }
    } catch (error) {
      keep = true;
      throw error;
    } finally {
      if (keep) console.error(`kept ${this.dir}`);
      else rmSync(this.dir, { recursive: true, force: true });
    }
  }
}

function withLog(error: unknown, log: string): Error {
  const message = error instanceof Error ? error.message : String(error);
  return new Error(`${message}\n--- server log ---\n${log}--- end of log ---`, { cause: error });
}

/**
 * A process of its own session that kills pid when we are gone for whatever
 * reason: its standard input is a pipe whose other end only we hold.
 */
function guardOf(pid: number): ChildProcess {
  const guard = spawn("sh", ["-c", `read _; kill -9 ${pid} 2>/dev/null`], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  guard.on("error", () => {}); // No sh here: the exit hook and the sweep remain.
  guard.unref();
  return guard;
}

/**
 * A port outside the range from which the kernel takes ports for outgoing
 * connections: while the server is down, a client that retries must not get
 * the server's port as its own.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((done) => {
      const probe = createServer();
      probe.once("error", () => done(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => done(true)));
    });
    if (free) return port;
  }
}
