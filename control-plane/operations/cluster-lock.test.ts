import { expect } from "chai";
import { refuse, TswarmError } from "#base/errors.ts";
import { initCluster, rotateUnlockKey, updateCluster } from "#control-plane/operations/index.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx, WriteContext } from "#control-plane/state/types.ts";
import { ClusterSpec } from "#proto/gen/types.ts";

let ids = 0;
const ctx: WriteContext = { now: 1_000, newId: () => `id${ids++}` };
const commit = (state: State, write: (tx: Tx) => unknown): void => {
  const tx = state.begin();
  write(tx);
  if (!state.apply(state.index + 1, { id: ctx.newId(), time: ctx.now, changes: tx.changes() }).ok)
    throw refuse("conflict", "state", "not applied", "-");
};
const cluster = (unlockKey = ""): State => {
  const state = createState();
  const pem = Buffer.from("pem");
  const tokens = { joinTokenWorker: "w", joinTokenManager: "m" };
  const spec = ClusterSpec.fromPartial({ autolock: unlockKey !== "" });
  commit(state, (tx) =>
    initCluster(tx, ctx, { id: "c1", spec, caCertificatePem: pem, caKeyPem: pem, ...tokens, unlockKey }),
  );
  return state;
};
const lock = (state: State) => {
  const { unlockKey, lockVersion, spec } = state.cluster()!;
  return [spec!.autolock, unlockKey, lockVersion];
};
const update = (state: State, changes: Partial<ClusterSpec>, freshKey = "fresh") => {
  const { meta, spec } = state.cluster()!;
  commit(state, (tx) => updateCluster(tx, ctx, { version: meta!.version, spec: { ...spec!, ...changes }, freshKey }));
};

describe("settings of a cluster", () => {
  it("autolock: each change of the key has a version of its own, and nothing else changes it", () => {
    const state = cluster();
    expect(lock(state)).to.deep.equal([false, "", 0]);
    update(state, { taskHistory: 9 });
    expect(lock(state)).to.deep.equal([false, "", 0]);
    update(state, { autolock: true }, "key1");
    expect(lock(state)).to.deep.equal([true, "key1", 1]);
    update(state, { autolock: true, heartbeatMs: 7_000 }, "key2");
    expect(lock(state)).to.deep.equal([true, "key1", 1]);
    commit(state, (tx) => rotateUnlockKey(tx, ctx, "key3"));
    expect(lock(state)).to.deep.equal([true, "key3", 2]);
    update(state, { autolock: false });
    expect(lock(state)).to.deep.equal([false, "", 3]);
    expect(() => commit(state, (tx) => rotateUnlockKey(tx, ctx, "key4"))).to.throw(TswarmError, "autolock is off");
    expect(state.cluster()!.spec).to.include({ taskHistory: 9, heartbeatMs: 7_000 });
  });

  it("a cluster can begin locked", () => expect(lock(cluster("key"))).to.deep.equal([true, "key", 1]));

  it("refuses what can't change, zeros, and an update from an old version", () => {
    const state = cluster();
    for (const changes of [{ name: "other" }, { dataPathPort: 1 }, { poolsV4: ["10.0.0.0/8", "11.0.0.0/8"] }])
      expect(() => update(state, changes)).to.throw(TswarmError, "given at the beginning");
    for (const changes of [{ heartbeatMs: 0 }, { certValidityMs: 0 }])
      expect(() => update(state, changes)).to.throw(TswarmError, "it is 0");
    const { spec } = state.cluster()!;
    expect(() => commit(state, (tx) => updateCluster(tx, ctx, { version: 0, spec, freshKey: "" })))
      .to.throw()
      .with.property("code", "stale_version");
    expect(lock(state)).to.deep.equal([false, "", 0]);
  });
});
