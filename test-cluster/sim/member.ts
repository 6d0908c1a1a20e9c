// One member: a disk that stays, and one life of its process after the other. A life runs the real host on the real core.
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Core } from "#control-plane/raft/core.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { Beginning } from "#control-plane/raft-host/member-files.ts";
import { openRaftLog, type RaftLog } from "#control-plane/raft-host/raft-log.ts";
import type { RaftTransport, TransportHost } from "#control-plane/raft-host/transport.ts";
import { between, chance, fork } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import { DiskFault, SimDisk } from "#test-cluster/sim/sim-disk.ts";
import { SimKeys } from "#test-cluster/sim/sim-keys.ts";
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
  // What the checks have looked at.
  seenCommit: number;
  seenApplied: number;
  seenTerm: number;
  /** The term it was last seen to lead, and in it: its last index, and what the others are taken to have. */
  leading: number;
  seenLast: number;
  readonly seenMatches: Map<number, number>;
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
  /** `stack`: for the reader, not part of the run. */
  readonly violate: (property: string, detail: string, stack?: string) => void;
  /** Puts something around the disk; for tests of the simulator. */
  readonly wrapDisk: (disk: Disk) => Disk;
};

export class SimMember {
  readonly raftId: number;
  readonly nodeId: string;
  life: Life | null = null;
  removed = false;
  /** Its disk was damaged, and it refuses to start. */
  lost = false;
  healed = false;
  /** Steps (events, disk operations, batches sent) until the process dies in the middle of one; -1: never. */
  #crashAfter = -1;
  /** Of its clock to the true one, and how far its wall clock is off, ms. */
  #rate: number;
  #wallOffset = 0;
  #rotten = false;
  #faultNext = false;
  #disk: SimDisk;
  #keys = new SimKeys();
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
    this.#rate = between(this.#random, 0.95, 1.05);
  }

  get alive(): boolean {
    return this.life !== null && !this.life.dead;
  }

  start(): void {
    const { time, trace, watch, mix } = this.#s;
    const number = ++this.#lives;
    const name = `${this.raftId}.${number}`;
    const waits = fork(this.#random);
    const restoring = (): Promise<void> => time.wait(waits.float() * mix.restoreMs, life);
    const life: Life = {
      ...{ name, dead: false, pausedUntil: 0, member: this, number, state: new SimState(name, watch, restoring) },
      ...{ host: null, log: null, core: null, seenCommit: 0, seenApplied: 0, seenTerm: 0 },
      ...{ leading: 0, seenLast: 0, seenMatches: new Map() },
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
    return openRaftLog({
      dir: "/member",
      raftId: this.raftId,
      clusterId: "simulated",
      keys: this.#keys,
      beginning: this.#beginning,
      stateMachine: life.state,
      transport: (host) => {
        life.host = host;
        return transport(life);
      },
      clock: {
        now: () => time.now + this.#wallOffset,
        monotonic: () => time.now,
        after: (ms, callback) => time.after(ms / this.#rate, life, callback),
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
        beforeChange: () => this.step(life),
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

  crashAfterSteps(count: number): void {
    this.#crashAfter = count;
  }

  /** The end of an event is a step too. */
  endOfEvent(): void {
    if (this.#crashAfter >= 0 && this.#crashAfter-- === 0) this.crash("crashes");
  }

  /** One step of this life. Throws when it does not live to see its end. */
  step(life: Life): void {
    if (!life.dead) {
      if (this.#crashAfter < 0 || this.#crashAfter-- > 0) return;
      this.crash("crashes in the middle of something");
    }
    throw new Error("this process is dead");
  }

  failNextSync(): void {
    this.#faultNext = true;
  }

  pause(ms: number): void {
    if (this.life === null) return;
    this.life.pausedUntil = this.#s.time.now + ms;
    this.#s.trace.note(this.#s.time.now, `${this.life.name} pauses for ${ms.toFixed(0)} ms`);
  }

  /** Nothing new fits on the disk for some time. */
  fillDisk(ms: number): void {
    const { time, trace } = this.#s;
    this.#disk.full++;
    trace.note(time.now, `the disk of ${this.raftId} is full for ${ms.toFixed(0)} ms`);
    time.after(ms, time.world, () => {
      this.#disk.full--;
    });
  }

  /** Some bits of what is on the medium turn over. */
  rot(random: Random): void {
    if (this.removed || this.lost) return;
    const what = this.#disk.rot(random);
    if (what === null) return;
    this.#rotten = true;
    this.#s.trace.note(this.#s.time.now, `the disk of ${this.raftId} rots: ${what}`);
  }

  /** The data key of its files changes, as `cluster update` asks for. */
  rotateKey(): void {
    this.#keys.rotate();
    this.#s.trace.note(this.#s.time.now, `${this.raftId} gets another data key`);
  }

  /** Its clock goes at another speed from now on, and its wall clock jumps. */
  changeClock(random: Random): void {
    const { time, trace, mix } = this.#s;
    this.#rate = between(random, 1 - mix.clockDrift, 1 + mix.clockDrift);
    this.#wallOffset = (random.float() - 0.5) * 2 * 86_400_000;
    trace.note(time.now, `the clock of ${this.raftId} now runs at ${this.#rate.toFixed(2)}`);
  }

  heal(): void {
    this.healed = true;
    this.#disk.full = 0;
    this.#rate = 1;
    this.#crashAfter = -1;
    this.#faultNext = false;
    if (this.life !== null) this.life.pausedUntil = 0;
  }

  #failed(life: Life, error: unknown): void {
    if (life.dead) return;
    if (hasCause(error, (e) => e instanceof DiskFault)) this.crash("stops after a failed sync");
    else if (hasCause(error, (e) => (e as { code?: unknown }).code === "ENOSPC")) this.crash("stops: its disk is full");
    else if (this.#rotten && error instanceof TswarmError) {
      this.lost = true;
      this.crash(`refuses its damaged disk: ${error.message}`);
    } else {
      const { message, stack } = error as Error;
      this.#s.violate("a member stops only when its disk fails", `${life.name}: ${message}`, stack);
    }
  }
}

const hasCause = (error: unknown, is: (error: object) => boolean): boolean =>
  typeof error === "object" && error !== null && (is(error) || hasCause((error as { cause?: unknown }).cause, is));
