import { IdempotentProducer, SequenceGapError, StaleEpochError } from "@durable-streams/client";
import { describe, expect, test } from "vitest";
import { useServer } from "../support/server.ts";
import { Wire, create, noise, persistent, range, readBytes, readJson, readText, sha256 } from "./support.ts";

const server = useServer();

describe("pipelining", () => {
  test.each([5, 8, 32])("%i requests in flight: every message once and in order", async (maxInFlight) => {
    const handle = await create(server.current, "application/json");
    const wire = new Wire();
    const errors: Error[] = [];
    const producer = new IdempotentProducer(handle, "pipe", {
      autoClaim: true,
      maxInFlight,
      maxBatchBytes: 1, // Each message is a request.
      lingerMs: 0,
      fetch: wire.fetch,
      onError: (error) => errors.push(error),
    });
    producer.append("0");
    await producer.flush(); // The first request claims the epoch alone.
    for (const n of range(500).slice(1)) producer.append(String(n));
    await producer.flush();
    expect(errors).toEqual([]);
    expect(wire.peak).toBe(maxInFlight);
    expect(wire.count("POST")).toBeGreaterThanOrEqual(500);
    expect(await readJson(handle.url)).toEqual(range(500));
    const head = await handle.head();
    expect(producer.lastSuccessfulOffset).toBe(head.exists && head.offset);
  });

  test("messages of one moment share a request", async () => {
    const handle = await create(server.current, "application/json");
    const wire = new Wire();
    const producer = new IdempotentProducer(handle, "linger", { lingerMs: 5, fetch: wire.fetch });
    for (const n of range(1000)) producer.append(JSON.stringify({ n }));
    await producer.flush();
    expect(wire.count("POST")).toBe(1);
    expect(await readJson(handle.url)).toEqual(range(1000).map((n) => ({ n })));
  });

  test("several producers on one stream: each one's messages once and in order", async () => {
    const handle = await create(server.current, "application/json");
    const errors: Error[] = [];
    await Promise.all(
      range(6).map(async (p) => {
        const producer = new IdempotentProducer(handle, `p${p}`, {
          maxInFlight: 5,
          maxBatchBytes: 1,
          onError: (error) => errors.push(error),
        });
        for (const n of range(80)) producer.append(JSON.stringify({ p, n }));
        await producer.flush();
      }),
    );
    expect(errors).toEqual([]);
    const all = await readJson<{ p: number; n: number }>(handle.url);
    expect(all.length).toBe(6 * 80);
    for (const p of range(6)) {
      expect(all.filter((m) => m.p === p).map((m) => m.n), `producer ${p}`).toEqual(range(80));
    }
  });

  test("bytes: pieces of many sizes, once and in order", async () => {
    const handle = await create(server.current, "application/octet-stream");
    const producer = new IdempotentProducer(handle, "bytes", { maxInFlight: 6, maxBatchBytes: 1 });
    const pieces = range(120).map((i) => noise(1 + ((i * 37) % 5000), i));
    for (const piece of pieces) producer.append(piece);
    await producer.flush();
    expect(sha256(await readBytes(handle.url))).toBe(sha256(Buffer.concat(pieces)));
  });
});

