// The replicated log on raft: what control-plane/log/log.ts promises, and the way in for the transport.
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { LogHealth, LogMember, LogStatus, ReplicatedLog, StateMachine } from "#control-plane/log/log.ts";
import { majority } from "#control-plane/raft/quorum.ts";
import type { ConfChange, Summary } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { RaftLoop } from "#control-plane/raft-host/loop.ts";
import { type Beginning, openMemberFiles, readIdentity } from "#control-plane/raft-host/member-files.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { encodePeer, type Peer } from "#control-plane/raft-host/peers.ts";
import type { ConnectTransport, TransportHost } from "#control-plane/raft-host/transport.ts";

export type RaftLogOptions = {
  readonly dir: string;
  readonly raftId: number;
  readonly clusterId: string;
  /** Needed when the folder is new, ignored otherwise. */
  readonly beginning: Beginning | null;
  readonly stateMachine: StateMachine;
  readonly transport: ConnectTransport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly tickMs?: number; // 50
  /** A follower campaigns after 1–2 times this many ticks of silence. */
  readonly electionTicks?: number; // 10
  readonly heartbeatTicks?: number; // 2
  readonly snapshotEvery?: number; // 10,000 entries
  readonly keepEntries?: number; // 5,000, of 16 MiB at most
  readonly segmentBytes?: number; // 16 MiB
  readonly disk?: Disk;
  /** What the member's files are encrypted with. */
  readonly keys: DataKeys;
  /** The log has stopped for good: a disk error or a broken invariant. The process should end. */
  readonly onFatal: (error: unknown) => void;
  /** The other managers say that this one was removed. */
  readonly onRemoved?: () => void;
};

export type RaftLog = ReplicatedLog & {
  /** For the transport's server side. */
  readonly host: TransportHost;
  /** Ends at once without syncing or telling anybody, as a crash does. */
  abandon(): void;
};

/** A leader whose disk is full tries again after this time to find another one. */
const HAND_OVER_AGAIN_MS = 10_000;

/** How far a learner may be behind to become a voter. */
const CAUGHT_UP_ENTRIES = 500;

/** Who the folder belongs to; null when it is new. */
export const readRaftIdentity = (dir: string, disk: Disk = nodeDisk): ReturnType<typeof readIdentity> =>
  readIdentity(disk, dir);

