import { expect } from "chai";
import { createQueue } from "#base/queue.ts";

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("queue", () => {
  it("gives everything in order, then ends", async () => {
    const queue = createQueue<number>();
    queue.push(1);
    const read: number[] = [];
    const reading = (async () => {
      for await (const value of queue) read.push(value);
    })();
    await settle();
    queue.push(2);
    queue.push(3);
    queue.end();
    queue.push(4);
    await reading;
    expect(read).to.deep.equal([1, 2, 3]);
  });

  it("gives what was there before the failure, then throws; the first end counts", async () => {
    const queue = createQueue<number>();
    queue.push(1);
    queue.fail(new Error("lost"));
    queue.end();
    const read: number[] = [];
    const error = await (async () => {
      for await (const value of queue) read.push(value);
    })().catch((e: unknown) => e);
    expect(read).to.deep.equal([1]);
    expect(error).to.have.property("message", "lost");
  });

  it("a reader that has left holds nothing", async () => {
    const queue = createQueue<number>();
    queue.push(1);
    queue.push(2);
    for await (const _ of queue) break;
    queue.push(3);
    expect(queue.size).to.equal(0);
  });

  it("a writer waits for room until something is read, it ends, or the reader leaves", async () => {
    for (const way of ["read", "end", "leave"] as const) {
      const queue = createQueue<number>();
      const reader = queue[Symbol.asyncIterator]();
      queue.push(1);
      queue.push(2);
      queue.push(3);
      await reader.next();
      let went = false;
      const writing = queue.room(2).then(() => {
        went = true;
      });
      await settle();
      expect(went, way).to.equal(false);
      if (way === "read") await reader.next();
      else if (way === "end") queue.end();
      else await reader.return?.();
      await writing;
    }
  });
});
