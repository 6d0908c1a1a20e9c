import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { mountRootfs, unmountRootfs } from "./rootfs.ts";
import { type ImageStore, openImageStore } from "./store.ts";
import { configOf, digestOf, dockerArchive, type Entry, inPieces, ociLayout, tar } from "./testdata-archives.ts";

const failure = async (act: () => Promise<unknown>): Promise<string> => {
  try {
    await act();
  } catch (thrown) {
    return thrown instanceof TswarmError ? `${thrown.code} ${thrown.message}` : `not a TswarmError: ${thrown}`;
  }
  return "nothing thrown";
};

const file = (name: string, content: string, more: Partial<Entry> = {}): Entry => ({ name, content, ...more });
const unused = () => false;

describe("image store", () => {
  let root: string;
  let dir: string;
  let store: ImageStore;
  const open = () => openImageStore({ dir, logger: silentLogger });
  const load = (bytes: Uint8Array) => store.load(inPieces(bytes));
  const layersOnDisk = () => readdirSync(join(dir, "layers")).length;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "tswarm-images-"));
    dir = join(root, "images");
    store = await open();
  });
  afterEach(() => {
    unmountRootfs({ dir: join(root, "box") });
    rmSync(root, { recursive: true, force: true });
  });

  const mounted = (ref: string): string => {
    mkdirSync(join(root, "box"), { recursive: true });
    return mountRootfs({ image: store.resolve(ref)!, dir: join(root, "box") }).merged;
  };

  it("loads a docker archive with owners, modes, links, devices and long names", async () => {
    const long = `${"d".repeat(120)}/${"f".repeat(150)}`;
    const layer = await tar([
      { name: "./", type: "directory", mode: 0o755 },
      { name: "tmp/", type: "directory", mode: 0o1777 },
      file("bin/su", "su", { mode: 0o4755, uid: 7, gid: 8 }),
      { name: "bin/alias", type: "link", linkname: "bin/su" },
      { name: "bin/sh", type: "symlink", linkname: "/etc/../su" },
      { name: "dev/null", type: "character-device", devmajor: 1, devminor: 3, mode: 0o666 },
      file(long, "long"),
      file("marked", "x", { pax: { "SCHILY.xattr.user.note": "hello" } }),
    ]);
    const config = configOf([layer], {
      Entrypoint: ["/bin/su"],
      Env: ["A=1"],
      WorkingDir: "/tmp",
      ExposedPorts: { "80/tcp": {} },
    });
    const [loaded] = await load(await dockerArchive(["localhost/web:1", "docker.io/library/web"], [layer], config));
    expect(loaded!.names).to.deep.equal(["localhost/web:1", "web:latest"]);
    const image = store.resolve("web")!;
    expect(image.digest).to.equal(loaded!.digest);
    expect(image.config).to.deep.include({
      entrypoint: ["/bin/su"],
      cmd: [],
      env: ["A=1"],
      workdir: "/tmp",
      exposedPorts: ["80/tcp"],
    });
    expect(store.resolve(image.digest.slice(7, 19))!.digest).to.equal(image.digest);
    expect(store.resolve("web:2")).to.equal(undefined);

    const merged = mounted("localhost/web:1");
    const su = statSync(join(merged, "bin/su"));
    expect([su.mode & 0o7777, su.uid, su.gid, su.nlink]).to.deep.equal([0o4755, 7, 8, 2]);
    expect(statSync(join(merged, "bin/alias")).ino).to.equal(su.ino);
    expect(lstatSync(join(merged, "bin/sh")).isSymbolicLink()).to.equal(true);
    expect(statSync(join(merged, "tmp")).mode & 0o7777).to.equal(0o1777);
    const device = statSync(join(merged, "dev/null"));
    expect([device.isCharacterDevice(), device.rdev]).to.deep.equal([true, 0x103]);
    expect(readFileSync(join(merged, long), "utf8")).to.equal("long");
    expect(statSync(join(merged, "marked")).mtimeMs).to.equal(1_000_000_000_000);
  });

  for (const [kind, compress] of [
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
  ] as const) {
    it(`loads an OCI layout whose layers and archive are ${kind}`, async () => {
      const layer = await tar([file("etc/motd", "hello")]);
      await load(compress(await ociLayout("localhost/a:1", [layer], compress)));
      expect(store.resolve("localhost/a:1")!.config.cmd).to.deep.equal(["/bin/true"]);
      expect(readFileSync(join(mounted("localhost/a:1"), "etc/motd"), "utf8")).to.equal("hello");
    });
  }

  it("applies whiteouts and opaque folders of upper layers", async () => {
    const lower = await tar(
      ["gone", "dir/a", "dir/b", "again/old", "kept", "swap/old"].map((name) => file(name, name)),
    );
    const upper = await tar([
      file(".wh.gone", ""),
      file("dir/new", "new"),
      file("dir/.wh..wh..opq", ""),
      file(".wh.again", ""),
      file("again/young", "young"),
      file("swap/young", "young"),
      file(".wh.swap", ""),
    ]);
    await load(await dockerArchive(["a:1"], [lower, upper]));
    const merged = mounted("a:1");
    expect(readdirSync(merged).sort()).to.deep.equal(["again", "dir", "kept", "swap"]);
    for (const [name, names] of [
      ["dir", ["new"]],
      ["again", ["young"]],
      ["swap", ["young"]],
    ] as const) {
      expect(readdirSync(join(merged, name)), name).to.deep.equal(names);
    }
  });

  const escapes: readonly [string, Entry[], RegExp][] = [
    ["..", [file("a/../../evil", "x")], /\.\. in its path/],
    ["an absolute path", [file("/evil", "x")], /absolute path/],
    ["a symlink as folder", [{ name: "a", type: "symlink", linkname: "/tmp" }, file("a/evil", "x")], /not a folder/],
    ["a hard link outwards", [{ name: "a", type: "link", linkname: "../../../etc/passwd" }], /\.\. in its path/],
    ["a hard link to a name it lacks", [{ name: "a", type: "link", linkname: "etc/passwd" }], /doesn't hold/],
    ["a whiteout of its parent", [{ name: "a/", type: "directory" }, file("a/.wh...", "")], /names no file/],
  ];
  for (const [what, entries, reason] of escapes) {
    it(`refuses a layer with ${what}`, async () => {
      const archive = await dockerArchive(["a:1"], [await tar([file("fine", "x")]), await tar(entries)]);
      expect(await failure(() => load(archive)))
        .to.match(/^invalid /)
        .and.to.match(reason);
      expect([store.list(), layersOnDisk(), readdirSync(join(dir, "tmp"))]).to.deep.equal([[], 0, []]);
    });
  }

  it("shows nothing of a cut-off archive, wherever it is cut", async () => {
    const whole = gzipSync(await dockerArchive(["a:1"], [await tar([file("data", "x".repeat(5000))])]));
    const plain = await dockerArchive(["a:1"], [await tar([file("data", "x".repeat(5000))])]);
    const cuts = [
      ...[10, 100, whole.length - 4].map((n) => whole.subarray(0, n)),
      ...[0, 100, 512, 3000, 7000].map((n) => plain.subarray(0, n)),
    ];
    for (const cut of [...cuts, zstdCompressSync(plain).subarray(0, 60)]) {
      expect(await failure(() => load(cut)), `${cut.length} bytes`).to.match(/^invalid /);
    }
    expect([store.list(), layersOnDisk(), readdirSync(join(dir, "tmp"))]).to.deep.equal([[], 0, []]);
  });

  it("hands on the failure of the stream itself", async () => {
    const archive = await dockerArchive(["a:1"], [await tar([file("data", "x")])]);
    const broken = async function* () {
      yield archive.subarray(0, 1500);
      throw new TswarmError("cancelled", "The client went away.");
    };
    expect(await failure(() => store.load(broken()))).to.equal("cancelled The client went away.");
  });

  it("refuses what is no image, and content that is not what its digest says", async () => {
    expect(await failure(() => load(Buffer.from("hello")))).to.match(/^invalid archive: it is no tar archive/);
    const other = await tar([file("readme", "x")]);
    expect(await failure(() => load(other))).to.match(/neither index.json nor manifest.json/);
    const [a, b] = [await tar([file("a", "a")]), await tar([file("b", "b")])];
    expect(await failure(async () => load(await dockerArchive(["a:1"], [a], configOf([b]))))).to.contain(
      `${digestOf(b)}: the layer's content has the digest ${digestOf(a)}`,
    );
    expect(await failure(async () => load(await ociLayout("a:1", [a], gzipSync, () => gzipSync(b))))).to.match(
      /content has the digest/,
    );
    expect(layersOnDisk()).to.equal(0);
  });

  /** Never yields: whatever happens meanwhile happens on another thread. */
  const spinUntil = (done: () => boolean): boolean => {
    const word = new Int32Array(new SharedArrayBuffer(4));
    for (let i = 0; i < 1_000 && !done(); i++) Atomics.wait(word, 0, 0, 10);
    return done();
  };

  it("unpacks and removes layers on another thread: the agent has other things to do", async () => {
    const layer = await tar([...Array(200).keys()].map((i) => file(`f${i}`, "x")));
    const loading = load(await dockerArchive(["a:1"], [layer]));
    const unpacking = () => readdirSync(join(dir, "tmp")).map((name) => join(dir, "tmp", name, "layer-0"));
    while (!unpacking().some(existsSync)) await new Promise((resolve) => setImmediate(resolve));
    const [path] = unpacking();
    expect(spinUntil(() => existsSync(join(path!, "f199")))).to.equal(true);
    await loading;
    const removing = store.remove("a:1", { force: false, inUse: unused });
    while (store.list().length > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(layersOnDisk()).to.equal(1);
    await removing;
    expect(layersOnDisk()).to.equal(0);
  });

  it("shares layers and keeps them while another image has them", async () => {
    const [base, one, two] = [await tar([file("base", "x")]), await tar([file("v", "1")]), await tar([file("v", "2")])];
    await load(await dockerArchive(["a:1"], [base, one]));
    await load(await dockerArchive(["a:2"], [base, two]));
    expect(layersOnDisk()).to.equal(3);
    expect(store.resolve("a:1")!.layers[0]).to.equal(store.resolve("a:2")!.layers[0]);
    const { digest } = store.resolve("a:1")!;
    expect(await store.remove("a:1", { force: false, inUse: unused })).to.deep.equal({
      untagged: ["a:1"],
      deleted: [digest],
    });
    expect(layersOnDisk()).to.equal(2);
    expect(readFileSync(join(mounted("a:2"), "v"), "utf8")).to.equal("2");
  });

  it("removes an image of many files without holding up the agent", async () => {
    const files = Array.from({ length: 500 }, (_, i) => file(`f${i}`, "x"));
    await load(await dockerArchive(["many:1"], [await tar(files)]));
    let turns = 0;
    let removed = false;
    const turn = () => {
      turns++;
      if (!removed) setImmediate(turn);
    };
    setImmediate(turn);
    await store.remove("many:1", { force: false, inUse: unused });
    removed = true;
    expect(turns).to.be.above(50);
    expect(layersOnDisk()).to.equal(0);
  });

  it("tags, untags, and refuses to remove what is in use or has several names", async () => {
    await load(await dockerArchive(["a:1"], [await tar([file("a", "a")])]));
    const { digest } = store.resolve("a:1")!;
    let changes = 0;
    const stop = store.onChange(() => changes++);
    await store.tag("a:1", "localhost/b");
    expect(store.describe()).to.deep.equal([{ digest, names: ["a:1", "localhost/b:latest"], sizeBytes: 1 }]);
    expect(await failure(() => store.tag("a:1", "B C"))).to.match(/^invalid target: "B C" is not an image name/);
    expect(await failure(() => store.tag("none", "c"))).to.match(/^not_found none: there is no such image/);
    expect(await failure(() => store.remove(digest, { force: false, inUse: unused }))).to.match(/^conflict .*2 names/);
    expect(await store.remove("a:1", { force: false, inUse: () => true })).to.deep.equal({
      untagged: ["a:1"],
      deleted: [],
    });
    expect(await failure(() => store.remove("localhost/b", { force: false, inUse: () => true }))).to.match(
      /^conflict .*uses the image/,
    );
    expect(await store.remove("localhost/b", { force: true, inUse: () => true })).to.deep.equal({
      untagged: ["localhost/b:latest"],
      deleted: [],
    });
    expect(store.list(() => true)[0]).to.deep.include({ names: [], inUse: true, layers: 1 });
    stop();
    expect((await store.remove(digest, { force: false, inUse: unused })).deleted).to.deep.equal([digest]);
    expect([changes, store.list(), layersOnDisk()]).to.deep.equal([3, [], 0]);
  });

  it("moves a name to the image that was loaded last", async () => {
    for (const content of ["1", "2"]) await load(await dockerArchive(["a:1"], [await tar([file("v", content)])]));
    expect(store.describe().map((image) => image.names)).to.deep.equal([[], ["a:1"]]);
    expect(readFileSync(join(mounted("a:1"), "v"), "utf8")).to.equal("2");
  });

  it("has the same images after a re-open, and clears what a crash left", async () => {
    await load(await dockerArchive(["a:1"], [await tar([file("a", "a")])]));
    const before = store.list();
    mkdirSync(join(dir, "tmp/load-crashed"));
    mkdirSync(join(dir, "layers", "f".repeat(64)));
    writeFileSync(join(dir, "blobs/sha256", "f".repeat(64)), "");
    rmSync(join(dir, "l/1"));
    store = await open();
    expect(store.list()).to.deep.equal(before);
    expect([
      layersOnDisk(),
      readdirSync(join(dir, "tmp")),
      existsSync(join(dir, "blobs/sha256", "f".repeat(64))),
    ]).to.deep.equal([1, [], false]);
    expect(readFileSync(join(mounted("a:1"), "a"), "utf8")).to.equal("a");
  });

  it("keeps what a container wrote in its own layer, also over a second mount", async () => {
    await load(await dockerArchive(["a:1"], [await tar([file("a", "a")])]));
    writeFileSync(join(mounted("a:1"), "a"), "changed");
    unmountRootfs({ dir: join(root, "box") });
    unmountRootfs({ dir: join(root, "box") });
    expect(readFileSync(join(mounted("a:1"), "a"), "utf8")).to.equal("changed");
    expect(readFileSync(join(store.resolve("a:1")!.layers[0]!, "a"), "utf8")).to.equal("a");
  });

  it("mounts many layers and says what is wrong with more than a page of paths", async () => {
    const layers = await Promise.all([...Array(70).keys()].map((i) => tar([file("v", String(i))])));
    await load(await dockerArchive(["a:1"], layers));
    expect(readFileSync(join(mounted("a:1"), "v"), "utf8")).to.equal("69");
    const image = store.resolve("a:1")!;
    const many = { ...image, layers: [...image.layers, ...image.layers] };
    expect(await failure(async () => mountRootfs({ image: many, dir: join(root, "box") }))).to.match(
      /^unsupported .*140 layers need/,
    );
  });
});
