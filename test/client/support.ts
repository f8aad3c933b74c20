import { createHash, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  type CreateOptions,
  DurableStream,
  type JsonBatchMeta,
  type LiveMode,
  type Offset,
  type StreamResponse,
  stream,
} from "@durable-streams/client";
import { afterEach } from "vitest";
import type { Server } from "../support/launcher.ts";
import { until } from "../support/poll.ts";

/** The client's own default waits up to a minute between two attempts. */
export const backoffOptions = { initialDelay: 20, maxDelay: 200, multiplier: 1.5 };

/** A URL that no other test uses. */
export function freshUrl(server: Server, name = "stream"): string {
  return `${server.baseUrl}/v1/stream/client/${name}/${randomUUID()}`;
}

/** Creates a stream with a name of its own, unless options name one. */
export async function create(
  server: Server,
  contentType?: string,
  options: Partial<CreateOptions> = {},
): Promise<DurableStream> {
  const handle = new DurableStream({ url: freshUrl(server), contentType, backoffOptions, ...options });
  await handle.create(options);
  return handle;
}

export const path = (url: string): string => new URL(url).pathname;

/** The whole numbers from 0 up to, but not including, n. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** n bytes that look random, the same for the same seed. */
export function noise(n: number, seed: string | number): Uint8Array {
  const out = new Uint8Array(n);
  for (let at = 0, i = 0; at < n; at += 32, i++) {
    const block = createHash("sha256").update(`${seed}/${i}`).digest();
    out.set(block.subarray(0, Math.min(32, n - at)), at);
  }
  return out;
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const cleanups: (() => unknown)[] = [];
/** Registers what stops a test's reader or writer, however the test ends. */
export function cleanup(stop: () => unknown): void {
  cleanups.push(stop);
}
afterEach(async () => {
  await Promise.all(cleanups.splice(0).map((stop) => stop()));
});

/** What went through one fetch function. */
export class Wire {
  /** Every attempt, in the order of sending. */
  readonly requests: { method: string; url: string; live: string | null }[] = [];
  /** Attempts that brought no answer, or one with a 5xx. */
  failures = 0;
  inFlight = 0;
  /** The most requests that were in flight at once. */
  peak = 0;

  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    this.requests.push({
      method: init?.method ?? "GET",
      url,
      live: new URL(url).searchParams.get("live"),
    });
    this.inFlight++;
    this.peak = Math.max(this.peak, this.inFlight);
    try {
      const response = await globalThis.fetch(input, init);
      if (response.status >= 500) this.failures++;
      return response;
    } catch (error) {
      this.failures++;
      throw error;
    } finally {
      this.inFlight--;
    }
  };

  count(method: string): number {
    return this.requests.filter((request) => request.method === method).length;
  }

  /** Resolves once a live request of the given mode has been sent. */
  async sentLive(mode: LiveMode): Promise<void> {
    await until(`a live=${mode} request`, () => this.requests.some((request) => request.live === mode));
  }
}

/**
 * A fetch that repeats a request until it is answered by something else than a
 * 5xx. An IdempotentProducer needs one: it numbers its requests, and leaves it
 * to its fetch to send them again.
 */
export function persistent(fetch: typeof globalThis.fetch, deadlineMs = 20_000): typeof globalThis.fetch {
  return async (input, init) => {
    const end = Date.now() + deadlineMs;
    for (;;) {
      let failure: unknown;
      try {
        const response = await fetch(input, init);
        if (response.status < 500) return response;
        failure = new Error(`status ${response.status}: ${await response.text()}`);
      } catch (error) {
        failure = error;
      }
      if (init?.signal?.aborted || Date.now() > end) throw failure;
      await delay(10 + Math.random() * 20);
    }
  };
}

interface FollowOptions {
  live: LiveMode;
  from?: Offset;
  fetch?: typeof globalThis.fetch;
}

/**
 * A reader that follows a stream until its end or until stop(). When a session
 * of the client breaks, it opens the next one where the last batch ended, as
 * an application would.
 */
export class Follower<T> {
  /** What arrived, in order. */
  readonly items: T[] = [];
  /** Where the last batch ended. */
  offset: Offset;
  /** Whether a batch has said that nothing more is stored. */
  upToDate = false;
  /** Whether the stream's end was seen. */
  closed = false;
  /** Why sessions broke. */
  readonly errors: Error[] = [];
  /** How many sessions were opened. */
  sessions = 0;
  /** Resolves when the follower has ended; rejects after a 4xx. */
  readonly done: Promise<void>;
  private readonly abort = new AbortController();

  /** Follows a JSON stream message by message. */
  static json<T>(url: string, options: FollowOptions): Follower<T> {
    return new Follower<T>(url, options, (response, take) =>
      response.subscribeJson<T>((batch) => take(batch.items, batch)),
    );
  }

