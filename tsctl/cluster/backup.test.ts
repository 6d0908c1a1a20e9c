import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { encodeBackup } from "#control-plane/backup/format.ts";
import { CLUSTER, oldState } from "#control-plane/recovery/old-manager.ts";
import { FakeCluster, type FakeOptions, tsctl } from "#tsctl/fake-cluster.ts";
import { saveChecked } from "#tsctl/save-checked.ts";

const HEADER = { clusterId: CLUSTER, createdAt: 1_000, index: 10, version: "0.1.0", raftIds: [1, 2, 3] };
const PIECES = [...encodeBackup(HEADER, oldState().snapshot())];
const FILE = Buffer.concat(PIECES);

describe("tsctl cluster backup", () => {
  const run = (args: string[], pieces: readonly Buffer[], options: FakeOptions = {}) =>
    tsctl(new FakeCluster(), ["cluster", "backup", ...args], {
      ...options,
      quorum: {
        async *backup() {
          for (const data of pieces) yield { data };
        },
      },
    });

  it("writes what the manager sends, and says what it holds and that it is secret", async () => {
    const saved = new Map<string, Uint8Array>();
    const { out, code } = await run(["/b"], PIECES, { saved });
    expect(code).to.equal(0);
    expect(Buffer.from(saved.get("/b")!).equals(FILE)).to.equal(true);
    expect(out).to.contain("2 services, 4 networks, 4 nodes, 0 tasks").and.contain("holds the keys of the cluster");
  });

  it("a backup that did not arrive whole has no name", async () => {
    const saved = new Map<string, Uint8Array>();
    const { err, code } = await run(["/b"], PIECES.slice(0, -1), { saved });
    expect([code, saved.size]).to.deep.equal([1, 0]);
    expect(err).to.contain("cut off");
  });

  it("to standard output: the backup there, the words elsewhere; never to a terminal", async () => {
    const { out, err, code } = await run(["-"], PIECES);
    expect(code).to.equal(0);
    expect(out).to.equal(FILE.toString());
    expect(err).to.contain("Backed up cluster default");
    const shown = await run(["-"], PIECES, { tty: true });
    expect([shown.code, shown.out]).to.deep.equal([1, ""]);
  });

  it("checks one without a cluster", async () => {
    const check = (bytes: Uint8Array) =>
      tsctl(undefined, ["cluster", "backup", "--verify", "/b"], { files: { "/b": bytes } });
    expect((await check(FILE)).out).to.contain("/b is complete: cluster default");
    const broken = Buffer.from(FILE);
    broken[100]! ^= 1;
    const { code, err } = await check(broken);
    expect(code).to.equal(1);
    expect(err).to.contain("damaged");
  });
});

describe("a file that is there checked or not at all", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "save-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  async function* pieces(...texts: string[]) {
    for (const text of texts) yield Buffer.from(text);
  }
  const read = async (written: AsyncIterable<Uint8Array>): Promise<string> => {
    let text = "";
    for await (const piece of written) text += Buffer.from(piece);
    return text;
  };

  it("replaces the old one when the check has passed; only the owner reads it, whatever was there", async () => {
    const path = join(dir, "b");
    writeFileSync(path, "old", { mode: 0o644 });
    writeFileSync(`${path}.part`, "left over by another", { mode: 0o644 });
    chmodSync(`${path}.part`, 0o644);
    let checked = "";
    await saveChecked(path, pieces("ne", "w"), async (written) => {
      checked = await read(written);
      expect(readFileSync(path, "utf8")).to.equal("old");
    });
    expect([checked, readFileSync(path, "utf8")]).to.deep.equal(["new", "new"]);
    expect(statSync(path).mode & 0o777).to.equal(0o600);
    expect(readdirSync(dir)).to.deep.equal(["b"]);
  });

  it("keeps the old one when the check or the source fails", async () => {
    const path = join(dir, "b");
    writeFileSync(path, "old");
    const failing = async () => {
      throw new Error("bad");
    };
    async function* breaking() {
      yield Buffer.from("ne");
      throw new Error("bad");
    }
    const message = (work: Promise<void>) => work.catch((e: Error) => e.message);
    expect(await message(saveChecked(path, pieces("new"), failing))).to.equal("bad");
    expect(await message(saveChecked(path, breaking(), async () => {}))).to.equal("bad");
    expect(readFileSync(path, "utf8")).to.equal("old");
    expect(existsSync(`${path}.part`)).to.equal(false);
  });
});
