// How the quorum is, put together from what each manager says about itself. Also when nobody leads: then from those that
// answer, with who is missing and what to do.
import { majority } from "#control-plane/raft/quorum.ts";
import type { QuorumManager, QuorumMember, QuorumStatusResponse } from "#proto/gen/quorum.ts";

/** So far behind, a manager is named: it takes a while to be of use when another one fails. */
const LAGS_ENTRIES = 1_000;
/** Half of an election's time: a disk as slow as this makes the manager miss elections. */
const SLOW_SYNC_MS = 500;

export type QuorumView = Omit<QuorumStatusResponse, "cluster" | "nodes" | "answeredBy">;

const named = (managers: readonly Pick<QuorumManager, "name" | "nodeId">[]): string =>
  managers.map((m) => m.name || m.nodeId).join(", ");

const is = (count: number): string => (count === 1 ? "is" : "are");

/**
 * @param own what the manager says that was asked
 * @param others what those say that it could reach, by raft id
 * @param nameOf a node's name; "" when it is not known
 */
export const quorumView = (
  own: QuorumMember,
  others: ReadonlyMap<number, QuorumMember>,
  nameOf: (nodeId: string) => string,
): QuorumView => {
  const reports = new Map([...others, [own.raftId, own]]);
  // Two may say that they lead: one of them does not know better yet.
  const leader = [...reports.values()].filter((r) => r.role === "leader").sort((a, b) => b.term - a.term)[0];
  const teller = leader ?? own;
  const newest = leader?.commit ?? Math.max(...[...reports.values()].map((r) => r.lastIndex));
  const members = teller.peers.map((peer): QuorumManager => {
    const report = reports.get(peer.raftId);
    const match = (leader && peer.match) || (report?.lastIndex ?? 0);
    const heardAt = Math.max(...[...reports.values()].map((r) => heardOf(r, peer.raftId)));
    return {
      ...{ raftId: peer.raftId, nodeId: peer.nodeId, addr: peer.addr, voter: peer.voter, name: nameOf(peer.nodeId) },
      leader: leader?.raftId === peer.raftId,
      reachable: report !== undefined || (leader !== undefined && peer.reachable),
      ...{ match, heardAt, role: report?.role ?? "", own: report },
      lag: match === 0 ? 0 : Math.max(0, newest - match),
    };
  });
  const voters = members.filter((m) => m.voter);
  const reachableVoters = voters.filter((m) => m.reachable).length;
  const needed = majority(voters.length);
  const view = {
    members,
    term: teller.term,
    commit: teller.commit,
    applied: own.applied,
    leaderNodeId: members.find((m) => m.leader)?.nodeId ?? "",
    voters: voters.length,
    ...{ reachableVoters, needed },
    canLose: Math.max(0, reachableVoters - needed),
  };
  return { ...view, warnings: warningsOf(view, own) };
};

const heardOf = (report: QuorumMember, raftId: number): number =>
  report.peers.find((p) => p.raftId === raftId)?.heardAt ?? 0;

const warningsOf = (view: Omit<QuorumView, "warnings">, own: QuorumMember): string[] => {
  const { members, voters, reachableVoters, needed, canLose, leaderNodeId } = view;
  if (own.role === "removed")
    return [
      "this manager was removed from the cluster: the others go on without it. " +
        "Run `tsctl cluster leave --force` here, then join again.",
    ];
  const missing = members.filter((m) => !m.reachable);
  if (reachableVoters < needed) {
    const best = members.filter((m) => m.own).sort((a, b) => newer(a.own!, b.own!))[0];
    return [
      `no quorum: ${reachableVoters} of ${voters} managers can be reached, ${needed} are needed. ` +
        "Containers and networks go on as they are, but nothing can be changed.",
      `bring ${named(missing.filter((m) => m.voter))} back. If they are lost for good, run ` +
        `\`tsctl cluster recover --force-new-cluster\` on ${best ? named([best]) : "this manager"}` +
        (members.filter((m) => m.own).length > 1 ? ", which has the newest log of those that answer." : "."),
    ];
  }
  const warnings: string[] = [];
  if (leaderNodeId === "") warnings.push("nobody leads at the moment: an election is under way.");
  if (missing.length > 0) warnings.push(`${named(missing)} can't be reached.`);
  if (canLose === 0)
    warnings.push(
      voters === 1
        ? "the only manager: if its disk is lost, the cluster is. Promote two more nodes, and keep backups (`tsctl cluster backup`)."
        : `the cluster can lose no more manager: ${reachableVoters} of ${voters} can be reached, and ${needed} are needed.`,
    );
  if (voters === 2) warnings.push("two managers are worse than one: both are needed. Promote a third.");
  const learners = members.filter((m) => !m.voter);
  if (learners.length > 0) warnings.push(`${named(learners)} ${is(learners.length)} catching up and can't vote yet.`);
  for (const m of parted(members, own))
    warnings.push(
      `the state of ${named([m])} is another one than that of ${named(members.filter((o) => o.raftId === own.raftId))}, at the same place of the log. ` +
        "Keep both folders for a report, demote the one that differs from the others, and promote it again.",
    );
  const lagging = members.filter((m) => m.reachable && m.lag >= LAGS_ENTRIES);
  for (const m of lagging) warnings.push(`${named([m])} is ${m.lag} entries behind.`);
  const slow = members.filter((m) => (m.own?.syncP99Ms ?? 0) >= SLOW_SYNC_MS);
  for (const m of slow)
    warnings.push(`the disk of ${named([m])} is slow: ${Math.round(m.own!.syncP99Ms)} ms for a sync.`);
  return warnings;
};

/** Those whose state differs from the asked one's at the newest index that both remember. */
const parted = (members: readonly QuorumManager[], own: QuorumMember): QuorumManager[] => {
  const known = new Map(own.digests.map(({ index, digest }) => [index, digest]));
  return members.filter(({ own: report }) => {
    const common = report?.digests.findLast(({ index }) => known.has(index));
    return common !== undefined && known.get(common.index) !== common.digest;
  });
};

/** By the rule of elections (Raft §5.4.1), except that the term of the last entry is not told: the longest log. */
const newer = (a: QuorumMember, b: QuorumMember): number => b.commit - a.commit || b.lastIndex - a.lastIndex;