describe("retries", () => {
  test("every request sent twice, one after the other", async () => {
    const handle = await create(server.current, "application/json");
    const statuses: number[] = [];
    const twice: typeof fetch = async (input, init) => {
      const first = await fetch(input, init);
      await first.arrayBuffer();
      const second = await fetch(input, init);
      statuses.push(second.status);
      return second;
    };
    const producer = new IdempotentProducer(handle, "twice", { maxInFlight: 1, maxBatchBytes: 1, fetch: twice });
    for (const n of range(50)) producer.append(String(n));
    const { finalOffset } = await producer.close("50");
    expect(statuses).toEqual(new Array(51).fill(204));
    expect(await readJson(handle.url)).toEqual(range(51));
    expect(await handle.head()).toMatchObject({ streamClosed: true, offset: finalOffset });
  });

  test("every request sent twice at once", async () => {
    const handle = await create(server.current, "application/json");
    const errors: Error[] = [];
    const both: typeof fetch = async (input, init) => {
      const [one, other] = await Promise.all([fetch(input, init), fetch(input, init)]);
      // Out of order, one of the two may be a gap when the other is not.
      await (one.ok ? other : one).arrayBuffer();
      return one.ok ? one : other;
    };
    const producer = new IdempotentProducer(handle, "both", {
      maxInFlight: 5,
      maxBatchBytes: 1,
      fetch: both,
      onError: (error) => errors.push(error),
    });
    for (const n of range(150)) producer.append(String(n));
    await producer.flush();
    expect(errors).toEqual([]);
    expect(await readJson(handle.url)).toEqual(range(150));
  });

  test("answers that get lost on the way", async () => {
    const handle = await create(server.current, "application/json");
    const wire = new Wire();
    const errors: Error[] = [];
    let n = 0;
    const lossy: typeof fetch = async (input, init) => {
      const response = await wire.fetch(input, init);
      if (n++ % 3 === 0) {
        await response.arrayBuffer();
        throw new TypeError("the answer was lost");
      }
      return response;
    };
    const producer = new IdempotentProducer(handle, "lossy", {
      maxInFlight: 5,
      maxBatchBytes: 1,
      fetch: persistent(lossy),
      onError: (error) => errors.push(error),
    });
    for (const i of range(200)) producer.append(String(i));
    await producer.flush();
    expect(errors).toEqual([]);
    expect(wire.count("POST")).toBeGreaterThan(200);
    expect(await readJson(handle.url)).toEqual(range(200));
  });

  test("a request that was skipped is a gap that names what was expected", async () => {
    const handle = await create(server.current, "text/plain");
    const post = (seq: number, body: string) =>
      fetch(handle.url, {
        method: "POST",
        body,
        headers: {
          "content-type": "text/plain",
          "producer-id": "raw",
          "producer-epoch": "0",
          "producer-seq": String(seq),
        },
      });
    expect((await post(0, "a")).status).toBe(200);
    const gap = await post(3, "d");
    expect(gap.status).toBe(409);
    expect(gap.headers.get("producer-expected-seq")).toBe("1");
    expect(gap.headers.get("producer-received-seq")).toBe("3");
    expect((await post(1, "b")).status).toBe(200);
    const duplicate = await post(0, "a");
    expect(duplicate.status).toBe(204);
    expect(duplicate.headers.get("producer-seq")).toBe("1");
    expect(duplicate.headers.get("producer-epoch")).toBe("0");
    expect(await readText(handle.url)).toBe("ab");
  });
});

describe("epochs", () => {
  test("a second producer claims the id and fences the first", async () => {
    const handle = await create(server.current, "application/json");
    const firstErrors: Error[] = [];
    const first = new IdempotentProducer(handle, "worker", {
      epoch: 3,
      lingerMs: 0,
      onError: (error) => firstErrors.push(error),
    });
    first.append('"first 0"');
    await first.flush();
    first.append('"first 1"');
    await first.flush();
    expect(firstErrors).toEqual([]);

    const secondErrors: Error[] = [];
    const second = new IdempotentProducer(handle, "worker", {
      autoClaim: true,
      lingerMs: 0,
      onError: (error) => secondErrors.push(error),
    });
    second.append('"second 0"');
    await second.flush();
    expect(second.epoch).toBe(4);

    first.append('"first 2, a zombie"');
    await first.flush();
    expect(firstErrors.length).toBe(1);
    expect(firstErrors[0]).toBeInstanceOf(StaleEpochError);
    expect((firstErrors[0] as StaleEpochError).currentEpoch).toBe(4);

    second.append('"second 1"');
    await second.flush();
    expect(secondErrors).toEqual([]);
    expect(await readJson(handle.url)).toEqual(["first 0", "first 1", "second 0", "second 1"]);
  });

  test("a chain of claims: each takes the next epoch and every earlier one is fenced", async () => {
    const handle = await create(server.current, "text/plain");
    const stale: unknown[] = [];
    const claimed: IdempotentProducer[] = [];
    const first = new IdempotentProducer(handle, "chain", { epoch: 1, onError: (error) => stale.push(error) });
    first.append("[1]");
    await first.flush();
    for (const i of range(4)) {
      const next = new IdempotentProducer(handle, "chain", { autoClaim: true });
      next.append(`[${i + 2}]`);
      await next.flush();
      expect(next.epoch).toBe(i + 2);
      claimed.push(next);
    }
    first.append("zombie");
    await first.flush();
    expect(stale).toEqual([expect.any(StaleEpochError)]);
    expect((stale[0] as StaleEpochError).currentEpoch).toBe(5);
    expect(await readText(handle.url)).toBe("[1][2][3][4][5]");
    expect(claimed.map((producer) => producer.epoch)).toEqual([2, 3, 4, 5]);
  });

  test("an old producer with autoClaim takes the id back", async () => {
    const handle = await create(server.current, "text/plain");
    const a = new IdempotentProducer(handle, "duel", { epoch: 1, autoClaim: true });
    a.append("a");
    await a.flush();
    const b = new IdempotentProducer(handle, "duel", { autoClaim: true });
    b.append("b");
    await b.flush();
    a.append("A");
    await a.flush();
    b.append("B");
    await b.flush();
    expect([a.epoch, b.epoch]).toEqual([3, 4]);
    expect(await readText(handle.url)).toBe("abAB");
  });

  test("restart() begins a new epoch at sequence 0", async () => {
    const handle = await create(server.current, "text/plain");
    const producer = new IdempotentProducer(handle, "again", { maxBatchBytes: 1, maxInFlight: 1 });
    for (const word of ["one ", "two "]) producer.append(word);
    await producer.restart();
    expect(producer.epoch).toBe(1);
    producer.append("three");
    await producer.flush();
    expect(await readText(handle.url)).toBe("one two three");
  });

  test("a new epoch that does not begin at sequence 0 is refused", async () => {
    const handle = await create(server.current, "text/plain");
    const post = (epoch: number, seq: number) =>
      fetch(handle.url, {
        method: "POST",
        body: `${epoch}.${seq} `,
        headers: {
          "content-type": "text/plain",
          "producer-id": "raw",
          "producer-epoch": String(epoch),
          "producer-seq": String(seq),
        },
      }).then((response) => response.status);
    expect(await post(0, 0)).toBe(200);
    expect(await post(1, 1)).toBe(400);
    expect(await post(0, 1)).toBe(200);
    expect(await post(1, 0)).toBe(200);
    expect(await post(0, 2)).toBe(403);
    expect(await readText(handle.url)).toBe("0.0 0.1 1.0 ");
  });

  test("the same id on two streams is two producers", async () => {
    const [one, two] = [await create(server.current, "text/plain"), await create(server.current, "text/plain")];
    for (const [handle, epoch] of [
      [one, 5],
      [two, 0],
    ] as const) {
      const errors: Error[] = [];
      const producer = new IdempotentProducer(handle, "shared", { epoch, onError: (error) => errors.push(error) });
      producer.append(`epoch ${epoch}`);
      await producer.flush();
      expect(errors).toEqual([]);
    }
    expect([await readText(one.url), await readText(two.url)]).toEqual(["epoch 5", "epoch 0"]);
  });
});

