import { setImmediate as tick } from "node:timers/promises";
import { DurableStream, IdempotentProducer, type LiveMode, StaleEpochError } from "@durable-streams/client";
import { describe, expect, test } from "vitest";
import { until } from "../support/poll.ts";
import { durable, useServer } from "../support/server.ts";
import { Follower, Wire, cleanup, create, freshUrl, noise, path, persistent, range, readBytes, readJson, readText } from "./support.ts";

const server = useServer();
type Signal = "SIGKILL" | "SIGTERM";
const signals: Signal[] = ["SIGKILL", "SIGTERM"];
const modes: LiveMode[] = ["long-poll", "sse"];

/** Writes item 0, 1, 2 … as fast as the server takes them, until finish(). */
class Writer {
  readonly wire = new Wire();
  readonly errors: Error[] = [];
  /** How many items were handed to the producer. */
  sent = 0;
  private writing = true;
  private readonly abort = new AbortController();
  private readonly producer: IdempotentProducer;
  private readonly loop: Promise<void>;

  constructor(
    handle: DurableStream,
    private readonly encode: (n: number) => string | Uint8Array,
    id = "writer",
  ) {
    this.producer = new IdempotentProducer(handle, id, {
      autoClaim: true,
      maxInFlight: 5,
      maxBatchBytes: 1, // Each item is a request.
      lingerMs: 0,
      fetch: persistent(this.wire.fetch),
      onError: (error) => this.errors.push(error),
      signal: this.abort.signal,
    });
    this.loop = this.run();
    cleanup(() => {
      this.writing = false;
      this.abort.abort();
    });
  }

  private async run(): Promise<void> {
    this.producer.append(this.encode(this.sent++));
    await this.producer.flush(); // The first request claims the epoch alone.
    while (this.writing && this.errors.length === 0) {
      if (this.producer.inFlightCount < 8) this.producer.append(this.encode(this.sent++));
      await tick();
    }
  }

  /** Resolves while a request is on its way. */
  async busy(): Promise<void> {
    await until("a request in flight", () => this.wire.inFlight > 0, 10_000, 0);
  }

  /** Closes the stream with one last item. */
  async finish(): Promise<void> {
    await this.stop();
    await this.producer.close(this.encode(this.sent++));
  }

  /** Ends writing; resolves when every item is acknowledged. */
  async stop(): Promise<void> {
    this.writing = false;
    await this.loop;
    await this.producer.flush();
  }
}

