import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { encodeBackup } from "#control-plane/backup/format.ts";
import { CLUSTER, oldState } from "#control-plane/recovery/old-manager.ts";
import type { RestorePiece } from "#proto/gen/node.ts";
import { FakeCluster, tsctl } from "#tsctl/fake-cluster.ts";

const HEADER = { clusterId: CLUSTER, createdAt: 1_000, index: 10, version: "0.1.0", raftIds: [1, 2, 3] };
const KEY = newUnlockKey(seededRandom(1));
const OPEN = Buffer.concat([...encodeBackup(HEADER, oldState().snapshot())]);
const SEALED = Buffer.concat([
  ...encodeBackup(HEADER, oldState().snapshot(), { unlockKey: KEY, salt: Buffer.alloc(32, 3) }),
]);

describe("tsctl cluster restore", () => {
  let sent: RestorePiece["piece"][] = [];
  beforeEach(() => {
    sent = [];
  });
  const run = (bytes: Uint8Array, args: string[] = [], input?: string) =>
    tsctl(new FakeCluster(), ["cluster", "restore", "/b", ...args], {
      files: { "/b": bytes },
      ...(input === undefined ? {} : { input }),
      local: {
        restore: async (pieces) => {
          for await (const { piece } of pieces) sent.push(piece);
          const counts = { nodes: 4, services: 2, networks: 4, tasks: 0 };
          return { nodeId: "n9", clusterId: CLUSTER, advertiseAddr: "10.0.0.9:2377", ...counts };
        },
      },
    });
  const data = () => Buffer.concat(sent.flatMap((p) => (p?.$case === "data" ? [p.value] : [])));

  it("sends the backup as it is, and says what became of it and how other nodes find it", async () => {
    const { out, code } = await run(OPEN, ["--advertise-addr", "10.0.0.9", "--listen-addr", "0.0.0.0"]);
    expect(code).to.equal(0);
    expect(sent[0]).to.deep.equal({
      $case: "start",
      value: { advertiseAddr: "10.0.0.9", listenAddr: "0.0.0.0", unlockKey: "" },
    });
    expect(data().equals(OPEN)).to.equal(true);
    expect(out).to.contain("2 services").and.contain("n9").and.contain("join --token TOKEN 10.0.0.9:2377");
  });

  it("asks for the unlock key of a sealed one; a wrong one goes nowhere", async () => {
    expect((await run(SEALED, [], `${KEY}\n`)).code).to.equal(0);
    expect(sent[0]).to.have.nested.property("value.unlockKey", KEY);
    expect(data().equals(SEALED)).to.equal(true);
    sent = [];
    for (const key of [newUnlockKey(seededRandom(2)), "nonsense"]) {
      const { code, err } = await run(SEALED, [], `${key}\n`);
      expect(code).to.equal(1);
      expect(err).to.contain("unlock key");
    }
    expect(sent).to.deep.equal([]);
  });

  it("nothing is sent of a backup that is damaged", async () => {
    const { code, err } = await run(OPEN.subarray(0, 500));
    expect(code).to.equal(1);
    expect(err).to.contain("cut off");
    expect(sent).to.deep.equal([]);
  });
});
