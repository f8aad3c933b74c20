import { DurableStream, FetchError, StreamClosedError, stream } from "@durable-streams/client";
import { describe, expect, test } from "vitest";
import { ours, useServer } from "../support/server.ts";
import { Wire, backoffOptions, create, errorOf, freshUrl, noise, path, range, readBytes, readJson, readText, sha256 } from "./support.ts";

const server = useServer();

describe("create", () => {
  test("a new stream is empty, open and of the type asked for", async () => {
    const handle = await create(server.current, "text/plain");
    const head = await handle.head();
    expect(head).toMatchObject({ exists: true, contentType: "text/plain", streamClosed: false });
    expect(await readText(handle.url)).toBe("");
    const next = await stream({ url: handle.url, live: false });
    expect(next.offset).toBe(head.exists && head.offset);
    expect(next.upToDate).toBe(true);
  });

  test("the body of the create request is the first content", async () => {
    const text = await create(server.current, "text/plain", { body: "first" });
    await text.append(" second");
    expect(await readText(text.url)).toBe("first second");

    const json = await create(server.current, "application/json", { body: JSON.stringify([{ n: 0 }, { n: 1 }]) });
    await json.append(JSON.stringify({ n: 2 }));
    expect(await readJson(json.url)).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }]);
  });

  test("the same create again succeeds and keeps the data, another type is refused", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.append("kept");
    await DurableStream.create({ url: handle.url, contentType: "text/plain" });
    const error = await errorOf(DurableStream.create({ url: handle.url, contentType: "application/json" }));
    expect(error).toMatchObject({ status: 409 });
    expect(await readText(handle.url)).toBe("kept");
  });

  test("a stream created closed is complete", async () => {
    const url = freshUrl(server.current);
    await DurableStream.create({ url, contentType: "text/plain", body: "all there is", closed: true });
    expect(await DurableStream.head({ url })).toMatchObject({ exists: true, streamClosed: true });
    const response = await stream({ url, live: false });
    expect(await response.text()).toBe("all there is");
    expect(response.streamClosed).toBe(true);
    const error = await errorOf(new DurableStream({ url, contentType: "text/plain" }).append("more"));
    expect(error).toMatchObject({ status: 409 });
    expect(await readText(url)).toBe("all there is");
  });

  test("names keep their bytes: escapes, doubled slashes and non-ASCII letters are different streams", async () => {
    const base = freshUrl(server.current, "names");
    const names = ["a b", "a%20b%2520", "a//b", "a/b", "gid:%2F%2Fapp/Room/1", "größe", "日本", "a+b", "a.b..c"];
    for (const name of names) {
      await DurableStream.create({ url: `${base}/${name}`, contentType: "text/plain", body: name });
    }
    for (const name of names) expect(await readText(`${base}/${name}`), name).toBe(name);
  });

  test.runIf(ours)("an escaped slash is a slash", async () => {
    const base = freshUrl(server.current, "names");
    await create(server.current, "text/plain", { url: `${base}/gid:%2F%2Fapp/Room/1`, body: "room" });
    expect(await readText(`${base}/gid:/%2Fapp%2FRoom/1`)).toBe("room");
  });
});

