// testdata/format-1 was written by the first version: messages as they travel, and a member's folder. Managers of two versions
// talk to each other during an upgrade, and the new one starts from the old one's folder.
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { describeEntry, describeMessage } from "#control-plane/raft/describe.ts";
import type { Message } from "#control-plane/raft/types.ts";
import { decodeFrame, encodeFrame } from "#control-plane/raft-host/frame-codec.ts";
import { openMemberFiles } from "#control-plane/raft-host/member-files.ts";
import { memoryDisk } from "#control-plane/raft-host/memory-disk.ts";
import { decodeMessage, encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { raftServiceDefinition, raftServiceHandlers } from "#control-plane/raft-host/raft-service.ts";
import { checkSnapshot, readSnapshot } from "#control-plane/raft-host/snapshot-file.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { decodeRecord } from "#control-plane/raft-host/wal-record.ts";

const testdata = join(import.meta.dirname, "testdata/format-1");
const stateData = join(import.meta.dirname, "../state/testdata/format-1");
const lines = (file: string) => readFileSync(file, "utf8").trim().split("\n");

describe("raft host, what the first version wrote", () => {
  for (const line of lines(join(testdata, "messages.txt"))) {
    const [hex, ...text] = line.split(" ");
    it(`message: ${text[1]}`, () => {
      const message = decodeMessage(Buffer.from(hex!, "hex"));
      expect(describeMessage(message)).to.equal(text.join(" "));
      // What an older manager gets from this one.
      expect(encodeMessage(message).toString("hex")).to.equal(hex);
    });
  }

  it("frame", () => {
    const [hex] = lines(join(testdata, "frame.txt"));
    const frame = decodeFrame(Buffer.from(hex!, "hex"));
    expect({ ...frame, messages: frame.messages.map((m) => m.length) }).to.deep.equal({
      clusterId: "cluster1",
      from: 1,
      to: 300,
      messages: [1, 300],
    });
    expect(encodeFrame(frame).toString("hex")).to.equal(hex);
  });

  describe("a member's folder", () => {
    let dir: string;
    beforeEach(() => {
      dir = mkdtempSync(join(tmpdir(), "tswarm-format-"));
      cpSync(join(testdata, "member"), dir, { recursive: true });
    });
    afterEach(() => rmSync(dir, { recursive: true, force: true }));
    let lives = 0;
    const open = () =>
      openMemberFiles({
        dir,
        disk: nodeDisk,
        logger: silentLogger,
        segmentBytes: 2048,
        raftId: 2,
        clusterId: "cluster1",
        beginning: null,
        keys: testKeys(++lives),
      });

    it("log, snapshot, members and hard state, also when it is opened a second time", async () => {
      const commands = new Map(
        lines(join(stateData, "commands.txt")).map((line) => [Number(line.split(" ")[0]), line.split(" ")[2]!]),
      );
      for (let time = 1; time <= 2; time++) {
        const files = await open();
        const { hardState, snapshot, entries } = files.restart;
        expect(files.peers.map((p) => `${p.raftId} ${p.nodeId} ${p.addr}`)).to.deep.equal(
          [1, 2, 3].map((id) => `${id} n${id} 192.0.2.${id}:4242`),
        );
        expect(hardState).to.deep.equal({ term: 7, vote: 1, commit: 27 });
        expect(snapshot).to.deep.equal({ index: 19, term: 5, conf: { voters: [1, 2, 3], learners: [], removed: [] } });
        expect(entries.map((e) => e.index)).to.deep.equal([20, 21, 22, 23, 24, 25, 26, 27, 28]);
        for (const { index, data } of entries.slice(0, -1))
          expect(Buffer.from(data).toString("hex"), `entry ${index}`).to.equal(commands.get(index));
        expect(describeEntry(entries.at(-1)!)).to.equal("7/28 add-learner 1099511627776");
        const chunks: Buffer[] = [];
        for await (const chunk of readSnapshot(nodeDisk, files.snapshot!.file, testKeys())) chunks.push(chunk);
        expect(Buffer.concat(chunks).equals(readFileSync(join(stateData, "snapshot.bin")))).to.equal(true);
        await files.wal.close();
        files.unlock();
      }
    });

    it("its whole log, when both snapshots are gone", async () => {
      rmSync(join(dir, "snap"), { recursive: true });
      const files = await open().catch((error) => error);
      // The log says that there was a snapshot, but it reaches back to the beginning: nothing is lost.
      expect(files.restart.entries.map((e: { index: number }) => e.index)).to.deep.equal(
        Array.from({ length: 28 }, (_, i) => i + 1),
      );
      await files.wal.close();
      files.unlock();
    });
  });
});

describe("raft host, what a newer version wrote", () => {
  const refusal = async (run: () => unknown): Promise<void> => {
    const error = await Promise.resolve()
      .then(run)
      .then(
        () => new Error("it was accepted"),
        (e) => e,
      );
    expect(error).to.have.property("code", "unsupported");
    expect(error.message).to.match(/newer version.*upgrade this manager/);
  };

  it("is refused, with what to do: log and snapshot", async () => {
    await refusal(() => decodeRecord(Buffer.from([1, 3, 1, 0, 1, 0])));
    const snapshot = memoryDisk(new Map([["/a.snap", Buffer.from("TSWSNAP3 and what nobody knows yet")]]));
    await refusal(() => checkSnapshot(snapshot, "/a.snap", testKeys()));
  });

  it("a newer snapshot is no damaged one: the member does not start from an older state", async () => {
    const disk = memoryDisk();
    const options = {
      dir: "/m",
      disk,
      logger: silentLogger,
      segmentBytes: 2048,
      raftId: 1,
      clusterId: "c",
      keys: testKeys(),
    };
    const members = [{ raftId: 1, nodeId: "n1", addr: "a:1" }];
    const files = await openMemberFiles({ ...options, beginning: { kind: "bootstrap", members } });
    await files.wal.close();
    const file = disk.open("/m/snap/0000000000000001-00000001.snap", "create");
    file.write(Buffer.from("TSWSNAP3 and what nobody knows yet"), 0);
    await refusal(() => openMemberFiles({ ...options, keys: testKeys(2), beginning: null }));
  });
});

describe("raft host, messages of a newer version", () => {
  it("of kinds that this one does not know are left out, and the rest of their frame is taken", async () => {
    const received: Message[] = [];
    const server = new grpc.Server();
    const nothing = () => {};
    const host = {
      ...{ raftId: 2, clusterId: "c", isRemoved: () => false, peers: () => [], addMember: async () => 1 },
      ...{ unreachable: nothing, arrived: nothing, lost: nothing, removedByOthers: nothing },
      receive: (messages: readonly Message[]) => received.push(...messages),
      beginSnapshot: () => ({ offset: 0, receive: async () => {} }),
      removeMember: async () => {},
    };
    server.addService(raftServiceDefinition, raftServiceHandlers(host, nothing));
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p))),
    );
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const raw = (bytes: Buffer) => bytes;
    try {
      const call = client.makeBidiStreamRequest(raftServiceDefinition.messages.path, raw, raw);
      const ended = new Promise<Error | undefined>((resolve) => call.on("end", resolve).on("error", resolve).resume());
      const [known] = lines(join(testdata, "messages.txt")).map((line) => Buffer.from(line.split(" ")[0]!, "hex"));
      call.write(encodeFrame({ clusterId: "c", from: 1, to: 2, messages: [Buffer.from([200, 1, 2]), known!] }));
      call.end();
      expect(await ended).to.equal(undefined);
      expect(received.map((m) => m.kind)).to.deep.equal(["append"]);
    } finally {
      client.close();
      server.forceShutdown();
    }
  });
});
