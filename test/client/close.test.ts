import { DurableStream, FetchError, type LiveMode, StreamClosedError, stream } from "@durable-streams/client";
import { describe, expect, test } from "vitest";
import { useServer } from "../support/server.ts";
import { Follower, Wire, create, errorOf, readJson } from "./support.ts";

const server = useServer();

/** The ways to end a stream that holds 0 and 1, and what it holds then. */
const endings: [string, (handle: DurableStream) => Promise<{ finalOffset: string }>, number[]][] = [
  ["close only", (handle) => handle.close(), [0, 1]],
  ["append and close", (handle) => handle.close({ body: "2" }), [0, 1, 2]],
];
const modes: LiveMode[] = ["long-poll", "sse"];

describe.each(endings)("%s", (_, end, expected) => {
  test("a reader that comes later reads all and sees the end, in all modes", async () => {
    const handle = await create(server.current, "application/json");
    await handle.append("0");
    await handle.append("1");
    const { finalOffset } = await end(handle);

    const response = await stream<number>({ url: handle.url, live: false });
    expect(await response.json()).toEqual(expected);
    expect(response.streamClosed).toBe(true);
    expect(response.offset).toBe(finalOffset);
    for (const live of modes) {
      const follower = Follower.json<number>(handle.url, { live });
      await follower.ended();
      expect(follower.items, String(live)).toEqual(expected);
      expect(follower.offset, String(live)).toBe(finalOffset);
      expect(follower.errors, String(live)).toEqual([]);
    }
    expect(await handle.head()).toMatchObject({ streamClosed: true, offset: finalOffset });
  });

  test("a reader at the end sees it at once, in all modes", async () => {
    const handle = await create(server.current, "application/json");
    await handle.append("0");
    await handle.append("1");
    const { finalOffset } = await end(handle);
    const response = await stream<number>({ url: handle.url, offset: finalOffset, live: false });
    expect(response.streamClosed).toBe(true);
    expect(await response.json()).toEqual([]);
    for (const live of modes) {
      const follower = Follower.json<number>(handle.url, { live, from: finalOffset });
      await follower.ended();
      expect(follower.items, String(live)).toEqual([]);
    }
    const poll = await fetch(`${handle.url}?offset=${finalOffset}&live=long-poll`);
    expect(poll.status).toBe(204);
    expect(poll.headers.get("stream-closed")).toBe("true");
    const sse = await fetch(`${handle.url}?offset=${finalOffset}&live=sse`);
    expect(await sse.text()).toMatch(/"streamClosed":\s*true/);
  });

  test.each(modes)("a reader that waits by %s is told", async (live) => {
    const handle = await create(server.current, "application/json");
    await handle.append("0");
    const wire = new Wire();
    const follower = Follower.json<number>(handle.url, { live, fetch: wire.fetch });
    await follower.has(1);
    await handle.append("1");
    await follower.has(2);
    await wire.sentLive(live);
    const { finalOffset } = await end(handle);
    await follower.ended();
    expect(follower.items).toEqual(expected);
    expect(follower.offset).toBe(finalOffset);
    expect(follower.errors).toEqual([]);
    expect(follower.sessions).toBe(1);
  });
});

test("closing again changes nothing, closing again with a message is refused", async () => {
  const handle = await create(server.current, "application/json");
  await handle.append("0");
  const { finalOffset } = await handle.close();
  expect(await handle.close()).toEqual({ finalOffset });
  const error = (await errorOf(handle.close({ body: "1" }))) as FetchError | StreamClosedError;
  expect(error.status).toBe(409);
  if (error instanceof FetchError) expect(error.headers["stream-closed"]).toBe("true");
  expect(await readJson(handle.url)).toEqual([0]);
});

test("an empty stream can end", async () => {
  const handle = await create(server.current, "application/json");
  const followers = modes.map((live) => Follower.json(handle.url, { live }));
  await Promise.all(followers.map((follower) => follower.caughtUp()));
  await handle.close();
  await Promise.all(followers.map((follower) => follower.ended()));
  for (const follower of followers) expect(follower.items).toEqual([]);
});

test("a stream of bytes that ends while it is followed arrives whole", async () => {
  const handle = await create(server.current, "application/octet-stream");
  const followers = modes.map((live) => Follower.bytes(handle.url, { live }));
  await handle.append(new Uint8Array([1, 2, 3]));
  await Promise.all(followers.map((follower) => follower.hasBytes(3)));
  await handle.close({ body: new Uint8Array([4, 5]) });
  await Promise.all(followers.map((follower) => follower.ended()));
  for (const follower of followers) {
    expect([...Buffer.concat(follower.items)]).toEqual([1, 2, 3, 4, 5]);
  }
});

test("one of many closers wins with its message", async () => {
  const handle = await create(server.current, "application/json");
  const results = await Promise.allSettled(
    [10, 11, 12, 13, 14, 15].map((n) =>
      new DurableStream({ url: handle.url, contentType: "application/json" }).close({ body: String(n) }),
    ),
  );
  const winners = results.flatMap((result, i) => (result.status === "fulfilled" ? [10 + i] : []));
  expect(winners.length).toBe(1);
  expect(await readJson(handle.url)).toEqual(winners);
});
