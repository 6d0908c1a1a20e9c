// Faults in the core, of the classes that production rafts had: votes, terms, logs, counting, reads, members.
import type { Edit, Mutant } from "#test-cluster/sim/mutants/mutant.ts";

const edit = (file: string, from: string, to: string): Edit => ({ file: `control-plane/raft/${file}`, from, to });

const votes: readonly Mutant[] = [
  {
    name: "votes without comparing the logs",
    edits: [edit("candidate.ts", "!core.log.isUpToDate(m.lastIndex, m.lastTerm)", "core.log.lastIndex < 0")],
  },
  {
    name: "compares only the lengths of the logs",
    edits: [
      edit(
        "log.ts",
        "return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex);",
        "return lastIndex >= this.lastIndex;",
      ),
    ],
    faults: {
      members: 3,
      partitionEvery: 800,
      crashEvery: 0,
      aimAtLeader: 0.8,
      faultMs: 1000,
      fillerEvery: 150,
      burst: 12,
      hangUpEvery: 300,
    },
  },
  {
    name: "does not compare the logs when leadership is handed over",
    edits: [
      edit(
        "candidate.ts",
        "!core.log.isUpToDate(m.lastIndex, m.lastTerm)",
        "(!m.transfer && !core.log.isUpToDate(m.lastIndex, m.lastTerm))",
      ),
      edit(
        "leader.ts",
        "if (progress?.match === core.log.lastIndex) core.send(core.transferee",
        "if (progress !== undefined) core.send(core.transferee",
      ),
    ],
    faults: { transferEvery: 700 },
  },
  {
    name: "counts votes by message",
    edits: [
      edit(
        "candidate.ts",
        "if (!core.votes.has(from)) core.votes.set(from, granted);",
        "core.votes.set(granted ? core.conf.voters[core.votes.size]! : from, granted);",
      ),
    ],
  },
  {
    name: "takes an answer for a grant",
    edits: [
      edit(
        "candidate.ts",
        `if (core.role === "candidate") recordVote(core, m.from, !m.reject);`,
        `if (core.role === "candidate") recordVote(core, m.from, true);`,
      ),
    ],
  },
  {
    name: "votes twice in a term",
    edits: [edit("candidate.ts", "core.vote === m.from || (core.vote", `core.role !== "leader" || (core.vote`)],
  },
  {
    name: "forgets its vote at a restart",
    edits: [edit("core.ts", "this.vote = restart.hardState?.vote ?? 0;", "this.vote = 0;")],
  },
  {
    name: "votes before the disk has the vote",
    edits: [edit("core.ts", `  "vote-response",\n`, "")],
  },
  {
    name: "asks for votes before the disk has its own",
    edits: [edit("core.ts", `  "vote",\n`, "")],
  },
  {
    name: "does not sync votes and terms",
    edits: [edit("node.ts", "mustSync: moved ||", "mustSync:")],
  },
  {
    name: "lets a minority win an election",
    edits: [
      edit(
        "quorum.ts",
        "export const majority = (voters: number): number => Math.floor(voters / 2) + 1;",
        "export const majority = (voters: number): number => Math.ceil(voters / 2);",
      ),
    ],
    faults: { members: 4 },
  },
];

const logs: readonly Mutant[] = [
  {
    name: "answers an append before the disk has it",
    edits: [edit("core.ts", `  "append-response",\n`, "")],
  },
  {
    name: "counts its own entries before its disk has them",
    edits: [edit("replicate.ts", "id === core.id ? core.log.stable", "id === core.id ? core.log.lastIndex")],
    faults: { crashEvery: 700, slowSyncRate: 1, slowSyncMs: 300, aimAtLeader: 0.8 },
  },
  {
    name: "commits entries of older terms by counting",
    edits: [
      edit(
        "log.ts",
        "if (index <= this.committed || this.term(index) !== term) return false;",
        "if (index <= this.committed || term < 0) return false;",
      ),
    ],
  },
  {
    name: "commits beyond the last entry that matches",
    edits: [edit("follower.ts", "Math.min(m.commit, last)", "Math.min(m.commit, log.lastIndex)")],
    script: "commit-last-new-entry",
  },
  {
    name: "accepts up to the end of its own log",
    edits: [edit("follower.ts", "accepted(core, m.from, last);", "accepted(core, m.from, log.lastIndex);")],
    script: "commit-last-new-entry",
  },
  {
    name: "truncates without a conflict",
    edits: [
      edit(
        "log.ts",
        "entries.findIndex((e) => this.term(e.index) !== e.term);",
        "entries.findIndex((e) => e.index > this.committed);",
      ),
    ],
  },
  {
    name: "does not truncate what conflicts",
    edits: [
      edit(
        "log.ts",
        "entries.findIndex((e) => this.term(e.index) !== e.term);",
        "entries.findIndex((e) => this.term(e.index) === undefined);",
      ),
    ],
  },
  {
    name: "takes a late write for that of the entry in its place",
    edits: [edit("log.ts", "for (const claim of this.#claims) claim.index = Math.min(claim.index, index - 1);", "")],
    script: "overwritten-write",
  },
  {
    name: "takes what is in memory for written when an older write ends",
    edits: [
      edit(
        "log.ts",
        "this.stable = Math.max(this.stable, this.#claims.shift()!.index);",
        "this.#claims.shift();\n      this.stable = this.lastIndex;",
      ),
    ],
    faults: { slowSyncRate: 1, slowSyncMs: 300, crashEvery: 700, aimAtLeader: 0.8 },
  },
  {
    name: "applies before its disk has it",
    edits: [
      edit(
        "log.ts",
        "const to = Math.min(this.committed, this.stable);\n    if (to",
        "const to = this.committed;\n    if (to",
      ),
      edit(
        "log.ts",
        "return Math.min(this.committed, this.stable) > this.applying;",
        "return this.committed > this.applying;",
      ),
    ],
  },
  {
    name: "takes a rejection for an acceptance",
    edits: [
      edit(
        "progress.ts",
        `if (this.state === "replicate") {\n      if (rejected <= this.match)`,
        `this.match = Math.max(this.match, rejected);\n    if (this.state === "replicate") {\n      if (rejected <= this.match)`,
      ),
    ],
  },
  {
    name: "takes an answered heartbeat for a match",
    edits: [
      edit("leader.ts", "progress.resumeProbe();", "progress.resumeProbe();\n    progress.acked(progress.next - 1);"),
    ],
  },
  {
    name: "takes answers of an older term",
    edits: [edit("node.ts", "if (m.term < core.term) {", `if (m.term < core.term && m.kind !== "append-response") {`)],
    script: "older-term-acks",
  },
];