export const openRaftLog = async (options: RaftLogOptions): Promise<RaftLog> => {
  const disk = options.disk ?? nodeDisk;
  const segmentBytes = options.segmentBytes ?? 16 << 20;
  const { logger, clock, raftId, clusterId } = options;
  const tickMs = options.tickMs ?? 50;
  const electionTicks = options.electionTicks ?? 10;
  const files = await openMemberFiles({ ...options, disk, segmentBytes });
  const listeners = new Set<(status: LogStatus) => void>();
  let told: (Pick<Summary, "term" | "leader" | "conf"> & { peersVersion: number }) | null = null;
  const heard = new Map<number, number>();
  let removed = false;

  const status = (): LogStatus => {
    const s = loop.node.status();
    const progress = new Map(s.progress.map((p) => [p.id, p]));
    const isLeader = s.role === "leader";
    const member = (id: number): LogMember => ({
      raftId: id,
      nodeId: loop.peers.get(id)?.nodeId ?? "",
      addr: loop.peers.get(id)?.addr ?? "",
      voter: s.conf.voters.includes(id),
      leader: s.leader === id,
      reachable: id === raftId || (!loop.unreachable.has(id) && (!isLeader || progress.get(id)?.recentActive === true)),
      match: progress.get(id)?.match ?? 0,
    });
    const members = [...s.conf.voters, ...s.conf.learners].sort((a, b) => a - b).map(member);
    return { raftId, term: s.term, leaderId: s.leader, isLeader, commit: s.commit, applied: loop.applied, members };
  };

  const health = (): LogHealth => {
    const { role, conf } = loop.node.status();
    const own = role === "leader" || role === "follower" ? role : "candidate";
    return {
      ...loop.health(),
      role: removed ? "removed" : conf.learners.includes(raftId) ? "learner" : own,
      heard,
      raftIds: [...conf.voters, ...conf.learners, ...conf.removed],
    };
  };

  const afterTurn = () => {
    const { term, leader, conf } = loop.node.summary();
    const { peersVersion } = loop;
    if (term === told?.term && leader === told.leader && conf === told.conf && peersVersion === told.peersVersion)
      return;
    told = { term, leader, conf, peersVersion };
    const now = status();
    for (const listener of listeners) listener(now);
  };

  let handOverAt = 0;

  /** A leader that can't write hands over to one that may. Both may be full: so not at once again. */
  const stepAside = () => {
    const { role, conf } = loop.node.status();
    if (role !== "leader" || conf.voters.length < 2 || clock.monotonic() < handOverAt) return;
    handOverAt = clock.monotonic() + HAND_OVER_AGAIN_MS;
    logger.error("hands leadership over", { reason: loop.problem });
    transferLeadership().catch((error) => logger.warn("could not hand leadership over", { error }));
  };

  /** Learners that have caught up become voters. */
  const onTick = () => {
    if (loop.problem !== "") stepAside();
    const { role, conf } = loop.node.summary();
    if (role !== "leader" || conf.learners.length === 0) return;
    const s = loop.node.status();
    const ready = s.progress.find(
      (p) => p.learner && p.state === "replicate" && p.match + CAUGHT_UP_ENTRIES >= s.commit,
    );
    const peer = ready && loop.peers.get(ready.id);
    if (peer === undefined) return;
    const result = loop.proposeConfChange({ kind: "add-voter", id: peer.raftId, context: encodePeer(peer) });
    if (result !== "conf_pending") result.catch(() => {});
  };

  const loop = new RaftLoop({
    files,
    disk,
    stateMachine: options.stateMachine,
    clock,
    random: options.random,
    logger,
    tickMs,
    electionTicks,
    heartbeatTicks: options.heartbeatTicks ?? 2,
    snapshotEvery: options.snapshotEvery ?? 10_000,
    segmentBytes,
    keepEntries: options.keepEntries ?? 5000,
    onFatal: options.onFatal,
    afterTurn,
    onTick,
  });

  const pause = (): Promise<void> => new Promise((resolve) => clock.after(tickMs, resolve));

  /** `change` looks at the members as they are when no other change is under way; null: nothing to do. */
  const changeMembers = async (change: () => ConfChange | null): Promise<void> => {
    for (let tries = 0; tries < electionTicks * 10; tries++) {
      if (loop.stopped !== null) throw loop.stopped;
      if (loop.node.status().role !== "leader") throw loop.notLeader();
      const wanted = change();
      if (wanted === null) return;
      const result = loop.proposeConfChange(wanted);
      if (result !== "conf_pending") {
        await result;
        return;
      }
      await pause();
    }
    throw loop.refusal("conf_pending");
  };

  const addMember = async (nodeId: string, addr: string): Promise<number> => {
    let id = 0;
    await changeMembers(() => {
      const known = [...loop.peers.values()].find((p) => p.nodeId === nodeId);
      const { conf } = loop.node.status();
      id = known?.raftId ?? Math.max(...conf.voters, ...conf.learners, ...conf.removed) + 1;
      if (known?.addr === addr) return null;
      const peer: Peer = { raftId: id, nodeId, addr };
      return { kind: known === undefined ? "add-learner" : "update", id, context: encodePeer(peer) };
    });
    return id;
  };

  /**
   * A known node joins again only while it has nothing: a voter that lost its disk has forgotten its votes, and would break
   * the promises made with the old ones. It has to be removed and to join under a new id.
   */
  const joinMember = async (nodeId: string, addr: string): Promise<number> => {
    const s = loop.node.status();
    if (s.role !== "leader") throw loop.notLeader();
    const known = [...loop.peers.values()].find((p) => p.nodeId === nodeId);
    const progress = s.progress.find((p) => p.id === known?.raftId);
    if (known !== undefined && !(progress?.learner === true && progress.match === 0)) {
      throw new TswarmError(
        "conflict",
        `node ${nodeId} is manager ${known.raftId} already: remove it before it joins again`,
      );
    }
    return addMember(nodeId, addr);
  };

  const removeMember = (id: number): Promise<void> =>
    changeMembers(() => {
      const { conf, progress } = loop.node.status();
      if (conf.removed.includes(id)) return null;
      const rest = conf.voters.filter((v) => v !== id);
      if (rest.length === conf.voters.length && !conf.learners.includes(id)) {
        throw new TswarmError("not_found", `no manager has the raft id ${id}`);
      }
      if (conf.voters.includes(id)) {
        if (rest.length === 0) throw new TswarmError("conflict", "the last manager can't be removed");
        const active = progress.filter(
          (p) => rest.includes(p.id) && p.recentActive && !loop.unreachable.has(p.id),
        ).length;
        if (active < majority(rest.length)) {
          throw new TswarmError(
            "conflict",
            `without manager ${id} only ${active} of ${rest.length} would be reachable`,
          );
        }
      }
      return { kind: "remove", id, context: new Uint8Array(0) };
    });

  /** Whether the status becomes as wanted within `ms`. */
  const until = (wanted: (status: LogStatus) => boolean, ms: number): Promise<boolean> =>
    new Promise((resolve) => {
      const end = (result: boolean) => {
        listeners.delete(look);
        cancel();
        resolve(result);
      };
      const look = (now: LogStatus) => {
        if (wanted(now)) end(true);
      };
      const cancel = clock.after(ms, () => end(false));
      listeners.add(look);
      look(status());
    });

  const transferLeadership = async (to?: number): Promise<void> => {
    const s = loop.node.status();
    if (s.role !== "leader") throw loop.notLeader();
    const best = s.progress
      .filter((p) => p.id !== raftId && !p.learner && p.recentActive && !loop.unreachable.has(p.id))
      .sort((a, b) => b.match - a.match)[0];
    const target = to ?? best?.id;
    if (target === raftId) return;
    if (target === undefined || !s.progress.some((p) => p.id === target && !p.learner)) {
      throw new TswarmError("unavailable", "no other manager can take the leadership now");
    }
    loop.node.transferLeadership(target);
    loop.schedule();
    const taken = await until((now) => now.leaderId !== raftId && now.leaderId !== 0, electionTicks * 2 * tickMs);
    if (!taken) throw new TswarmError("unavailable", `manager ${target} did not take the leadership in time`);
  };

  const host: TransportHost = {
    raftId,
    clusterId,
    receive: (messages) => {
      if (messages[0] !== undefined) heard.set(messages[0].from, clock.now());
      loop.receive(messages);
    },
    beginSnapshot: (id, resumes) => loop.beginSnapshot(id, resumes),
    unreachable: (id) => loop.reportUnreachable(id),
    arrived: (id) => loop.peerArrived(id),
    lost: (id) => loop.peerLost(id),
    isRemoved: (id) => loop.node.summary().conf.removed.includes(id),
    removedByOthers: () => {
      removed = true;
      options.onRemoved?.();
    },
    peers: () => [...loop.peers.values()],
    addMember: joinMember,
    removeMember,
  };

  const stop = async (): Promise<void> => {
    if (loop.stopped !== null) return;
    if (loop.node.status().role === "leader" && loop.node.status().conf.voters.length > 1) {
      await transferLeadership().catch((error) => logger.warn("stops without handing over leadership", { error }));
    }
    loop.halt(new TswarmError("unavailable", "this manager is stopping"));
    await files.wal.close();
    files.unlock();
  };

  await loop.start(options.transport(host));
  return {
    host,
    propose: (data) => loop.propose(data),
    readBarrier: () => loop.readBarrier(),
    status,
    health,
    onStatus: (listener) => {
      listeners.add(listener);
      listener(status());
      return () => listeners.delete(listener);
    },
    addMember,
    removeMember,
    transferLeadership,
    stop,
    abandon: () => {
      loop.halt(new TswarmError("unavailable", "this manager is gone"));
      files.wal.abandon();
      files.unlock();
    },
  };
};
