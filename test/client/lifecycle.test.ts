import { DurableStream, FetchError, IdempotentProducer, type LiveMode, stream } from "@durable-streams/client";
import { describe, expect, test } from "vitest";
import { until } from "../support/poll.ts";
import { useServer } from "../support/server.ts";
import { Follower, Wire, backoffOptions, create, errorOf, freshUrl, noise, path, range, readBytes, readJson, readText, sha256 } from "./support.ts";

const server = useServer();
/** The client has no call for a fork; it is a create with these headers. */
async function fork(source: string, headers: Record<string, string> = {}): Promise<DurableStream> {
  const { url } = await create(server.current, undefined, { headers: { "stream-forked-from": path(source), ...headers } });
  const handle = new DurableStream({ url, backoffOptions });
  await handle.head(); // It learns the content type.
  return handle;
}
const tailOf = async (handle: DurableStream): Promise<string> => {
  const head = await handle.head();
  if (!head.exists || !head.offset) throw new Error(`${handle.url} has no tail`);
  return head.offset;
};
const status = (url: string, method: string, headers: Record<string, string> = {}) =>
  fetch(url, { method, headers }).then((response) => response.status);

describe("delete", () => {
  test("a deleted stream is a 404 for every operation", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.append("gone soon");
    await handle.delete();
    expect(await handle.head()).toEqual({ exists: false });
    for (const attempt of [
      () => stream({ url: handle.url, live: false, backoffOptions }),
      () => stream({ url: handle.url, live: "long-poll", backoffOptions }),
      () => stream({ url: handle.url, live: "sse", backoffOptions }),
      () => handle.append("x"),
      () => handle.close(),
      () => handle.delete(),
    ]) {
      const error = await errorOf(attempt());
      expect(error, attempt.toString()).toBeInstanceOf(FetchError);
      expect(error, attempt.toString()).toMatchObject({ status: 404 });
    }
  });

  test("its name can be used again, and nothing of the old stream shines through", async () => {
    const handle = await create(server.current, "text/plain");
    const producer = new IdempotentProducer(handle, "p", { epoch: 7 });
    producer.append("old");
    await producer.flush();
    await handle.append(" seq", { seq: "9" });
    await handle.close();
    await handle.delete();
    const again = await DurableStream.create({ url: handle.url, contentType: "application/json" });
    expect(await readJson(again.url)).toEqual([]);
    await again.append("1", { seq: "1" });
    const errors: Error[] = [];
    const fresh = new IdempotentProducer(again, "p", { onError: (error) => errors.push(error) });
    fresh.append("2");
    await fresh.flush();
    expect(errors).toEqual([]);
    expect(await readJson(again.url)).toEqual([1, 2]);
    expect(await again.head()).toMatchObject({ contentType: "application/json", streamClosed: false });
  });

  test("a reader that waits by long-poll gets the 404", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.append("x");
    const wire = new Wire();
    const follower = Follower.text(handle.url, { live: "long-poll", fetch: wire.fetch });
    await follower.has(1);
    await wire.sentLive("long-poll");
    await handle.delete();
    await until("the follower's end", () => follower.errors.length > 0);
    expect(await errorOf(follower.done)).toMatchObject({ status: 404 });
    expect(follower.items).toEqual(["x"]);
  });
});