  /** Follows a stream of bytes; the items are the pieces that arrive. */
  static bytes(url: string, options: FollowOptions): Follower<Uint8Array> {
    return new Follower<Uint8Array>(url, options, (response, take) =>
      response.subscribeBytes((chunk) => take(chunk.data.length > 0 ? [chunk.data] : [], chunk)),
    );
  }

  /** Follows a stream of text; the items are the pieces that arrive. */
  static text(url: string, options: FollowOptions): Follower<string> {
    return new Follower<string>(url, options, (response, take) =>
      response.subscribeText((chunk) => take(chunk.text ? [chunk.text] : [], chunk)),
    );
  }

  private constructor(
    private readonly url: string,
    private readonly options: FollowOptions,
    private readonly subscribe: (
      response: StreamResponse,
      take: (items: readonly T[], meta: JsonBatchMeta) => void,
    ) => void,
  ) {
    this.offset = options.from ?? "-1";
    this.done = this.run();
    this.done.catch(() => {}); // Whoever awaits it still sees it.
    cleanup(() => this.stop());
  }

  private async run(): Promise<void> {
    let current = 0;
    while (!this.closed && !this.abort.signal.aborted) {
      if (++this.sessions > 200) throw new Error("200 sessions are too many");
      current = this.sessions;
      try {
        const response = await stream({
          url: this.url,
          offset: this.offset,
          live: this.options.live,
          fetch: this.options.fetch,
          signal: this.abort.signal,
          backoffOptions,
        });
        const session = this.sessions;
        this.subscribe(response, (items, meta) => {
          // What a broken session still hands out, the next one reads again.
          if (session !== current) return;
          this.items.push(...items);
          this.offset = meta.offset;
          this.upToDate ||= meta.upToDate;
          this.closed ||= meta.streamClosed;
        });
        await response.closed;
        // The client says so when it has fetched the end, not when it has
        // handed it out; and an SSE control event need not come as a batch.
        await until("the last batch", () => this.offset === response.offset, 2000).catch(() => {});
        this.closed ||= response.streamClosed;
      } catch (error) {
        current = 0;
        if (this.abort.signal.aborted) return;
        this.errors.push(error as Error);
        const status = (error as { status?: number }).status;
        if (status !== undefined && status >= 400 && status < 500) throw error;
        await delay(10);
      }
    }
  }

  /** Resolves once n items are there. */
  async has(n: number): Promise<void> {
    await until(
      () => `${n} items of ${path(this.url)} by ${String(this.options.live)} (${this.items.length} came; ${this.describe()})`,
      () => this.items.length >= n,
      20_000,
    );
  }

  /** Resolves once n bytes are there, for a follower of bytes. */
  async hasBytes(n: number): Promise<void> {
    await until(
      () => `${n} bytes of ${path(this.url)} by ${String(this.options.live)} (${this.describe()})`,
      () => Buffer.concat(this.items as Uint8Array[]).length >= n,
      20_000,
    );
  }

  /** Resolves once the reader has everything that was stored. */
  async caughtUp(): Promise<void> {
    await until(() => `the tail of ${path(this.url)} (${this.describe()})`, () => this.upToDate);
  }

  /** Resolves at the stream's end. */
  async ended(): Promise<void> {
    await Promise.race([
      this.done,
      until(() => `the end of ${path(this.url)} by ${String(this.options.live)} (${this.describe()})`, () => this.closed, 20_000).then(
        () => this.done,
      ),
    ]);
  }

  async stop(): Promise<void> {
    this.abort.abort();
    await this.done.catch(() => {});
  }

  private describe(): string {
    return `offset ${this.offset}, ${this.sessions} sessions, errors: ${this.errors.map(String).join("; ") || "none"}`;
  }
}

/**
 * Calls take with one session after the other, until all that a stream holds
 * now was read. A session with live: false is one request, however large the
 * stream; the server decides how much it answers at once.
 */
async function catchUp<T>(
  url: string,
  offset: Offset,
  take: (session: StreamResponse<T>) => Promise<unknown>,
): Promise<void> {
  for (;;) {
    const session = await stream<T>({ url, offset, live: false, backoffOptions });
    await take(session);
    if (session.upToDate) return;
    if (session.offset === offset) throw new Error(`${url} does not go on after ${offset}`);
    offset = session.offset;
  }
}

/** The messages that a stream holds now, from its start or after an offset. */
export async function readJson<T>(url: string, offset: Offset = "-1"): Promise<T[]> {
  const pieces: T[][] = [];
  await catchUp<T>(url, offset, async (session) => pieces.push(await session.json()));
  return pieces.flat(1) as T[];
}

/** The bytes that a stream holds now, from its start or after an offset. */
export async function readBytes(url: string, offset: Offset = "-1"): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  await catchUp(url, offset, async (session) => pieces.push(await session.body()));
  return Buffer.concat(pieces);
}

/** The text that a stream holds now, from its start or after an offset. */
export async function readText(url: string, offset: Offset = "-1"): Promise<string> {
  return new TextDecoder().decode(await readBytes(url, offset));
}

/** The error that a promise rejects with. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`expected an error, got ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );
}
