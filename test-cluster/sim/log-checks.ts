// Properties of the logs of all members together, looked at from outside of the code under test (Ongaro's dissertation,
// figure 3.2): at most one leader in a term, log matching, leader completeness, and what a member has promised to others
// must still be there when it comes back.
import type { Core } from "#control-plane/raft/core.ts";
import type { Entry, Message } from "#control-plane/raft/types.ts";
import { checksum } from "#test-cluster/sim/checksum.ts";
import type { Life } from "#test-cluster/sim/member.ts";

export type Violate = (property: string, detail: string) => void;

type KnownEntry = { readonly term: number; readonly previousTerm: number; readonly sum: number };
/** `inTerm`: the term of the member that was first seen to count it as committed. */
type CommittedEntry = { readonly term: number; readonly inTerm: number; readonly sum: number; readonly by: string };

/** What a member, over all its lives, has told others it will not forget. */
type Promises = {
  term: number;
  readonly votes: Map<number, number>;
  /** What was applied was on the disk before (`Ready.committed`). */
  applied: number;
  /** Accepted entries of the newest term that accepted any. */
  ack: { readonly term: number; readonly index: number; readonly entryTerm: number } | null;
};

const sumOf = (entry: Entry): number => checksum(entry.data, entry.type === "conf" ? 1 : 0);

export class LogChecks {
  commits = 0;
  elections = 0;
  #violate: Violate;
  #leaders = new Map<number, string>();
  /** By index; of each term that ever had one there. */
  #entries: KnownEntry[][] = [];
  #committed: (CommittedEntry | undefined)[] = [];
  #promises = new Map<number, Promises>();

  #coreOf: (raftId: number) => Core | undefined;

  /** `coreOf`: of the life that runs now. */
  constructor(violate: Violate, coreOf: (raftId: number) => Core | undefined) {
    this.#violate = violate;
    this.#coreOf = coreOf;
  }

  /** A life has just read its disk and made its core. */
  began(life: Life, core: Core): void {
    this.#mustHaveKept(life, core);
    life.seenTerm = core.term;
    const { log } = core;
    for (const entry of core.config.restart.entries) this.#sawEntry(life, entry, log.term(entry.index - 1));
    // Watched at the only door for new entries.
    const append = log.append.bind(log);
    log.append = (entries) => {
      append(entries);
      for (const entry of entries) this.#sawEntry(life, entry, log.term(entry.index - 1));
    };
  }