const reads: readonly Mutant[] = [
  {
    name: "reads before an entry of its own term is committed",
    edits: [
      edit("replicate.ts", "if (core.log.term(core.log.committed) !== core.term) {", "if (core.log.committed < 0) {"),
    ],
  },
  {
    name: "reads without asking anybody",
    edits: [
      edit(
        "replicate.ts",
        "id === core.id ? reads.round : (core.progress.get(id)?.round ?? 0)",
        "id >= 0 ? reads.round : 0",
      ),
    ],
    faults: {
      ...{ members: 3, partitionEvery: 1500, faultMs: 4000, aimAtLeader: 0.8, clients: 5, thinkMs: 100 },
      ...{ dropRate: 0, crashEvery: 0, hangUpEvery: 0, pauseEvery: 0 },
    },
  },
  {
    name: "confirms a read by an answer to an older heartbeat",
    edits: [edit("read-index.ts", "round: ++this.round", "round: this.round")],
    faults: {
      ...{ members: 3, partitionEvery: 1500, faultMs: 4000, aimAtLeader: 0.8, clients: 5, thinkMs: 100 },
      ...{ dropRate: 0, crashEvery: 0, hangUpEvery: 0, pauseEvery: 0 },
    },
  },
  {
    name: "confirms a read by the answer of one member",
    edits: [
      edit(
        "replicate.ts",
        "const round = committedIndex(core.conf.voters, (id) =>\n    id === core.id ? reads.round : (core.progress.get(id)?.round ?? 0),\n  );",
        "const round = Math.max(...[...core.progress].map(([id, p]) => (id !== core.id ? p.round : core.progress.size === 1 ? reads.round : 0)));",
      ),
    ],
    faults: {
      ...{ members: 5, partitionEvery: 1500, faultMs: 4000, aimAtLeader: 0.8, clients: 5, thinkMs: 100 },
      ...{ dropRate: 0, crashEvery: 0, hangUpEvery: 0, pauseEvery: 0 },
    },
  },
];

const members: readonly Mutant[] = [
  {
    name: "changes members before an entry of its own term is applied",
    edits: [edit("leader.ts", "core.pendingConfIndex = appendOwn(core,", "appendOwn(core,")],
    faults: { churnEvery: 700 },
    script: "conf-before-own-commit",
  },
  {
    name: "changes members while another change is under way",
    edits: [edit("leader.ts", "if (result.ok) core.pendingConfIndex = result.index;", "")],
    faults: { members: 3, churnEvery: 300, partitionEvery: 800, slowSyncRate: 1, slowSyncMs: 300 },
  },
  {
    name: "campaigns with changes of members it has not applied",
    edits: [edit("core.ts", " && !log.hasUnappliedConf", "")],
    faults: { churnEvery: 700 },
    script: "unapplied-conf",
  },
  {
    name: "keeps its old members when a snapshot comes",
    edits: [edit("follower.ts", "core.conf = snapshot.conf;", "")],
    faults: { churnEvery: 700, snapshotEvery: 15, keepEntries: 0 },
  },
  {
    name: "counts learners",
    edits: [
      edit(
        "replicate.ts",
        "const index = committedIndex(core.conf.voters, (id)",
        "const index = committedIndex([...core.conf.voters, ...core.conf.learners], (id)",
      ),
    ],
    script: "single-grows",
  },
  {
    name: "takes a new member to have everything",
    edits: [
      edit(
        "leader.ts",
        "else progress.set(id, core.newProgress(log.lastIndex + 1, learner, true));",
        "else {\n      const p = core.newProgress(log.lastIndex + 1, learner, true);\n      p.match = log.lastIndex;\n      progress.set(id, p);\n    }",
      ),
    ],
    faults: { churnEvery: 700 },
  },
  {
    name: "leaves a member of a higher term alone for ever",
    edits: [
      edit(
        "node.ts",
        `core.send(m.from, { kind: "append-response", index: 0, reject: true, hintIndex: 0, hintTerm: 0 });`,
        "",
      ),
    ],
  },
];

export const coreMutants: readonly Mutant[] = [...votes, ...logs, ...reads, ...members];
