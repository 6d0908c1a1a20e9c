import { expect } from "chai";
import { watchState } from "#control-plane/api/watch.ts";
import { KEPT_EVENTS } from "#control-plane/state/history.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, StateBatch } from "#control-plane/state/types.ts";
import { type WatchRequest, WatchResponse } from "#proto/gen/control.ts";
import { Cluster, Task } from "#proto/gen/types.ts";
import type { RpcContext } from "#proto/rpc/server.ts";

describe("watch", () => {
  const setup = (
    selectors: WatchRequest["selectors"] = [],
    { state = createState(), since }: { state?: State; since?: number } = {},
  ) => {
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
      since: state.since.bind(state),
      all: state.all.bind(state),
    };
    const controller = new AbortController();
    const context: RpcContext = { peer: undefined, address: "", signal: controller.signal, reset: () => {} };
    const events = watchState(watched, { selectors, since }, context);
    let commands = 0;
    const put = (id: string, serviceId = "s"): void => {
      const tx = state.begin();
      tx.put("task", { ...(tx.get("task", id) ?? Task.fromPartial({ id, serviceId })), slot: ++commands });
      state.apply(state.index + 1, { id: `c${state.index}`, time: 1, changes: tx.changes() });
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

  describe("again, after a client was cut off", () => {
    const take = async (events: AsyncIterator<WatchResponse>, count: number): Promise<WatchResponse[]> => {
      const taken: WatchResponse[] = [];
      while (taken.length < count) taken.push((await events.next()).value);
      return taken;
    };
    const told = ({ version, events, snapshot }: WatchResponse): string =>
      `${snapshot ? "snapshot " : ""}${version} ${events.map((e) => `${e.action} ${(e.object!.object!.value as Task).id}`)}`.trim();

    for (const [since, expected] of [
      [0, ["0", "1 create a", "2 create b", "3 update a", "4 create c", "5 create new"]],
      [2, ["2", "3 update a", "4 create c", "5 create new"]],
      [4, ["4", "5 create new"]],
    ] as const)
      it(`gets exactly what it has missed since ${since}, then what comes`, async () => {
        const { state, put } = setup();
        for (const id of ["a", "b", "a", "c"]) put(id);
        const { events } = setup([], { state, since });
        const first = await take(events, 1);
        put("new");
        expect([...first, ...(await take(events, expected.length - 1))].map(told)).to.deep.equal(expected);
      });

    it("misses nothing that comes while it reads what it has missed", async () => {
      const { state, put } = setup();
      for (const id of ["a", "b"]) put(id);
      const { events } = setup([], { state, since: 0 });
      await take(events, 2);
      put("c");
      expect((await take(events, 2)).map(told)).to.deep.equal(["2 create b", "3 create c"]);
    });

    it("gets all objects when it was away for too long, then the changes from there", async () => {
      const { state, put } = setup();
      for (let i = 0; i <= 2 * KEPT_EVENTS; i++) put(`t${i % 700}`);
      expect(state.since(1)).to.equal(undefined);
      const { events } = setup([selector({ table: "task" })], { state, since: 1 });
      const pieces = await take(events, 2);
      put("t0");
      expect(pieces.map(({ snapshot, events: { length } }) => [snapshot, length])).to.deep.equal([
        [true, 500],
        [true, 200],
      ]);
      const version = state.index - 1;
      expect((await take(events, 2)).map(told)).to.deep.equal([`${version}`, `${version + 1} update t0`]);
    });

    it("gets all objects when the manager itself began with a snapshot", async () => {
      const { state, put } = setup();
      for (const id of ["a", "b"]) put(id);
      const other = createState();
      other.restore(2, state.snapshot());
      const { events } = setup([], { state: other, since: 1 });
      expect((await take(events, 2)).map(told)).to.deep.equal(["snapshot 2 create a,create b", "2"]);
      const current = setup([], { state: other, since: 2 });
      expect((await take(current.events, 1)).map(told)).to.deep.equal(["2"]);
    });

    it("is not told again what it has seen, by a manager that is behind", async () => {
      const { state, put } = setup();
      put("a");
      const { events } = setup([], { state, since: 3 });
      expect((await take(events, 1)).map(told)).to.deep.equal(["3"]);
      for (const id of ["b", "c", "d"]) put(id);
      expect((await take(events, 1)).map(told)).to.deep.equal(["4 create d"]);
    });

    it("the cluster's secrets are in no snapshot", async () => {
      const state = createState();
      const tx = state.begin();
      tx.put("cluster", Cluster.fromPartial({ id: "c", caKeyPem: Buffer.from("key"), joinTokenManager: "token" }));
      state.apply(1, { id: "c", time: 1, changes: tx.changes() });
      const restored = createState();
      restored.restore(1, state.snapshot());
      const { events } = setup([], { state: restored, since: 0 });
      const cluster = (await take(events, 1))[0]!.events[0]!.object!.object!.value as Cluster;
      expect([cluster.caKeyPem.length, cluster.joinTokenManager]).to.deep.equal([0, ""]);
    });
  });
});
