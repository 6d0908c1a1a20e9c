// Golden scripts: testdata/*.txt, each a list of `command` blocks and their expected output. REWRITE=1 writes the output.
//
//   cluster 3 [learners=4]   members 1..3, bootstrapped        tick ID [COUNT]
//   ready ID                 take one Ready, send its messages sync ID       finish its oldest write, send what waited
//   deliver [from=ID] [to=ID] [kind=K]    deliver what is on the way    drop …  the same, lost
//   stabilize [ID…]          ready, sync and deliver until nothing moves; other members stay as they are
//   propose ID TEXT [TIMES] | conf ID KIND MEMBER | read ID CONTEXT | transfer ID TO | snapshot ID KEEP | crash ID
//   status ID… | log ID… | reads ID | quiet COMMAND…   (runs it without output)
//   disk ID [term=N] [vote=N] [commit=N] TERM…   the member starts anew with entries 2, 3, … of these terms
//   campaign ID              its leader's word to campaign at once, over pre-vote and stickiness
//   step KEY=VALUE…          a message nobody sent: kind, from, to, term, then what the kind has; entries=TERM/INDEX,…
//   repeat …                 like deliver, but the messages stay on the way as well; count=N: only the first N
//   silent                   from now on nobody is told what became of a snapshot
//   lost ID PEER             the connection between the two broke, as ID sees it
//   report ID MEMBER ok|failed|unreachable     tells ID so
//
// README.md beside the scripts says which scenario of etcd's tests, and which class of known bugs, each one is about.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describeMessage, describeReady, describeStatus } from "#control-plane/raft/describe.ts";
import { bootstrapDisk, FakeMember } from "#control-plane/raft/fake-member.ts";
import type { ConfChangeKind, Entry, Message } from "#control-plane/raft/types.ts";

const dir = join(import.meta.dirname, "testdata");
// Election timeouts are exactly `electionTicks`.
const noRandom = { int: () => 0, float: () => 0 };

const entryOf = (text: string): Entry => {
  const [term, index] = text.split("/").map(Number);
  return { term: term!, index: index!, type: "normal", data: new Uint8Array() };
};

/** What a crafted message has unless the script says otherwise; more than its kind needs does no harm. */
const craft = (pairs: readonly string[]): Message => {
  const given = Object.fromEntries(pairs.map((pair) => pair.split("=") as [string, string]));
  const fields = Object.entries(given).map(([key, value]) => {
    if (key === "kind") return [key, value];
    if (key === "entries") return [key, value.split(",").map(entryOf)];
    return [key, /^(true|false)$/.test(value) ? value === "true" : Number(value)];
  });
  const zero = { index: 0, hintIndex: 0, hintTerm: 0, commit: 0, round: 0, lastIndex: 0, lastTerm: 0 };
  return { ...zero, reject: false, transfer: false, entries: [], ...Object.fromEntries(fields) };
};

/** What the core says when an invariant is broken: it ends the process. */
const orStop = (run: () => void): string[] => {
  try {
    run();
    return [];
  } catch (error) {
    return [`stops: ${(error as Error).message}`];
  }
};

class Stage {
  #members = new Map<number, FakeMember>();
  #network: Message[] = [];
  #snapshots = new Map<number, string[]>([[1, []]]);
  #reports = true;
  #out: string[] = [];

  run(command: string): string {
    this.#out = [];
    this.#command(command.split(" "));
    return this.#out.join("\n");
  }

