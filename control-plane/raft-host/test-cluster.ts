// Members in one process for tests: real gRPC on loopback, real files in a temporary folder, a state machine that keeps lines.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import { silentLogger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import type { Committed, StateMachine } from "#control-plane/log/log.ts";
import { grpcTransport } from "#control-plane/raft-host/grpc-transport.ts";
import type { Beginning } from "#control-plane/raft-host/member-files.ts";
import { requestJoin } from "#control-plane/raft-host/membership-client.ts";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import { openRaftLog, type RaftLog, type RaftLogOptions } from "#control-plane/raft-host/raft-log.ts";
import { raftServiceDefinition, raftServiceHandlers } from "#control-plane/raft-host/raft-service.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";

export class Lines implements StateMachine {
  lines: string[] = [];
  restores = 0;

  apply(entries: readonly Extract<Committed, { kind: "entry" }>[]): void {
    for (const entry of entries) this.lines.push(Buffer.from(entry.data).toString());
  }

  async restore(snapshot: Extract<Committed, { kind: "snapshot" }>): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of snapshot.chunks) chunks.push(chunk);
    this.restores++;
    this.lines = Buffer.concat(chunks).toString().split("\n").filter(Boolean);
  }

  snapshot(): Iterable<Uint8Array> {
    const lines = this.lines.slice();
    const chunks: Buffer[] = [];
    for (let i = 0; i < lines.length; i += 100) chunks.push(Buffer.from(`${lines.slice(i, i + 100).join("\n")}\n`));
    return chunks;
  }
}

export type Member = {
  readonly raftId: number;
  readonly addr: string;
  readonly dir: string;
  log: RaftLog;
  state: Lines;
  server: grpc.Server;
  fatal: unknown;
  removed: boolean;
};

const CLUSTER = "test-cluster";
let lives = 0;
const credentials = () => grpc.credentials.createInsecure();

const freePort = (server: grpc.Server, addr: string): Promise<number> =>
  new Promise((resolve, reject) =>
    server.bindAsync(addr, grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );

/** A port that was free a moment ago. */
const pickAddr = async (): Promise<string> => {
  const server = new grpc.Server();
  const port = await freePort(server, "127.0.0.1:0");
  server.forceShutdown();
  return `127.0.0.1:${port}`;
};

export const waitFor = async (what: string, condition: () => boolean): Promise<void> => {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

export class TestCluster {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-raft-"));
  readonly members: Member[] = [];
  #overrides: Partial<RaftLogOptions>;

  constructor(overrides: Partial<RaftLogOptions> = {}) {
    this.#overrides = overrides;
  }

  async bootstrap(count: number): Promise<void> {
    const peers: Peer[] = [];
    for (let raftId = 1; raftId <= count; raftId++) {
      peers.push({ raftId, nodeId: `node-${raftId}`, addr: await pickAddr() });
    }
    await Promise.all(peers.map((p) => this.#open(p.raftId, p.addr, { kind: "bootstrap", members: peers })));
  }

  async join(nodeId: string): Promise<Member> {
    const addr = await pickAddr();
    const answer = await requestJoin(this.members[0]!.addr, credentials(), { nodeId, addr });
    return this.#open(answer.raftId, addr, { kind: "join", peers: answer.peers });
  }

  async #open(raftId: number, addr: string, beginning: Beginning | null): Promise<Member> {
    const dir = path.join(this.root, `m${raftId}`);
    const state = new Lines();
    const member = { raftId, addr, dir, state, fatal: null, removed: false } as unknown as Member;
    member.log = await openRaftLog({
      dir,
      raftId,
      clusterId: CLUSTER,
      beginning,
      stateMachine: state,
      transport: grpcTransport({
        credentials: credentials(),
        clock: realClock,
        random: systemRandom,
        logger: silentLogger,
      }),
      clock: realClock,
      random: systemRandom,
      logger: silentLogger,
      tickMs: 20,
      segmentBytes: 1 << 20,
      keys: testKeys(++lives),
      onFatal: (error) => {
        member.fatal = error;
      },
      onRemoved: () => {
        member.removed = true;
      },
      ...this.#overrides,
    });
    member.server = new grpc.Server();
    member.server.addService(
      raftServiceDefinition,
      raftServiceHandlers(member.log.host, () => {}),
    );
    await freePort(member.server, addr);
    this.members.push(member);
    this.members.sort((a, b) => a.raftId - b.raftId);
    return member;
  }

  /** Ends without stopping properly. */
  kill(member: Member): void {
    member.log.abandon();
    member.server.forceShutdown();
    this.members.splice(this.members.indexOf(member), 1);
  }

  restart(member: Member): Promise<Member> {
    return this.#open(member.raftId, member.addr, null);
  }

  async leader(): Promise<Member> {
    const find = () => this.members.find((m) => m.log.status().isLeader);
    await waitFor("a leader", () => find() !== undefined);
    return find()!;
  }

  async followers(): Promise<Member[]> {
    const leader = await this.leader();
    return this.members.filter((m) => m !== leader);
  }

  async end(): Promise<void> {
    for (const member of [...this.members]) this.kill(member);
    await new Promise((resolve) => setTimeout(resolve, 50));
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}