describe("expiry", () => {
  const gone = (handle: DurableStream) =>
    until(`the expiry of ${handle.url}`, async () => !(await handle.head()).exists, 15_000, 50);

  test("a stream with a TTL that nobody uses vanishes", async () => {
    const handle = await create(server.current, "text/plain", { ttlSeconds: 2, body: "brief" });
    expect(await handle.head()).toMatchObject({ exists: true });
    expect(await readText(handle.url)).toBe("brief");
    await gone(handle);
    expect(await errorOf(stream({ url: handle.url, live: false, backoffOptions }))).toMatchObject({ status: 404 });
    expect(await errorOf(handle.append("x"))).toMatchObject({ status: 404 });
  });

  test("a stream with a deadline vanishes, used or not", async () => {
    const deadline = Date.now() + 2000;
    const handle = await create(server.current, "text/plain", { expiresAt: new Date(deadline).toISOString(), body: "brief" });
    expect(await readText(handle.url)).toBe("brief");
    await until(
      "the expiry of a stream in use",
      async () => (await fetch(handle.url)).status === 404 && Date.now() >= deadline,
      15_000,
      50,
    );
    expect(await handle.head()).toEqual({ exists: false });
  });

  test("its name can be used again", async () => {
    const handle = await create(server.current, "text/plain", { ttlSeconds: 1, body: "old" });
    await gone(handle);
    await DurableStream.create({ url: handle.url, contentType: "application/json", body: "[1]" });
    expect(await readJson(handle.url)).toEqual([1]);
  });

  test("HEAD tells the TTL and the deadline", async () => {
    const ttl = await create(server.current, "text/plain", { ttlSeconds: 3600 });
    expect((await fetch(ttl.url, { method: "HEAD" })).headers.get("stream-ttl")).toBe("3600");
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const deadline = await create(server.current, "text/plain", { expiresAt });
    const told = (await fetch(deadline.url, { method: "HEAD" })).headers.get("stream-expires-at");
    expect(Date.parse(told ?? "")).toBe(Date.parse(expiresAt));
  });
});

