import { expect } from "chai";
import { watchState } from "#control-plane/api/watch.ts";
import { createState } from "#control-plane/state/state.ts";
import type { StateBatch } from "#control-plane/state/types.ts";
import { type WatchRequest, WatchResponse } from "#proto/gen/control.ts";
import { Task } from "#proto/gen/types.ts";
import type { RpcContext } from "#proto/rpc/server.ts";

describe("watch", () => {
  const setup = (selectors: WatchRequest["selectors"] = []) => {
    const state = createState();
    let listeners = 0;
    const watched = {
      watch(listener: (batch: StateBatch) => void) {
        listeners++;
        const stop = state.watch(listener);
        return () => {
          listeners--;
          stop();
        };
      },
      get index() {
        return state.index;
      },
    };
    const controller = new AbortController();
    const context: RpcContext = { peer: undefined, address: "", signal: controller.signal, reset: () => {} };
    const events = watchState(watched, { selectors }, context);
    let commands = 0;
    const put = (id: string, serviceId = "s"): void => {
      const tx = state.begin();
      tx.put("task", { ...(tx.get("task", id) ?? Task.fromPartial({ id, serviceId })), slot: ++commands });
      state.apply(state.index + 1, { id: `c${commands}`, time: 1, changes: tx.changes() });
    };
    return { state, events, put, controller, listeners: () => listeners };
  };
  const selector = (more: object) => ({ table: "", id: "", serviceId: "", nodeId: "", ...more });

  it("misses nothing that comes after its first message", async () => {
    const { events, put } = setup();
    put("before");
    const first = await events.next();
    expect(first.value).to.deep.equal(WatchResponse.fromPartial({ version: 1 }));
    put("a");
    put("a");
    put("b");
    const versions = [];
    for (let i = 0; i < 3; i++) {
      const { version, events: found } = (await events.next()).value as WatchResponse;
      versions.push([version, found[0]!.action]);
    }
    expect(versions).to.deep.equal([
      [2, "create"],
      [3, "update"],
      [4, "create"],
    ]);
  });

  it("gives only what was selected", async () => {
    const { events, put } = setup([selector({ serviceId: "x" }), selector({ table: "task", id: "b" })]);
    await events.next();
    put("a");
    put("b");
    put("c", "x");
    for (const id of ["b", "c"])
      expect(((await events.next()).value as WatchResponse).events[0]!.object!.object!.value).to.have.property(
        "id",
        id,
      );
  });

  it("a client that leaves, before the first message or while it waits, is forgotten", async () => {
    const { events, controller, listeners } = setup();
    await events.next();
    expect(listeners()).to.equal(1);
    const waiting = events.next();
    controller.abort();
    expect((await waiting).done).to.equal(true);
    expect(listeners()).to.equal(0);
    const early = setup();
    early.controller.abort();
    for await (const _ of early.events);
    expect(early.listeners()).to.equal(0);
  });

  const fails = async (events: AsyncIterator<WatchResponse>): Promise<unknown> => {
    for (;;) {
      const step = await events.next().catch((e: unknown) => e);
      if (step instanceof Error) return step;
    }
  };

  it("must begin anew when the state was replaced by a snapshot", async () => {
    const { state, events, put, listeners } = setup();
    put("a");
    await events.next();
    put("b");
    state.restore(9, state.snapshot());
    const error = await fails(events);
    expect(error).to.include({ code: "unavailable", retryable: true });
    expect(listeners()).to.equal(0);
  });

  it("must begin anew when it reads too slowly", async () => {
    const { events, put } = setup();
    await events.next();
    for (let i = 0; i < 10_001; i++) put("a");
    expect(await fails(events))
      .to.have.property("message")
      .that.contains("10000 changes");
  });
});