  #sawEntry(life: Life, entry: Entry, previousTerm: number | undefined): void {
    const { index, term } = entry;
    const there = (this.#entries[index] ??= []);
    const known = there.find((e) => e.term === term);
    const sum = sumOf(entry);
    if (known === undefined) {
      if (previousTerm !== undefined) there.push({ term, previousTerm, sum });
    } else if (known.sum !== sum || (previousTerm ?? known.previousTerm) !== known.previousTerm) {
      this.#violate(
        "log matching",
        `${life.name} has another entry ${index}:${term}, or another term before it (${previousTerm})`,
      );
    }
  }

  /** After each event of a life. */
  look(life: Life, core: Core): void {
    if (core.term < life.seenTerm) this.#violate("monotonic term", `${life.name}: ${life.seenTerm} to ${core.term}`);
    life.seenTerm = core.term;
    if (core.role === "leader") this.#lookAtLeader(life, core);
    if (core.log.committed !== life.seenCommit) this.#lookAtCommits(life, core);
    if (core.log.applied <= life.seenApplied) return;
    life.seenApplied = core.log.applied;
    const promises = this.#promisesOf(life);
    promises.applied = Math.max(promises.applied, core.log.applied);
  }

  #lookAtLeader(life: Life, core: Core): void {
    const { log, term } = core;
    if (life.leading !== term) {
      life.leading = term;
      life.seenMatches.clear();
      life.seenLast = 0;
      this.#becameLeader(life, core);
    }
    if (log.lastIndex < life.seenLast) {
      this.#violate("a leader only appends", `${life.name} of term ${term}: from ${life.seenLast} to ${log.lastIndex}`);
    }
    life.seenLast = log.lastIndex;
    if (log.committed > life.seenCommit && life.leading === term && log.term(log.committed) !== term) {
      this.#violate(
        "a leader counts only entries of its own term",
        `${life.name} of term ${term} commits ${log.committed}`,
      );
    }
    for (const [id, { match }] of core.progress) {
      if (life.seenMatches.get(id) === match) continue;
      const other = this.#coreOf(id);
      // A member of a later term may have replaced what it accepted in this one.
      if (id === core.id || match === 0 || other?.term !== term) continue;
      life.seenMatches.set(id, match);
      const theirs = other.log.term(match);
      const own = log.term(match);
      if (own === theirs || match < log.firstIndex - 1 || (theirs === undefined && match < other.log.firstIndex))
        continue;
      this.#violate(
        "the leader's match is true",
        `${life.name} of term ${term} takes ${id} to have ${match}:${own}: ${theirs}`,
      );
    }
  }

  #becameLeader(life: Life, core: Core): void {
    this.elections++;
    const other = this.#leaders.get(core.term);
    if (other !== undefined) this.#violate("election safety", `${other} and ${life.name} lead term ${core.term}`);
    this.#leaders.set(core.term, life.name);
    for (let index = Math.max(core.log.firstIndex - 1, 1); index < this.#committed.length; index++) {
      const committed = this.#committed[index];
      const own = core.log.term(index);
      // A candidate that slept may still win an older term; it can't commit anything.
      if (committed === undefined || committed.inTerm >= core.term || own === committed.term) continue;
      const has = own === undefined ? "lacks it" : `has one of term ${own}`;
      this.#violate(
        "leader completeness",
        `entry ${index}:${committed.term} was committed at ${committed.by}; leader ${life.name} of term ${core.term} ${has}`,
      );
    }
  }

  #lookAtCommits(life: Life, core: Core): void {
    const { log } = core;
    if (log.committed < life.seenCommit) {
      this.#violate("monotonic commit", `${life.name}: from ${life.seenCommit} to ${log.committed}`);
    }
    for (let index = Math.max(life.seenCommit + 1, log.firstIndex); index <= log.committed; index++) {
      const entry = log.at(index)!;
      const committed = this.#committed[index];
      const sum = sumOf(entry);
      if (committed === undefined) {
        this.#committed[index] = { term: entry.term, inTerm: core.term, sum, by: life.name };
        this.commits++;
      } else if (committed.term !== entry.term || committed.sum !== sum) {
        const both = `${committed.term} at ${committed.by}, ${entry.term} at ${life.name}`;
        this.#violate("one committed entry at an index", `${index}: terms ${both}`);
      }
    }
    life.seenCommit = log.committed;
  }

  /** A message leaves the member, and with it a promise. */
  sent(life: Life, m: Message): void {
    const core = life.core!;
    if (m.kind === "vote") this.#promisedVote(life, m.term, m.from);
    if (m.kind === "vote-response" && !m.reject) this.#promisedVote(life, m.term, m.to);
    if (m.kind !== "append-response" || m.reject) return;
    const promises = this.#promisesOf(life);
    promises.term = Math.max(promises.term, m.term);
    const entryTerm = core.log.term(m.index);
    // An answer of an earlier term may speak of what a new leader has replaced meanwhile.
    if (m.term !== core.term || entryTerm === undefined) return;
    if (promises.ack?.term === m.term && promises.ack.index > m.index) return;
    promises.ack = { term: m.term, index: m.index, entryTerm };
  }

  #promisedVote(life: Life, term: number, candidate: number): void {
    const promises = this.#promisesOf(life);
    promises.term = Math.max(promises.term, term);
    const before = promises.votes.get(term);
    promises.votes.set(term, candidate);
    if (before !== undefined && before !== candidate) {
      this.#violate("one vote in a term", `${life.name} votes in term ${term} for ${before} and for ${candidate}`);
    }
  }

  #promisesOf(life: Life): Promises {
    const id = life.member.raftId;
    let promises = this.#promises.get(id);
    if (promises === undefined)
      this.#promises.set(id, (promises = { term: 0, votes: new Map(), applied: 0, ack: null }));
    return promises;
  }

  #mustHaveKept(life: Life, core: Core): void {
    const promises = this.#promisesOf(life);
    const lost = (what: string) => this.#violate("promises survive a crash", `${life.name} ${what}`);
    if (core.term < promises.term) lost(`is in term ${core.term}, it spoke in ${promises.term}`);
    const vote = promises.votes.get(core.term);
    if (vote !== undefined && core.vote !== vote)
      lost(`voted for ${vote} in term ${core.term}, remembers ${core.vote}`);
    this.#mustHaveApplied(core, promises.applied, lost);
    const { ack } = promises;
    if (ack === null || ack.term !== core.term || ack.index < core.log.firstIndex) return;
    const own = core.log.term(ack.index);
    if (own !== ack.entryTerm) lost(`accepted entry ${ack.index}:${ack.entryTerm}, has term ${own} there`);
  }

  #mustHaveApplied(core: Core, applied: number, lost: (what: string) => void): void {
    if (applied < core.log.firstIndex) return;
    const own = core.log.term(applied);
    const was = this.#committed[applied]?.term;
    if (was !== undefined && own !== was) lost(`had applied entry ${applied}:${was}, has term ${own} there`);
  }
}