describe("fork", () => {
  test("at the tail by default; both sides go their own way", async () => {
    const source = await create(server.current, "application/json");
    for (const n of range(5)) await source.append(String(n));
    const branch = await fork(source.url);
    expect(await readJson(branch.url)).toEqual([0, 1, 2, 3, 4]);
    await source.append('"source"');
    await branch.append('"branch"');
    expect(await readJson(source.url)).toEqual([0, 1, 2, 3, 4, "source"]);
    expect(await readJson(branch.url)).toEqual([0, 1, 2, 3, 4, "branch"]);
  });

  test("at any offset; offsets before it are those of the source", async () => {
    const source = await create(server.current, "application/octet-stream");
    const tails: string[] = [];
    const pieces = range(6).map((i) => noise(50 + i, i));
    for (const piece of pieces) {
      await source.append(piece);
      tails.push(await tailOf(source));
    }
    for (const i of range(6)) {
      const branch = await fork(source.url, { "stream-fork-offset": tails[i]! });
      expect(await tailOf(branch)).toBe(tails[i]);
        await branch.append(new Uint8Array([9, 9, i]));
      const expected = Buffer.concat([...pieces.slice(0, i + 1), new Uint8Array([9, 9, i])]);
      expect(sha256(await readBytes(branch.url))).toBe(sha256(expected));
      for (const j of range(i + 1)) {
        const rest = Buffer.concat([...pieces.slice(j + 1, i + 1), new Uint8Array([9, 9, i])]);
        expect(sha256(await readBytes(branch.url, tails[j])), `${i} from ${j}`).toBe(sha256(rest));
      }
    }
    expect(sha256(await readBytes(source.url))).toBe(sha256(Buffer.concat(pieces)));
  });

  test("inside an append, by sub-offset: messages of JSON, bytes of anything else", async () => {
    const json = await create(server.current, "application/json", { body: "[0,1]" });
    const at = await tailOf(json);
    await fetch(json.url, { method: "POST", body: "[2,3,4,5]", headers: { "content-type": "application/json" } });
    const branch = await fork(json.url, { "stream-fork-offset": at, "stream-fork-sub-offset": "2" });
    expect(await readJson(branch.url)).toEqual([0, 1, 2, 3]);
    const text = await create(server.current, "text/plain", { body: "hello " });
    const before = await tailOf(text);
    await text.append("world");
    const piece = await fork(text.url, { "stream-fork-offset": before, "stream-fork-sub-offset": "3" });
    expect(await readText(piece.url)).toBe("hello wor");
  });

  test("of a fork of a fork", async () => {
    let parent = await create(server.current, "text/plain", { body: "0" });
    let expected = "0";
    for (const depth of range(6).slice(1)) {
      const child = await fork(parent.url);
      await parent.append("!"); // Not inherited.
      await child.append(String(depth));
      expected += String(depth);
      expect(await readText(child.url)).toBe(expected);
      parent = child;
    }
  });

  test("outlives its source: 410 for the source while the fork is there", async () => {
    const source = await create(server.current, "text/plain", { body: "inherited" });
    const branch = await fork(source.url);
    await source.delete();
    for (const method of ["GET", "HEAD", "DELETE"]) expect(await status(source.url, method), method).toBe(410);
    const error = await errorOf(stream({ url: source.url, live: false, backoffOptions }));
    expect(error).toBeInstanceOf(FetchError);
    expect(error).toMatchObject({ status: 410 });
    expect(await status(source.url, "PUT", { "content-type": "text/plain" })).toBe(409);
    await branch.append(", and more");
    expect(await readText(branch.url)).toBe("inherited, and more");
    await branch.delete();
    await until("the source to be collected", async () => (await status(source.url, "HEAD")) === 404);
  });

  test("of a closed stream is open; closing the fork leaves an open source open", async () => {
    const closed = await create(server.current, "text/plain", { body: "done", closed: true });
    const open = await fork(closed.url);
    expect(await open.head()).toMatchObject({ streamClosed: false });
    await open.append(" or not");
    expect(await readText(open.url)).toBe("done or not");
    const leaf = await fork(open.url);
    await leaf.close({ body: "." });
    expect(await open.head()).toMatchObject({ streamClosed: false });
    expect(await readText(leaf.url)).toBe("done or not.");
  });

  test("does not inherit producers", async () => {
    const source = await create(server.current, "text/plain");
    const first = new IdempotentProducer(source, "p", { epoch: 5 });
    first.append("source");
    await first.flush();
    const branch = await fork(source.url);
    const errors: Error[] = [];
    const second = new IdempotentProducer(branch, "p", { epoch: 0, onError: (error) => errors.push(error) });
    second.append(" branch");
    await second.flush();
    expect(errors).toEqual([]);
    expect(await readText(branch.url)).toBe("source branch");
  });

  test("repeated is 200, of nothing 404, beyond the tail 400, with another type 409", async () => {
    const source = await create(server.current, "text/plain", { body: "abc" });
    const other = await create(server.current, "text/plain", { body: "a longer stream than the other" });
    const headers = { "stream-forked-from": path(source.url) };
    const url = freshUrl(server.current, "fork");
    expect(await status(url, "PUT", headers)).toBe(201);
    expect(await status(url, "PUT", headers)).toBe(200);
    expect(await status(url, "PUT", { "stream-forked-from": path(other.url) })).toBe(409);
    const to = () => freshUrl(server.current, "fork");
    expect(await status(to(), "PUT", { "stream-forked-from": path(freshUrl(server.current)) })).toBe(404);
    expect(await status(to(), "PUT", { ...headers, "stream-fork-offset": await tailOf(other) })).toBe(400);
    expect(await status(to(), "PUT", { ...headers, "content-type": "application/json" })).toBe(409);
  });

  test.each<LiveMode>(["long-poll", "sse"])("a reader of the fork by %s sees only the fork's appends", async (live) => {
    const source = await create(server.current, "application/json", { body: "[0,1]" });
    const branch = await fork(source.url);
    const wire = new Wire();
    const follower = Follower.json<unknown>(branch.url, { live, fetch: wire.fetch });
    await follower.has(2);
    await wire.sentLive(live);
    await source.append('"source"');
    await branch.append('"branch"');
    await follower.has(3);
    await source.append('"source"');
    await branch.close({ body: '"end"' });
    await follower.ended();
    expect(follower.items).toEqual([0, 1, "branch", "end"]);
  });
});