describe("the end", () => {
  test("close() with a final message flushes what is pending first", async () => {
    const handle = await create(server.current, "application/json");
    const producer = new IdempotentProducer(handle, "closer", { maxInFlight: 5, maxBatchBytes: 1 });
    for (const n of range(40)) producer.append(String(n));
    const { finalOffset } = await producer.close("40");
    expect(await readJson(handle.url)).toEqual(range(41));
    expect(await handle.head()).toMatchObject({ streamClosed: true, offset: finalOffset });
    expect(await producer.close("40")).toEqual({ finalOffset });
    expect(await readJson(handle.url)).toEqual(range(41));
  });

  test("detach() leaves the stream open", async () => {
    const handle = await create(server.current, "text/plain");
    const producer = new IdempotentProducer(handle, "leaver");
    producer.append("so long");
    await producer.detach();
    expect(() => producer.append("x")).toThrow(/closed/);
    expect(await handle.head()).toMatchObject({ streamClosed: false });
    expect(await readText(handle.url)).toBe("so long");
  });

  test("a producer on a stream that somebody else closed gets an error, and nothing is added", async () => {
    const handle = await create(server.current, "text/plain", { body: "all" });
    await handle.close();
    const errors: Error[] = [];
    const producer = new IdempotentProducer(handle, "late", { onError: (error) => errors.push(error) });
    producer.append("too late");
    await producer.flush();
    expect(errors.length).toBe(1);
    // The client takes any 409 for a sequence gap.
    expect(errors[0]).toSatisfy(
      (error) => error instanceof SequenceGapError || (error as { status?: number }).status === 409,
    );
    expect(await readText(handle.url)).toBe("all");
  });

  // Version 0.2.7 of the client repeats such a request for ever, unless the
  // answer names the expected sequence number.
  test("a producer that wrote before is told that the stream is closed", async () => {
    const handle = await create(server.current, "text/plain");
    const errors: Error[] = [];
    const late = new IdempotentProducer(handle, "late", { onError: (error) => errors.push(error) });
    late.append("0");
    await late.flush();
    await handle.close();
    late.append("1");
    await late.flush().catch(() => undefined);
    expect(errors).toHaveLength(1);
    expect((errors[0] as { status?: number; expectedSeq?: number })).toSatisfy(
      (error: { status?: number }) => error.status === 409 || errors[0] instanceof SequenceGapError,
    );
    await late.detach();
    expect(await readText(handle.url)).toBe("0");
  });
});
