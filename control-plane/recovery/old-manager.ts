// A manager's folder for tests: manager 3 of the nodes n1 to n3, with a worker w1, and a log whose last entries are not
// known to be committed.
import { join } from "node:path";
import { newId } from "#base/ids.ts";
import { silentLogger } from "#base/log.ts";
import { seededRandom } from "#base/random.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { initCluster, registerNode } from "#control-plane/operations/index.ts";
import type { Entry } from "#control-plane/raft/types.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { openMemberFiles } from "#control-plane/raft-host/member-files.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { encodePeers } from "#control-plane/raft-host/peers.ts";
import { writeSnapshot } from "#control-plane/raft-host/snapshot-file.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { entryRecords } from "#control-plane/raft-host/wal.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx, WriteContext } from "#control-plane/state/types.ts";
import { Command } from "#proto/gen/store.ts";
import { ClusterSpec, NodeRole, Service } from "#proto/gen/types.ts";

export const CLUSTER = "c1";
const random = seededRandom(5);
export const context: WriteContext = { now: createManualClock().now(), newId: () => newId(random) };

const register = (id: string, role: NodeRole) => (tx: Tx) =>
  void registerNode(tx, context, { id, hostname: `host-${id}`, role, addr: "192.0.2.1" });

const service = (name: string) => (tx: Tx) =>
  tx.put("service", Service.fromPartial({ id: `${name}-id`, spec: { annotations: { name } } }));

const COMMANDS: readonly ((tx: Tx) => void)[] = [
  (tx) =>
    void initCluster(tx, context, {
      ...{ id: CLUSTER, spec: ClusterSpec.fromPartial({}), joinTokenWorker: "w", joinTokenManager: "m" },
      ...{ caCertificatePem: Buffer.from("certificate"), caKeyPem: Buffer.from("key") },
    }),
  ...["n1", "n2", "n3"].map((id) => register(id, NodeRole.MANAGER)),
  register("w1", NodeRole.WORKER),
  service("committed"),
  service("acknowledged"),
];

/** The state that all the commands lead to. */
export const oldState = (): State => {
  const state = createState();
  for (const [i, change] of COMMANDS.entries()) {
    const tx = state.begin();
    change(tx);
    state.apply(4 + i, Command.fromPartial({ id: `command${i}`, time: 1, changes: tx.changes() }));
  }
  return state;
};

/** The last command's index is 10: three changes of members come first. `snapshotAt`: what is up to there is in a snapshot. */
export const makeOldManager = async (
  dataDir: string,
  { snapshotAt = 0, commands = COMMANDS.length } = {},
  keysOf: (dir: string) => DataKeys = () => testKeys(),
) => {
  const dir = join(dataDir, "raft");
  const peers = [1, 2, 3].map((raftId) => ({ raftId, nodeId: `n${raftId}`, addr: `10.0.0.${raftId}:2377` }));
  nodeDisk.makeDirectory(dir);
  const keys = keysOf(dir);
  const files = await openMemberFiles({
    ...{ dir, disk: nodeDisk, logger: silentLogger, segmentBytes: 64 << 10, raftId: 3, clusterId: CLUSTER, keys },
    beginning: { kind: "bootstrap", members: peers },
  });
  const state = createState();
  for (const [i, change] of COMMANDS.slice(0, commands).entries()) {
    const index = 4 + i;
    const tx = state.begin();
    change(tx);
    const command = Command.fromPartial({ id: `command${i}`, time: 1, changes: tx.changes() });
    state.apply(index, command);
    const entry: Entry = { term: 2, index, type: "normal", data: Command.encode(command).finish() };
    files.wal.append(entryRecords([entry]));
    if (index !== snapshotAt) continue;
    const meta = { index, term: 2, conf: { voters: [1, 2, 3], learners: [], removed: [] } };
    const header = { clusterId: CLUSTER, meta, peers: encodePeers(peers) };
    await writeSnapshot(nodeDisk, files.snapDir, header, state.snapshot(), keys);
    files.wal.append([{ kind: "snapshot", index, term: 2, reset: false }]);
  }
  // What was committed since is not known to a member that has lost its leader.
  files.wal.append([{ kind: "hard-state", hardState: { term: 7, vote: 3, commit: Math.min(9, commands + 3) } }]);
  await files.wal.close();
  files.unlock();
};