describe.runIf(durable)("the server ends and comes back", () => {
  for (const live of modes) {
    for (const signal of signals) {
      test(`JSON, read by ${live}, ${signal}: nothing lost, nothing twice`, async () => {
        const handle = await create(server.current, "application/json");
        const follower = Follower.json<{ n: number }>(handle.url, { live });
        const writer = new Writer(handle, (n) => JSON.stringify({ n }));
        for (const round of range(2)) {
          await follower.has(follower.items.length + 120);
          await writer.busy();
          const failures = writer.wire.failures;
          await server.current.restart(signal);
          expect(writer.wire.failures, `attempts that failed in round ${round}`).toBeGreaterThan(failures);
        }
        await follower.has(follower.items.length + 120);
        await writer.finish();
        await follower.ended();
        expect(writer.errors).toEqual([]);
        const expected = range(writer.sent).map((n) => ({ n }));
        expect(follower.items).toEqual(expected);
        expect(await readJson(handle.url)).toEqual(expected);
        // After a clean stop the client finds its way back by itself.
        if (signal === "SIGTERM") expect(follower.errors).toEqual([]);
      });

      test(`bytes, read by ${live}, ${signal}: nothing lost, nothing twice`, async () => {
        const handle = await create(server.current, "application/octet-stream");
        const piece = (n: number) => noise(20 + (n % 50), n);
        const follower = Follower.bytes(handle.url, { live });
        const writer = new Writer(handle, piece);
        for (const _ of range(2)) {
          const have = Buffer.concat(follower.items).length;
          await follower.hasBytes(have + 4000);
          await writer.busy();
          await server.current.restart(signal);
        }
        await follower.hasBytes(Buffer.concat(follower.items).length + 4000);
        await writer.finish();
        await follower.ended();
        expect(writer.errors).toEqual([]);
        const expected = Buffer.concat(range(writer.sent).map(piece));
        expect(Buffer.concat(follower.items).equals(expected)).toBe(true);
        expect(Buffer.from(await readBytes(handle.url)).equals(expected)).toBe(true);
      });
    }
  }

  test("thirty streams and a shared one, killed three times under load", async () => {
    const handles = await Promise.all(
      range(30).map(() =>
        create(server.current, "application/json"),
      ),
    );
    const shared = handles[0]!;
    const writers = handles.map((handle) => new Writer(handle, (n) => JSON.stringify({ id: "own", n }), "own"));
    const guests = range(5).map((g) => new Writer(shared, (n) => JSON.stringify({ id: `g${g}`, n }), `g${g}`));
    const all = [...writers, ...guests];
    for (const round of range(3)) {
      const target = (round + 1) * 15;
      await until("progress of every writer", () => all.every((writer) => writer.wire.count("POST") - writer.wire.failures > target));
      await server.current.restart("SIGKILL");
    }
    await Promise.all(all.map((writer) => writer.stop()));
    for (const [i, handle] of handles.entries()) {
      const items = await readJson<{ id: string; n: number }>(handle.url);
      const mine = (id: string) => items.filter((item) => item.id === id).map((item) => item.n);
      expect(mine("own"), `stream ${i}`).toEqual(range(writers[i]!.sent));
      if (handle !== shared) expect(items.length).toBe(writers[i]!.sent);
      else for (const g of range(5)) expect(mine(`g${g}`), `guest ${g}`).toEqual(range(guests[g]!.sent));
    }
    for (const writer of all) expect(writer.errors).toEqual([]);
  });

  test("appends without a producer: what was acknowledged before SIGKILL is there, once", async () => {
    const handle = await create(server.current, "application/json");
    const acknowledged = new Set<string>();
    const sent = new Set<string>();
    let writing = true;
    const writers = range(12).map(async (w) => {
      for (let n = 0; writing; n++) {
        const id = `${w}.${n}`;
        sent.add(id);
        try {
          const response = await fetch(handle.url, {
            method: "POST",
            body: JSON.stringify(id),
            headers: { "content-type": "application/json" },
          });
          if (response.ok) acknowledged.add(id);
        } catch {
          return; // Killed; whether this one arrived is unknown.
        }
      }
    });
    await until("200 acknowledged appends", () => acknowledged.size >= 200, 10_000, 0);
    await server.current.kill();
    writing = false;
    await Promise.all(writers);
    await server.current.start();
    const items = await readJson<string>(handle.url);
    expect(new Set(items).size).toBe(items.length);
    expect([...acknowledged].filter((id) => !items.includes(id))).toEqual([]);
    expect(items.filter((id) => !sent.has(id))).toEqual([]);
  });

  test.each(signals)("everything that a stream knows survives %s", async (signal) => {
    const post = (url: string, body: string, headers: Record<string, string>) =>
      fetch(url, { method: "POST", body, headers: { "content-type": "text/plain", ...headers } });
    const producer = (epoch: number, seq: number) => ({
      "producer-id": "p",
      "producer-epoch": String(epoch),
      "producer-seq": String(seq),
    });

    const closed = await create(server.current, "text/plain", { body: "closed" });
    await closed.close({ body: "!" });
    const empty = await create(server.current, "application/json");
    const sequenced = await create(server.current, "text/plain");
    await sequenced.append("a", { seq: "5" });
    const produced = await create(server.current, "text/plain");
    for (const seq of range(3)) expect((await post(produced.url, `${seq}`, producer(2, seq))).status).toBe(200);
    const endedByProducer = await create(server.current, "text/plain");
    expect((await post(endedByProducer.url, "end", { ...producer(0, 0), "stream-closed": "true" })).status).toBe(200);
    const source = await create(server.current, "text/plain", { body: "inherited " });
    const { url: forkUrl } = await create(server.current, undefined, { headers: { "stream-forked-from": path(source.url) } });
    await new DurableStream({ url: forkUrl, contentType: "text/plain" }).append("own");
    await source.delete();
    const deleted = await create(server.current, "text/plain", { body: "x" });
    await deleted.delete();
    const lasting = await create(server.current, "text/plain", { body: "ttl", ttlSeconds: 3600 });
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const dated = await create(server.current, "text/plain", { body: "deadline", expiresAt });
    const brief = await create(server.current, "text/plain", { body: "brief", ttlSeconds: 1 });
    const briefSince = Date.now();
    const odd = await create(server.current, "text/plain", { url: `${freshUrl(server.current)}//grö%C3%9Fe%20%252F`, body: "odd" });
    const tails = new Map<string, unknown>();
    const kept = [closed, empty, sequenced, produced, endedByProducer, lasting, dated, odd];
    for (const handle of kept) tails.set(handle.url, await handle.head());

    if (signal === "SIGKILL") await server.current.kill();
    else await server.current.stop();
    await until("a TTL to pass while the server is down", () => Date.now() > briefSince + 1500);
    await server.current.start();

    // Expired while the server was down: never seen again.
    expect((await fetch(brief.url)).status).toBe(404);
    for (const handle of kept) {
      const { etag: _, ...before } = tails.get(handle.url) as Record<string, unknown>;
      expect(await handle.head(), handle.url).toMatchObject(before);
    }
    expect(await readText(closed.url)).toBe("closed!");
    expect((await post(closed.url, "late", {})).status).toBe(409);
    expect(await readJson(empty.url)).toEqual([]);
    expect((await post(sequenced.url, "no", { "stream-seq": "5" })).status).toBe(409);
    expect((await post(sequenced.url, "b", { "stream-seq": "6" })).ok).toBe(true);
    expect(await readText(sequenced.url)).toBe("ab");

    expect((await post(produced.url, "2", producer(2, 2))).status).toBe(204);
    expect((await post(produced.url, "zombie", producer(1, 0))).status).toBe(403);
    const gap = await post(produced.url, "gap", producer(2, 5));
    expect([gap.status, gap.headers.get("producer-expected-seq")]).toEqual([409, "3"]);
    expect((await post(produced.url, "3", producer(2, 3))).status).toBe(200);
    expect(await readText(produced.url)).toBe("0123");
    const again = await post(endedByProducer.url, "end", { ...producer(0, 0), "stream-closed": "true" });
    expect([again.status, again.headers.get("stream-closed")]).toEqual([204, "true"]);
    expect(await readText(endedByProducer.url)).toBe("end");

    expect(await readText(forkUrl)).toBe("inherited own");
    expect((await fetch(source.url)).status).toBe(410);
    expect((await fetch(deleted.url)).status).toBe(404);
    expect((await fetch(lasting.url, { method: "HEAD" })).headers.get("stream-ttl")).toBe("3600");
    expect(Date.parse((await fetch(dated.url, { method: "HEAD" })).headers.get("stream-expires-at") ?? "")).toBe(
      Date.parse(expiresAt),
    );
    expect(await readText(odd.url)).toBe("odd");
  });

  test.each(signals)("a producer that claims after %s goes on from the stored epoch", async (signal) => {
    const handle = await create(server.current, "text/plain");
    const errors: Error[] = [];
    const first = new IdempotentProducer(handle, "id", { epoch: 1, onError: (error) => errors.push(error) });
    first.append("first ");
    await first.flush();
    await server.current.restart(signal);
    const second = new IdempotentProducer(handle, "id", { autoClaim: true });
    second.append("second");
    await second.flush();
    expect(second.epoch).toBe(2);
    await server.current.restart(signal);
    first.append("zombie");
    await first.flush();
    expect(errors).toEqual([expect.any(StaleEpochError)]);
    expect(await readText(handle.url)).toBe("first second");
  });

  test.each(modes)("a reader that waits by %s while the server restarts sees what comes then", async (live) => {
    const handle = await create(server.current, "application/json");
    await handle.append('"before"');
    for (const signal of signals) {
      const wire = new Wire();
      const follower = Follower.json<string>(handle.url, { live, from: "now", fetch: wire.fetch });
      await follower.caughtUp();
      await wire.sentLive(live);
      await server.current.restart(signal);
      await handle.append(JSON.stringify(signal));
      await follower.has(1);
      expect(follower.items).toEqual([signal]);
      await follower.stop();
    }
    expect(await readJson(handle.url)).toEqual(["before", ...signals]);
  });

  test("a clean stop is quick, however many readers wait", async () => {
    const handle = await create(server.current, "text/plain");
    const followers = range(30).map((i) => Follower.text(handle.url, { live: modes[i % 2]! }));
    await Promise.all(followers.map((follower) => follower.caughtUp()));
    await server.current.stop(); // It throws when the readers hold the server.
    await server.current.start();
    await handle.append("after");
    await Promise.all(followers.map((follower) => follower.has(1)));
    for (const follower of followers) expect(follower.items).toEqual(["after"]);
  });
});
