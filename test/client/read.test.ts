import { DurableStream, IdempotentProducer, type LiveMode, stream } from "@durable-streams/client";
import { describe, expect, test } from "vitest";
import { until } from "../support/poll.ts";
import { useServer } from "../support/server.ts";
import { Follower, Wire, create, errorOf, freshUrl, noise, range, readBytes, readJson, readText, sha256 } from "./support.ts";

const server = useServer();
const modes: LiveMode[] = ["long-poll", "sse"];

interface Event {
  kind: "tick" | "tock";
  n: number;
}

describe("catch-up", () => {
  test("each way to consume a session gives the same", async () => {
    const handle = await create(server.current, "application/json");
    const events: Event[] = range(30).map((n) => ({ kind: n % 2 ? "tock" : "tick", n }));
    await Promise.all(events.map((event) => handle.append(JSON.stringify(event))));
    const open = () => handle.stream<Event>({ live: false });

    expect(await (await open()).json()).toEqual(events);
    expect(JSON.parse(await (await open()).text())).toEqual(events);
    expect(JSON.parse(Buffer.from(await (await open()).body()).toString())).toEqual(events);
    const streamed: Event[] = [];
    for await (const event of (await open()).jsonStream()) streamed.push(event);
    expect(streamed).toEqual(events);
    let text = "";
    for await (const piece of (await open()).textStream()) text += piece;
    expect(JSON.parse(text)).toEqual(events);
    const pieces: Uint8Array[] = [];
    for await (const piece of (await open()).bodyStream()) pieces.push(piece);
    expect(JSON.parse(Buffer.concat(pieces).toString())).toEqual(events);
    const batched: Event[] = [];
    const session = await open();
    session.subscribeJson((batch) => void batched.push(...batch.items));
    await session.closed; // Fetched, not handed out yet.
    await until("the last batch", () => batched.length >= events.length);
    expect(batched).toEqual(events);
  });

  test("from every offset that the server gave out: exactly what came after it", async () => {
    const json = await create(server.current, "application/json");
    const bytes = await create(server.current, "application/octet-stream");
    const offsets: { json: string; bytes: string; n: number; size: number }[] = [];
    const all = noise(5050, "offsets");
    let size = 0;
    for (const n of range(25)) {
      const heads = await Promise.all([json.head(), bytes.head()]);
      offsets.push({ json: heads[0].exists ? heads[0].offset! : "", bytes: heads[1].exists ? heads[1].offset! : "", n: n * 2, size });
      await json.append(String(n * 2));
      await json.append(JSON.stringify(n * 2 + 1));
      await bytes.append(all.subarray(size, size + n * 8 + 1));
      size += n * 8 + 1;
    }
    for (const at of offsets) {
      expect(await readJson(json.url, at.json)).toEqual(range(50).slice(at.n));
      expect(sha256(await readBytes(bytes.url, at.bytes))).toBe(sha256(all.subarray(at.size, size)));
    }
    const given = offsets.map((at) => at.bytes);
    expect([...given].sort()).toEqual(given);
  });

  test("a large stream comes in pieces that join without a seam", async () => {
    const bytes = await create(server.current, "application/octet-stream");
    const pieces = range(24).map((i) => noise(512 * 1024 + i, i));
    for (const piece of pieces) await bytes.append(piece);
    const whole = sha256(Buffer.concat(pieces));
    expect(sha256(await readBytes(bytes.url))).toBe(whole);
    // Without live: false, the client follows the pieces up to the tail itself.
    expect(sha256(await (await bytes.stream()).body())).toBe(whole);

    const json = await create(server.current, "application/json");
    const producer = new IdempotentProducer(json, "filler", { maxInFlight: 4, maxBatchBytes: 256 * 1024 });
    const message = (n: number) => ({ n, pad: String(n).repeat(30) });
    for (const n of range(40_000)) producer.append(JSON.stringify(message(n)));
    await producer.flush();
    const read = await readJson<{ n: number }>(json.url);
    expect(read.length).toBe(40_000);
    expect(read).toEqual(range(40_000).map(message));
    expect(await (await json.stream()).json()).toEqual(read);
  });

  test("offset=now skips what is there", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.append("old");
    const response = await stream({ url: handle.url, offset: "now", live: false });
    expect(await response.text()).toBe("");
    await handle.append("new");
    expect(await readText(handle.url, response.offset)).toBe("new");
  });

  test("an offset that makes no sense is a 400", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.append("x");
    for (const offset of ["yesterday", "../1", "-2"]) {
      expect(await errorOf(stream({ url: handle.url, offset, live: false })), offset).toMatchObject({ status: 400 });
    }
  });

  test("a stream that never was is a 404", async () => {
    const url = freshUrl(server.current);
    expect(await DurableStream.head({ url })).toEqual({ exists: false });
    for (const live of [false, ...modes]) {
      expect(await errorOf(stream({ url, live }))).toMatchObject({ status: 404 });
    }
  });
});

