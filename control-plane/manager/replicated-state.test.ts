import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createMemoryLog } from "#control-plane/log/memory-log.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { createState } from "#control-plane/state/state.ts";
import type { Tx } from "#control-plane/state/types.ts";
import { Service } from "#proto/gen/types.ts";

const setup = () => {
  const replicated = createReplicatedState(createState(), createManualClock(), seededRandom(1));
  const log = createMemoryLog(replicated.machine);
  replicated.attach(log);
  return { replicated, log };
};
/** A counter in an object: what ran twice is seen. */
const count = (tx: Tx): number => {
  const known = tx.get("service", "s");
  const specVersion = (known?.specVersion ?? 0) + 1;
  tx.put("service", { ...(known ?? Service.fromPartial({ id: "s" })), specVersion });
  return specVersion;
};
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "",
    (e: TswarmError) => e.code,
  );

describe("replicated state", () => {
  it("resolves with value and index once it is applied; what writes nothing is no entry", async () => {
    const { replicated, log } = setup();
    expect(await replicated.write(count)).to.deep.equal({ value: 1, index: 1 });
    expect(await replicated.write((tx) => tx.get("service", "s")!.specVersion)).to.deep.equal({ value: 1, index: 1 });
    expect(log.entries).to.have.length(1);
  });

  it("an operation that refuses writes nothing", async () => {
    const { replicated, log } = setup();
    const write = replicated.write((tx) => {
      count(tx);
      throw new TswarmError("invalid", "no");
    });
    expect(await codeOf(write)).to.equal("invalid");
    expect(log.entries).to.have.length(0);
  });

  it("writers at the same moment all count, each once", async () => {
    const { replicated } = setup();
    await replicated.write(count);
    const values = await Promise.all([1, 2, 3, 4].map(() => replicated.write(count)));
    expect(values.map((v) => v.value).toSorted()).to.deep.equal([2, 3, 4, 5]);
    expect(replicated.state.get("service", "s")!.specVersion).to.equal(5);
  });

  it("who writes alone sees what was begun before, and what comes meanwhile sees what it has done", async () => {
    const { replicated, log } = setup();
    const order: string[] = [];
    const service = (id: string) => (tx: Tx) => {
      order.push(`${id} sees ${[...tx.all("service")].map((s) => s.id)}`);
      tx.put("service", Service.fromPartial({ id }));
    };
    const writes: Promise<unknown>[] = [];
    log.beforeCommit(() => {
      writes.push(replicated.write(service("alone"), { alone: true }));
      writes.push(replicated.write(service("second"), { alone: true }));
      writes.push(replicated.write(service("later")));
    });
    await replicated.write(service("first"));
    await Promise.all(writes);
    expect(order).to.deep.equal([
      "first sees ",
      "alone sees first",
      "second sees first,alone",
      "later sees first,alone,second",
    ]);
    log.refuse(1);
    expect(await codeOf(replicated.write(count, { alone: true }))).to.equal("unavailable");
    await replicated.write(count);
  });

  it("runs again on the newer state when another was faster, and gives up when it always is", async () => {
    const { replicated, log } = setup();
    const other = (): void => {
      void replicated.write(count);
    };
    log.beforeCommit(other);
    expect((await replicated.write(count)).value).to.equal(2);
    const unlucky = replicated.write((tx) => {
      log.beforeCommit(other);
      return count(tx);
    });
    const error = await unlucky.catch((e: unknown) => e);
    expect(error).to.have.property("code", "conflict");
    expect((error as TswarmError).issues[0]).to.include.keys("field", "reason", "remedy");
  });

  it("never runs twice what may be committed", async () => {
    const { replicated, log } = setup();
    log.failNext("after", new TswarmError("unknown_outcome", "leadership was lost"));
    expect(await codeOf(replicated.write(count))).to.equal("unknown_outcome");
    expect(replicated.state.get("service", "s")!.specVersion).to.equal(1);
    log.failNext("before", new TswarmError("not_leader", "another leads"));
    expect(await codeOf(replicated.write(count))).to.equal("not_leader");
    expect(replicated.state.get("service", "s")!.specVersion).to.equal(1);
  });

  it("refuses before the log is there", async () => {
    const replicated = createReplicatedState(createState(), createManualClock(), seededRandom(1));
    expect(await codeOf(replicated.write(count))).to.equal("unavailable");
  });
});
