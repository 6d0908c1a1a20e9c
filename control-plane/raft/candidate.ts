// Elections: pre-vote (§9.6) asks whether a campaign could be won without disturbing anybody, then the real vote.
import type { Core } from "#control-plane/raft/core.ts";
import { becomeFollower, followerStep } from "#control-plane/raft/follower.ts";
import { becomeLeader } from "#control-plane/raft/leader.ts";
import { voteResult } from "#control-plane/raft/quorum.ts";
import type { Message, MessageOf } from "#control-plane/raft/types.ts";

/** "transfer": the leader asked for it, so without pre-vote and over leader stickiness. */
export const campaign = (core: Core, kind: "pre-vote" | "vote" | "transfer"): void => {
  const real = kind !== "pre-vote";
  const hurry = !real && core.leaderLost;
  core.resetRole(real ? core.term + 1 : core.term);
  core.restartElectionTimer();
  if (hurry) {
    // The others may notice later that the leader is gone. Votes take a sync each: they get the usual time.
    core.leaderLost = true;
    core.electionTimeout = Math.min(core.electionTimeout, 2 * core.conf.voters.length);
  }
  core.role = real ? "candidate" : "pre-candidate";
  if (real) {
    core.vote = core.id;
    // The next Ready carries this vote; it counts once that is on disk.
    core.selfVoteToken = core.nextToken;
  }
  const { lastIndex, lastTerm } = core.log;
  const body = { kind: real ? "vote" : "pre-vote", lastIndex, lastTerm, transfer: kind === "transfer" } as const;
  for (const id of core.conf.voters) {
    if (id !== core.id) core.send(id, body, real ? core.term : core.term + 1);
  }
  if (!real) recordVote(core, core.id, true);
};

/** Only the first answer of a voter counts. */
export const recordVote = (core: Core, from: number, granted: boolean): void => {
  if (!core.votes.has(from)) core.votes.set(from, granted);
  const result = voteResult(core.conf.voters, core.votes);
  if (result === "lost") becomeFollower(core, core.term, 0);
  if (result === "won") core.role === "candidate" ? becomeLeader(core) : campaign(core, "vote");
};

/** Also for followers and leaders. Learners vote too: they may be voters already without knowing it. */
export const handleVoteRequest = (core: Core, m: MessageOf<"vote" | "pre-vote">): void => {
  const pre = m.kind === "pre-vote";
  const kind = pre ? "pre-vote-response" : "vote-response";
  const free = core.vote === m.from || (core.vote === 0 && core.leader === 0) || (pre && m.term > core.term);
  if (!free || !core.log.isUpToDate(m.lastIndex, m.lastTerm)) {
    core.send(m.from, { kind, reject: true });
    return;
  }
  // A granted pre-vote answers with the term asked about, which is not ours yet.
  core.send(m.from, { kind, reject: false }, m.term);
  if (!pre) {
    core.electionElapsed = 0;
    core.vote = m.from;
  }
};

export const candidateStep = (core: Core, m: Message): void => {
  switch (m.kind) {
    // Same term: somebody else has won it.
    case "append":
    case "heartbeat":
    case "snapshot":
      becomeFollower(core, m.term, m.from);
      followerStep(core, m);
      return;
    case "vote-response":
      if (core.role === "candidate") recordVote(core, m.from, !m.reject);
      return;
    case "pre-vote-response":
      // A grant names the term asked about: one for an earlier question does not count.
      if (core.role === "pre-candidate" && m.term === core.term + (m.reject ? 0 : 1)) {
        recordVote(core, m.from, !m.reject);
      }
      return;
    default:
  }
};
