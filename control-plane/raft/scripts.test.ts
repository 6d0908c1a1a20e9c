// Golden scripts: testdata/*.txt, each a list of `command` blocks and their expected output. REWRITE=1 writes the output.
//
//   cluster 3 [learners=4]   members 1..3, bootstrapped        tick ID [COUNT]
//   ready ID                 take one Ready, send its messages sync ID       finish its oldest write, send what waited
//   deliver [from=ID] [to=ID] [kind=K]    deliver what is on the way    drop …  the same, lost
//   stabilize [ID…]          ready, sync and deliver until nothing moves; other members stay as they are
//   propose ID TEXT | conf ID KIND MEMBER | read ID CONTEXT | transfer ID TO | snapshot ID KEEP | crash ID
//   status ID… | reads ID | quiet COMMAND…   (runs it without output)
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describeMessage, describeReady, describeStatus } from "#control-plane/raft/describe.ts";
import { bootstrapDisk, FakeMember } from "#control-plane/raft/fake-member.ts";
import type { ConfChangeKind, Message } from "#control-plane/raft/types.ts";

const dir = join(import.meta.dirname, "testdata");
// Election timeouts are exactly `electionTicks`.
const noRandom = { int: () => 0, float: () => 0 };

class Stage {
  #members = new Map<number, FakeMember>();
  #network: Message[] = [];
  #snapshots = new Map<number, string[]>([[1, []]]);
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
        this.#take(args, name === "deliver");
        return;
      case "stabilize":
        this.#stabilize(args.length > 0 ? args.map((id) => this.#member(id)) : [...this.#members.values()]);
        return;
      case "propose":
        say(this.#member(a).node.propose(new TextEncoder().encode(b)));
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
      case "snapshot":
        this.#member(a).takeSnapshot(Number(b));
        return;
      case "crash":
        this.#member(a).crash();
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
    this.#member(m.to).node.step(m);
    if (m.kind === "snapshot") this.#member(m.from).node.reportSnapshot(m.to, true);
  }

  #take(filters: string[], deliver: boolean): void {
    const matches = (m: Message) =>
      filters.every((f) => {
        const [key, value] = f.split("=");
        return String(m[key as "from" | "to" | "kind"]) === value;
      });
    const taken = this.#network.filter(matches);
    this.#network = this.#network.filter((m) => !matches(m));
    for (const m of taken) {
      if (deliver) this.#deliver(m);
      else this.#out.push(`lost: ${describeMessage(m)}`);
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