describe.each(modes)("live by %s", (live) => {
  test("what is there, then what comes", async () => {
    const handle = await create(server.current, "application/json");
    for (const n of range(10)) await handle.append(String(n));
    const follower = Follower.json<number>(handle.url, { live });
    await follower.has(10);
    for (const n of range(40).slice(10)) await handle.append(String(n));
    await follower.has(40);
    expect(follower.items).toEqual(range(40));
    expect(follower.errors).toEqual([]);
    const head = await handle.head();
    expect(follower.offset).toBe(head.exists && head.offset);
  });

  test("one append at a time wakes the waiting reader each time", async () => {
    const handle = await create(server.current, "text/plain");
    const wire = new Wire();
    const follower = Follower.text(handle.url, { live, fetch: wire.fetch });
    await follower.caughtUp();
    await wire.sentLive(live);
    for (const n of range(25)) {
      await handle.append(`<${n}>`);
      await follower.has(n + 1);
    }
    expect(follower.items).toEqual(range(25).map((n) => `<${n}>`));
    expect(follower.errors).toEqual([]);
  });

  test("text with line breaks and letters of several bytes", async () => {
    const handle = await create(server.current, "text/plain");
    const pieces = ["one\ntwo\n", "\n\n", "data: not an event\n\nevent: control\n", "größe 日本 🌊", "trailing\n", " leading"];
    const follower = Follower.text(handle.url, { live });
    await follower.caughtUp();
    for (const [i, piece] of pieces.entries()) {
      await handle.append(piece);
      await follower.has(i + 1);
    }
    expect(follower.items.join("")).toBe(pieces.join(""));
    expect(await readText(handle.url)).toBe(pieces.join(""));
  });

  test("bytes, with every value and every length", async () => {
    const handle = await create(server.current, "application/octet-stream");
    const before = noise(1000, "before");
    await handle.append(before);
    const follower = Follower.bytes(handle.url, { live });
    await follower.hasBytes(1000);
    let sent = before;
    for (const n of range(48)) {
      const piece = n === 0 ? Uint8Array.from(range(256)) : noise(n, n);
      await handle.append(piece);
      sent = Buffer.concat([sent, piece]);
    }
    await follower.hasBytes(sent.length);
    expect(Buffer.concat(follower.items).equals(sent)).toBe(true);
    expect(follower.errors).toEqual([]);
  });

  test("a large append reaches a waiting reader whole", async () => {
    const handle = await create(server.current, "application/octet-stream");
    const wire = new Wire();
    const follower = Follower.bytes(handle.url, { live, fetch: wire.fetch });
    await follower.caughtUp();
    await wire.sentLive(live);
    const large = noise(5 * 1024 * 1024 + 1, "large");
    await handle.append(large);
    await follower.hasBytes(large.length);
    expect(sha256(Buffer.concat(follower.items))).toBe(sha256(large));
  });

  test("JSON batches: messages of one request, typed and in order", async () => {
    const handle = await create(server.current, "application/json");
    const follower = Follower.json<Event>(handle.url, { live });
    await follower.caughtUp();
    const events: Event[] = range(60).map((n) => ({ kind: n % 2 ? "tock" : "tick", n }));
    await Promise.all(events.map((event) => handle.append(JSON.stringify(event))));
    await follower.has(60);
    expect(follower.items).toEqual(events);
  });

  test("a reader that stopped goes on where it was", async () => {
    const handle = await create(server.current, "application/json");
    const seen: number[] = [];
    let from = "-1";
    for (const round of range(5)) {
      const follower = Follower.json<number>(handle.url, { live, from });
      for (const n of range(6)) await handle.append(String(round * 10 + n));
      await follower.has(6);
      await follower.stop();
      seen.push(...follower.items);
      from = follower.offset;
      for (const n of range(4)) await handle.append(String(round * 10 + 6 + n)); // While nobody reads.
      seen.push(...(await readJson<number>(handle.url, from)));
      const head = await handle.head();
      from = head.exists ? head.offset! : "";
    }
    expect(seen).toEqual(range(50));
  });

  test("offset=now sees only what comes", async () => {
    const handle = await create(server.current, "application/json");
    await handle.append('"old"');
    const wire = new Wire();
    const follower = Follower.json<string>(handle.url, { live, from: "now", fetch: wire.fetch });
    await follower.caughtUp();
    await handle.append('"new"');
    await follower.has(1);
    expect(follower.items).toEqual(["new"]);
  });

  test("a writer in a hurry: nothing lost, nothing twice", async () => {
    const handle = await create(server.current, "application/json");
    const follower = Follower.json<number>(handle.url, { live });
    const producer = new IdempotentProducer(handle, "hurry", { maxInFlight: 5, maxBatchBytes: 1 });
    for (const n of range(600)) producer.append(String(n));
    await producer.flush();
    await follower.has(600);
    expect(follower.items).toEqual(range(600));
    expect(follower.errors).toEqual([]);
  });
});

test("forty readers of both kinds see the same", async () => {
  const handle = await create(server.current, "application/json");
  const readers = range(40).map((i) => Follower.json<number>(handle.url, { live: modes[i % 2]! }));
  await Promise.all(readers.map((reader) => reader.caughtUp()));
  for (const n of range(50)) await handle.append(String(n));
  await Promise.all(readers.map((reader) => reader.has(50)));
  for (const reader of readers) expect(reader.items).toEqual(range(50));
});

test("jsonStream of a live session hands out messages as they come", async () => {
  const handle = await create(server.current, "application/json");
  const session = await handle.stream<Event>({ live: "sse" });
  const reader = session.jsonStream().getReader();
  for (const n of range(10)) {
    await handle.append(JSON.stringify({ kind: "tick", n }));
    expect(await reader.read()).toEqual({ done: false, value: { kind: "tick", n } });
  }
  session.cancel();
});

test("an SSE answer of a byte stream says that it is base64, of text and JSON not", async () => {
  for (const [type, encoding] of [
    ["application/octet-stream", "base64"],
    ["image/png", "base64"],
    ["text/plain", null],
    ["application/json", null],
  ] as const) {
    const handle = await create(server.current, type);
    await handle.close();
    const response = await fetch(`${handle.url}?offset=-1&live=sse`);
    expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(response.headers.get("stream-sse-data-encoding"), type).toBe(encoding);
    expect(await response.text()).toContain('"streamClosed":true');
  }
});
