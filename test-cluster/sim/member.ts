// One member: a disk that stays, and one life of its process after the other. A life runs the real host on the real core.
import { silentLogger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Core } from "#control-plane/raft/core.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { Beginning } from "#control-plane/raft-host/member-files.ts";
import { openRaftLog, type RaftLog } from "#control-plane/raft-host/raft-log.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import type { RaftTransport, TransportHost } from "#control-plane/raft-host/transport.ts";
import { between, chance, fork } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import { DiskFault, SimDisk } from "#test-cluster/sim/sim-disk.ts";
import { SimState, type StateWatch } from "#test-cluster/sim/sim-state.ts";
import type { Trace } from "#test-cluster/sim/trace.ts";
import type { Actor, VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type Life = Actor & {
  readonly member: SimMember;
  readonly number: number;
  readonly state: SimState;
  host: TransportHost | null;
  /** Null while it opens. */
  log: RaftLog | null;
  core: Core | null;
  /** Commits up to here were looked at. */
  seenCommit: number;
  seenTerm: number;
  /** Entries since the last look, to be compared. */
  leading: number;
};

export type MemberSurroundings = {
  readonly time: VirtualTime;
  readonly trace: Trace;
  readonly mix: FaultMix;
  readonly random: Random;
  readonly watch: StateWatch;
  readonly transport: (life: Life) => RaftTransport;
  readonly onCore: (life: Life, core: Core) => void;
  readonly onDead: (member: SimMember, why: string) => void;
  readonly violate: (property: string, detail: string) => void;
  /** Puts something around the disk; for tests of the simulator. */
  readonly wrapDisk: (disk: Disk) => Disk;
};

export class SimMember {
  readonly raftId: number;
  readonly nodeId: string;
  life: Life | null = null;
  removed = false;
  healed = false;
  /** Disk operations until the process dies in the middle of one; -1: never. */
  #crashAfter = -1;
  #faultNext = false;
  #disk: SimDisk;
  #beginning: Beginning;
  #s: MemberSurroundings;
  #random: Random;
  #lives = 0;

  constructor(raftId: number, nodeId: string, beginning: Beginning, surroundings: MemberSurroundings) {
    this.raftId = raftId;
    this.nodeId = nodeId;
    this.#beginning = beginning;
    this.#s = surroundings;
    this.#random = fork(surroundings.random);
    this.#disk = new SimDisk(fork(this.#random));
  }

  get alive(): boolean {
    return this.life !== null && !this.life.dead;
  }

  start(): void {
    const { time, trace, watch } = this.#s;
    const number = ++this.#lives;
    const name = `${this.raftId}.${number}`;
    const life: Life = {
      ...{ name, dead: false, pausedUntil: 0, member: this, number, state: new SimState(name, watch) },
      ...{ host: null, log: null, core: null, seenCommit: 0, seenTerm: 0, leading: 0 },
    };
    this.life = life;
    trace.note(time.now, `${name} starts`);
    time.after(0, life, () => {
      this.#open(life).then(
        (log) => {
          life.log = log;
        },
        (error) => this.#failed(life, error),
      );
    });
  }

  #open(life: Life): Promise<RaftLog> {
    const { time, mix, transport } = this.#s;
    const random = fork(this.#random);
    // Clocks run at slightly different speeds.
    const rate = between(random, 0.95, 1.05);
    return openRaftLog({
      dir: "/member",
      raftId: this.raftId,
      clusterId: "simulated",
      keys: testKeys(this.raftId * 1_000_000 + life.number),
      beginning: this.#beginning,
      stateMachine: life.state,
      transport: (host) => {
        life.host = host;
        return transport(life);
      },
      clock: {
        now: () => time.now,
        monotonic: () => time.now * rate,
        after: (ms, callback) => time.after(ms / rate, life, callback),
      },
      random,
      logger: silentLogger,
      tickMs: mix.tickMs,
      electionTicks: mix.electionTicks,
      snapshotEvery: mix.snapshotEvery,
      keepEntries: mix.keepEntries,
      segmentBytes: mix.segmentBytes,
      disk: this.#mount(life),
      onFatal: (error) => this.#failed(life, error),
      onRemoved: () => {
        this.removed = true;
        this.crash("was removed");
      },
    });
  }

  #mount(life: Life): Disk {
    const { time, mix, wrapDisk } = this.#s;
    const random = fork(this.#random);
    return wrapDisk(
      this.#disk.mount({
        wait: (ms) => time.wait(ms, life),
        syncMs: () => {
          if (this.#faultNext) {
            this.#faultNext = false;
            return "fault";
          }
          if (this.healed) return 0.2;
          return chance(random, mix.slowSyncRate)
            ? random.float() * mix.slowSyncMs
            : mix.syncMs * between(random, 0.5, 1.5);
        },
        beforeChange: () => {
          if (life.dead) throw new Error("this process is dead");
          if (this.#crashAfter < 0 || this.#crashAfter-- > 0) return;
          this.crash("crashes in the middle of a disk operation");
          throw new Error("this process is dead");
        },
      }),
    );
  }

  onCore(core: Core): void {
    this.life!.core = core;
    this.#s.onCore(this.life!, core);
  }

  /** The process is gone, and with it what was not synced. */
  crash(why: string): void {
    const { life } = this;
    if (life === null || life.dead) return;
    life.dead = true;
    this.#crashAfter = -1;
    this.#faultNext = false;
    this.#disk.losePower();
    this.#s.trace.note(this.#s.time.now, `${life.name} ${why}`);
    this.#s.onDead(this, why);
  }

  crashAfterDiskOperations(count: number): void {
    this.#crashAfter = count;
  }

  failNextSync(): void {
    this.#faultNext = true;
  }

  pause(ms: number): void {
    if (this.life === null) return;
    this.life.pausedUntil = this.#s.time.now + ms;
    this.#s.trace.note(this.#s.time.now, `${this.life.name} pauses for ${ms.toFixed(0)} ms`);
  }

  heal(): void {
    this.healed = true;
    this.#crashAfter = -1;
    this.#faultNext = false;
    if (this.life !== null) this.life.pausedUntil = 0;
  }

  #failed(life: Life, error: unknown): void {
    if (life.dead) return;
    if (error instanceof DiskFault) this.crash("stops after a failed sync");
    else this.#s.violate("a member stops only when its disk fails", `${life.name}: ${(error as Error).stack ?? error}`);
  }
}
