import { createHash } from "node:crypto";

/** How many of the settled streams are compared again at each restart. */
const SAMPLE = 200;

/** What a reader can learn of a stream, or why it cannot. */
type Snapshot = Record<string, string | number | null>;

/**
 * Notes every stream that passes through the global fetch as created, and
 * reads them all on demand. It observes; it changes no request and no answer.
 */
export class StreamLedger {
  private readonly fetch = globalThis.fetch;
  private readonly fresh = new Set<string>();
  private readonly settled: string[] = [];
  /** Streams that vanish by themselves. */
  private readonly mortal = new Set<string>();
  private sample: string[] = [];

  constructor() {
    globalThis.fetch = async (...args) => {
      const response = await this.fetch(...args);
      const [input, init] = args;
      if (init?.method === "PUT" && response.status === 201) {
        const url = input instanceof Request ? input.url : String(input);
        this.fresh.add(url);
        const headers = new Headers(init.headers);
        if (headers.has("stream-ttl") || headers.has("stream-expires-at")) this.mortal.add(url);
      }
      return response;
    };
  }

  close(): void {
    globalThis.fetch = this.fetch;
  }

  /**
   * Reads the streams created since settle() and a sample of the older ones,
   * the same sample until the next settle().
   */
  async read(): Promise<Record<string, Snapshot>> {
    const all: Record<string, Snapshot> = {};
    for (const url of [...this.fresh, ...this.sample]) {
      if (this.mortal.has(url)) continue;
      const snapshot = await this.snapshot(url);
      if (this.mortal.has(url)) continue; // A fork that inherited its expiry.
      all[new URL(url).pathname] = snapshot;
    }
    return all;
  }

  /** Moves the fresh streams to the older ones and draws a new sample. */
  settle(): void {
    this.settled.push(...this.fresh);
    this.fresh.clear();
    this.sample = [...this.settled].sort(() => Math.random() - 0.5).slice(0, SAMPLE);
  }

  private async snapshot(url: string): Promise<Snapshot> {
    const head = await this.fetch(url, { method: "HEAD" });
    // The data of a soft-deleted stream may be collected at any time.
    if (head.status === 404 || head.status === 410) return { status: "gone" };
    if (head.headers.has("stream-ttl") || head.headers.has("stream-expires-at")) this.mortal.add(url);

    const hash = createHash("sha256");
    const json = head.headers.get("content-type")?.startsWith("application/json");
    let offset = "-1";
    let bytes = 0;
    let closed: string | null;
    for (;;) {
      const response = await this.fetch(`${url}?offset=${offset}`);
      if (response.status !== 200) return { status: response.status };
      // The pieces in which a server hands out a stream are its own business.
      const body = json
        ? ((await response.json()) as unknown[]).map((message) => `${JSON.stringify(message)}\n`).join("")
        : new Uint8Array(await response.arrayBuffer());
      hash.update(body);
      bytes += body.length;
      offset = response.headers.get("stream-next-offset") ?? "none";
      closed = response.headers.get("stream-closed");
      if (response.headers.has("stream-up-to-date")) break;
    }
    return {
      status: head.status,
      contentType: head.headers.get("content-type"),
      tail: head.headers.get("stream-next-offset"),
      closedAtHead: head.headers.get("stream-closed"),
      offset,
      closed,
      bytes,
      hash: hash.digest("hex"),
    };
  }
}