  #member(id: string | number | undefined): FakeMember {
    const member = this.#members.get(Number(id));
    if (member === undefined) throw new Error(`no member ${id}`);
    return member;
  }

  #command([name, ...args]: string[]): void {
    const [a, b, c] = args;
    const say = (result: { ok: boolean; reason?: string; index?: number }) =>
      this.#out.push(result.ok ? `index ${result.index}` : `refused: ${result.reason}`);
    switch (name) {
      case "cluster":
        this.#cluster(Number(a), b?.split("=")[1]?.split(",").map(Number) ?? []);
        return;
      case "quiet":
        this.#command(args);
        this.#out = [];
        return;
      case "tick":
        for (let i = Number(b ?? 1); i > 0; i--) this.#member(a).node.tick();
        return;
      case "ready":
        if (!this.#ready(this.#member(a))) this.#out.push("nothing");
        return;
      case "sync":
        this.#send(this.#member(a).sync());
        return;
      case "deliver":
      case "drop":
      case "repeat":
        this.#take(args, name);
        return;
      case "disk":
        this.#disk(Number(a), args.slice(1));
        return;
      case "campaign": {
        const { term } = this.#member(a).node.status();
        this.#member(a).node.step({ kind: "timeout-now", from: 0, to: Number(a), term });
        return;
      }
      case "step": {
        const message = craft(args);
        this.#out.push(...orStop(() => this.#member(message.to).node.step(message)));
        return;
      }
      case "silent":
        this.#reports = false;
        return;
      case "report":
        if (c === "unreachable") this.#member(a).node.reportUnreachable(Number(b));
        else this.#member(a).node.reportSnapshot(Number(b), c === "ok");
        return;
      case "stabilize":
        this.#stabilize(args.length > 0 ? args.map((id) => this.#member(id)) : [...this.#members.values()]);
        return;
      case "propose":
        say(this.#member(a).node.propose(new TextEncoder().encode(b!.repeat(Number(c ?? 1)))));
        return;
      case "conf":
        say(
          this.#member(a).node.proposeConfChange({
            kind: b as ConfChangeKind,
            id: Number(c),
            context: new Uint8Array(),
          }),
        );
        if (b === "add-learner") this.#add(Number(c), { hardState: null, snapshot: null, entries: [] });
        return;
      case "read":
        this.#member(a).node.readIndex(Number(b));
        return;
      case "reads":
        this.#out.push(...this.#member(a).reads.map((r) => `context ${r.context} index ${r.index}`));
        return;
      case "transfer":
        this.#member(a).node.transferLeadership(Number(b));
        return;
      case "lost":
        this.#member(a).node.peerLost(Number(b));
        return;
      case "snapshot":
        this.#member(a).takeSnapshot(Number(b));
        return;
      case "crash":
        this.#member(a).crash();
        return;
      case "log":
        for (const id of args) this.#out.push(`${id}: ${this.#member(id).durableTerms}`);
        return;
      case "status":
        for (const id of args) this.#out.push(...describeStatus(this.#member(id).node.status()));
        return;
      default:
        throw new Error(`unknown command ${name}`);
    }
  }

  #cluster(size: number, learners: number[]): void {
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    for (const id of [...voters, ...learners]) this.#add(id, bootstrapDisk({ voters, learners, removed: [] }));
  }

  #add(id: number, disk: ConstructorParameters<typeof FakeMember>[1]): void {
    if (!this.#members.has(id)) this.#members.set(id, new FakeMember(id, disk, noRandom, this.#snapshots));
  }

  #disk(id: number, args: readonly string[]): void {
    const terms = args.filter((arg) => !arg.includes("=")).map(Number);
    const given = new Map(args.filter((arg) => arg.includes("=")).map((arg) => arg.split("=") as [string, string]));
    const { conf } = this.#member(id);
    const disk = bootstrapDisk(conf);
    const entries = terms.map((term, i) => ({ ...entryOf(`${term}/${i + 2}`), data: new TextEncoder().encode("x") }));
    const hardState = {
      term: Number(given.get("term") ?? terms.at(-1) ?? 1),
      vote: Number(given.get("vote") ?? 0),
      commit: Number(given.get("commit") ?? 1),
    };
    this.#members.set(id, new FakeMember(id, { ...disk, hardState, entries }, noRandom, this.#snapshots));
  }

  #send(messages: readonly Message[]): void {
    this.#network.push(...messages.filter((m) => this.#members.has(m.to)));
  }

  #ready(member: FakeMember): boolean {
    const ready = member.process();
    if (ready === null) return false;
    this.#out.push(`ready ${member.id}, token ${ready.token}`, ...describeReady(ready).map((line) => `  ${line}`));
    this.#send(ready.messages);
    return true;
  }

  #deliver(m: Message): void {
    this.#out.push(describeMessage(m));
    this.#out.push(...orStop(() => this.#member(m.to).node.step(m)));
    if (m.kind === "snapshot" && this.#reports) this.#member(m.from).node.reportSnapshot(m.to, true);
  }

  #take(args: string[], what: "deliver" | "drop" | "repeat"): void {
    const filters = args.filter((arg) => !arg.startsWith("count="));
    let left = Number(args.find((arg) => arg.startsWith("count="))?.slice(6) ?? Number.POSITIVE_INFINITY);
    const matches = (m: Message) =>
      filters.every((f) => {
        const [key, value] = f.split("=");
        return String(m[key as "from" | "to" | "kind"]) === value;
      });
    const taken = this.#network.filter((m) => matches(m) && left-- > 0);
    if (what !== "repeat") this.#network = this.#network.filter((m) => !taken.includes(m));
    for (const m of taken) {
      if (what === "drop") this.#out.push(`lost: ${describeMessage(m)}`);
      else this.#deliver(m);
    }
  }

  #stabilize(members: FakeMember[]): void {
    const ids = new Set(members.map((m) => m.id));
    for (let moved = true; moved; ) {
      moved = false;
      for (const member of members) {
        while (this.#ready(member)) moved = true;
        while (member.hasUnsynced) {
          this.#send(member.sync());
          moved = true;
        }
      }
      const here = this.#network.filter((m) => ids.has(m.to) && ids.has(m.from));
      this.#network = this.#network.filter((m) => !here.includes(m));
      for (const m of here) this.#deliver(m);
      moved ||= here.length > 0;
    }
  }
}

/** Blocks are separated by an empty line: a command, `----`, its output. Lines with # before a command are comments. */
const runScript = (text: string): string => {
  const stage = new Stage();
  return `${text
    .trim()
    .split(/\n\n+/)
    .map((block) => {
      const head = block.split("\n----")[0]!.split("\n");
      const comments = head.filter((l) => l.startsWith("#"));
      const commands = head.filter((l) => !l.startsWith("#") && l !== "");
      const output = commands.map((c) => stage.run(c)).filter((o) => o !== "");
      return [...comments, ...commands, ...(output.length > 0 ? ["----", ...output] : [])].join("\n");
    })
    .join("\n\n")}\n`;
};

describe("raft scripts", () => {
  const files = readdirSync(dir).filter((f) => f.endsWith(".txt"));
  it("exist", () => expect(files.length).to.be.greaterThan(5));
  for (const file of files) {
    it(file, () => {
      const expected = readFileSync(join(dir, file), "utf8");
      const actual = runScript(expected);
      if (process.env.REWRITE === "1") writeFileSync(join(dir, file), actual);
      else expect(actual).to.equal(expected);
    });
  }
});
