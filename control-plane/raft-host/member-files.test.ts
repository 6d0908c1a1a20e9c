import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { openMemberFiles } from "#control-plane/raft-host/member-files.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { encodePeers } from "#control-plane/raft-host/peers.ts";
import { writeSnapshot } from "#control-plane/raft-host/snapshot-file.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { entryRecords } from "#control-plane/raft-host/wal.ts";

describe("a member's folder", () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-member-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  const peers = [1, 2, 3].map((raftId) => ({ raftId, nodeId: `n${raftId}`, addr: `a${raftId}` }));
  let lives = 0;
  const open = () =>
    openMemberFiles({
      ...{ dir, disk: nodeDisk, logger: silentLogger, segmentBytes: 4096, raftId: 1, clusterId: "c" },
      keys: testKeys(++lives),
      beginning: { kind: "bootstrap", members: peers },
    });
  const entry = (index: number, term: number) => ({ term, index, type: "normal", data: Buffer.from("x") }) as const;
  const receiveSnapshot = (index: number) =>
    writeSnapshot(
      nodeDisk,
      path.join(dir, "snap"),
      {
        clusterId: "c",
        meta: { index, term: 3, conf: { voters: [1, 2], learners: [], removed: [3] } },
        peers: encodePeers(peers.slice(0, 2)),
      },
      [Buffer.from("state")],
      testKeys(),
    );

  for (const [what, index] of [
    ["beyond its log", 10],
    ["in the middle of entries that another leader has replaced", 5],
  ] as const) {
    it(`starts anew after a received snapshot ${what}, also when a crash kept the log from saying so`, async () => {
      const first = await open();
      first.wal.append(entryRecords([4, 5, 6, 7].map((i) => entry(i, 2))));
      await first.wal.sync();
      await receiveSnapshot(index);
      await first.wal.close();
      first.unlock();

      const second = await open();
      expect(second.restart.entries).deep.equal([]);
      second.wal.append(entryRecords([entry(index + 1, 3)]));
      await second.wal.sync();
      await second.wal.close();
      second.unlock();

      const third = await open();
      expect(third.restart.entries.map((e) => [e.index, e.term])).deep.equal([[index + 1, 3]]);
      expect(third.restart.snapshot?.index).equal(index);
      expect(third.peers).deep.equal(peers.slice(0, 2));
      await third.wal.close();
      third.unlock();
    });
  }
});