describe("append", () => {
  test("awaited appends arrive in order, and each moves the tail", async () => {
    const handle = await create(server.current, "text/plain");
    const tails: string[] = [];
    for (const i of range(20)) {
      await handle.append(`${i};`);
      const head = await handle.head();
      tails.push(head.exists ? (head.offset ?? "") : "");
    }
    expect(await readText(handle.url)).toBe(range(20).map((i) => `${i};`).join(""));
    expect(tails).toEqual([...new Set(tails)].sort());
  });

  test("appends that are not awaited are batched, in order", async () => {
    const wire = new Wire();
    const handle = await create(server.current, "application/json", { fetch: wire.fetch });
    await Promise.all(range(300).map((n) => handle.append(JSON.stringify({ n }))));
    expect(await readJson(handle.url)).toEqual(range(300).map((n) => ({ n })));
    expect(wire.count("POST")).toBeGreaterThan(0);
    expect(wire.count("POST")).toBeLessThan(300);
  });

  test("many writers without coordination: every append is there once", async () => {
    const handle = await create(server.current, "text/plain");
    await Promise.all(
      range(16).map(async (w) => {
        const mine = new DurableStream({ url: handle.url, contentType: "text/plain", backoffOptions });
        for (const i of range(25)) await mine.append(`${w}.${i}\n`);
      }),
    );
    const lines = (await readText(handle.url)).trimEnd().split("\n");
    for (const w of range(16)) {
      expect(lines.filter((line) => line.startsWith(`${w}.`)), `writer ${w}`).toEqual(range(25).map((i) => `${w}.${i}`));
    }
    expect(lines.length).toBe(16 * 25);
  });

  test("bytes come back as they were, in one large piece and in small ones", async () => {
    const handle = await create(server.current, "application/octet-stream");
    const every = Uint8Array.from(range(256));
    const large = noise(3 * 1024 * 1024 + 7, "large");
    await handle.append(every);
    await handle.append(large);
    await handle.append(new Uint8Array([0]));
    const read = await readBytes(handle.url);
    expect(read.length).toBe(256 + large.length + 1);
    expect(sha256(read)).toBe(sha256(Buffer.concat([every, large, new Uint8Array([0])])));
  });

  test("appendStream sends a chunked body as one append", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.appendStream(
      (async function* () {
        for (const i of range(50)) yield `piece ${i}\n`;
      })(),
    );
    expect(await readText(handle.url)).toBe(range(50).map((i) => `piece ${i}\n`).join(""));
  });

  test("writable() pipes a source and closes the stream", async () => {
    const handle = await create(server.current, "application/octet-stream");
    const pieces = range(40).map((i) => noise(1 + i * 100, i));
    await new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of pieces) controller.enqueue(piece);
        controller.close();
      },
    }).pipeTo(handle.writable({ maxBatchBytes: 4096 }));
    expect(sha256(await readBytes(handle.url))).toBe(sha256(Buffer.concat(pieces)));
    expect(await handle.head()).toMatchObject({ streamClosed: true });
  });

  test("Stream-Seq must grow, byte by byte", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.append("a", { seq: "0002" });
    for (const seq of ["0002", "0001", "0"]) {
      expect(await errorOf(handle.append("no", { seq })), seq).toMatchObject({ status: 409 });
    }
    await handle.append("b", { seq: "0003" });
    await handle.append("c", { seq: "1" });
    expect(await readText(handle.url)).toBe("abc");
  });

  test("a wrong type, an empty body and invalid JSON are refused and leave no trace", async () => {
    const handle = await create(server.current, "application/json");
    await handle.append("1");
    const post = (body: string, type = "application/json") =>
      fetch(handle.url, { method: "POST", body, headers: { "content-type": type } }).then((r) => r.status);
    expect(await post("x", "text/plain")).toBe(409);
    expect(await post("")).toBe(400);
    expect(await post("[]")).toBe(400);
    expect(await post('{"half":')).toBe(400);
    expect(await post("[1,2,]")).toBe(400);
    expect(await readJson(handle.url)).toEqual([1]);
  });

  test("an append to a stream that never was is a 404", async () => {
    const handle = new DurableStream({ url: freshUrl(server.current), contentType: "text/plain" });
    const error = await errorOf(handle.append("x"));
    expect(error).toBeInstanceOf(FetchError);
    expect(error).toMatchObject({ status: 404 });
  });

  test("an append to a closed stream says where the stream ended", async () => {
    const handle = await create(server.current, "text/plain");
    await handle.append("end");
    const { finalOffset } = await handle.close();
    const error = (await errorOf(handle.append("late"))) as FetchError | StreamClosedError;
    expect(error.status).toBe(409);
    if (error instanceof FetchError) {
      expect(error.headers["stream-closed"]).toBe("true");
      expect(error.headers["stream-next-offset"]).toBe(finalOffset);
    } else {
      expect(error.finalOffset).toBe(finalOffset);
    }
    expect(await readText(handle.url)).toBe("end");
  });
});

describe("JSON", () => {
  const values = [
    null,
    false,
    0,
    -1.5e-7,
    "",
    "line\nbreak, \"quotes\", \u2028 and 日本 🌊",
    [],
    {},
    [[1, 2], [3]],
    { nested: { deep: [{ er: [null] }] } },
    " , ",
    "],[",
  ];

  test("any value is one message", async () => {
    const handle = await create(server.current, "application/json");
    for (const value of values) await handle.append(JSON.stringify(value));
    expect(await readJson(handle.url)).toEqual(values);
  });

  test("one request may hold many messages; an inner array stays one", async () => {
    const handle = await create(server.current, "application/json");
    const response = await fetch(handle.url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: ` [ ${values.map((value) => JSON.stringify(value, null, 2)).join(" ,\n ")} ] `,
    });
    expect([200, 204]).toContain(response.status);
    expect(await readJson(handle.url)).toEqual(values);
  });

  test("an append with a charset parameter matches, and answers stay application/json", async () => {
    const handle = await create(server.current, "application/json");
    const response = await fetch(handle.url, {
      method: "POST",
      headers: { "content-type": "application/json; charset=utf-8" },
      body: '{"n":1}',
    });
    expect([200, 204]).toContain(response.status);
    expect(await readJson(handle.url)).toEqual([{ n: 1 }]);
  });

  test.runIf(ours)("numbers and escapes are not re-encoded", async () => {
    const handle = await create(server.current, "application/json");
    const message = '{"big":12345678901234567890123,"exp":1.50E+02,"esc":"\\u00e9\\/","dup":1,"dup":2}';
    await handle.append(message);
    expect(await readText(handle.url)).toBe(`[${message}]`);
  });
});

test("Location of a created stream names it", async () => {
  const url = freshUrl(server.current);
  const response = await fetch(url, { method: "PUT", headers: { "content-type": "text/plain" } });
  expect(response.status).toBe(201);
  const location = response.headers.get("location");
  expect(location).not.toBeNull();
  expect(path(new URL(location ?? "", url).href)).toBe(path(url));
});
