import { spawnSync } from "node:child_process";
import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { readlink } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { expect } from "chai";
import { createNetns, deleteNetns, netnsExists, withNetns } from "./netns.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

const current = () => readlinkSync("/proc/thread-self/ns/net");

describe("network namespaces", () => {
  let a: ScratchNetns;
  let b: ScratchNetns;
  beforeEach(() => {
    a = scratchNetns();
    b = scratchNetns();
  });
  afterEach(() => {
    a.remove();
    b.remove();
  });

  it("switches, nests and always comes back", () => {
    const home = current();
    const seen = withNetns(a.path, () => {
      const outer = current();
      const inside = withNetns(b.path, current);
      return { outer, inside, after: current() };
    });
    expect(new Set([home, seen.outer, seen.inside]).size).to.equal(3);
    expect(seen.after).to.equal(seen.outer);
    expect(() =>
      withNetns(a.path, () => {
        throw new Error("boom");
      }),
    ).to.throw("boom");
    expect(current()).to.equal(home);
    expect(withNetns(null, current)).to.equal(home);
    // @ts-expect-error a function that returns a promise is not accepted
    void (() => withNetns(a.path, async () => 1));
  });

  it("ends the process rather than go on in the wrong namespace", () => {
    // The child loses its way home: the descriptor of its first namespace.
    const child = `
      import { closeSync, readdirSync, readlinkSync } from "node:fs";
      const { withNetns } = await import(${JSON.stringify(new URL("./netns.ts", import.meta.url).href)});
      const link = (fd) => { try { return readlinkSync("/proc/self/fd/" + fd); } catch { return ""; } };
      const home = readdirSync("/proc/self/fd").find((fd) => link(fd).startsWith("net:["));
      try { withNetns(${JSON.stringify(a.path)}, () => closeSync(Number(home))); } finally { process.exit(0); }`;
    const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", child], { encoding: "utf8" });
    expect(stderr).to.match(/cannot return to the thread's network namespace \(EBADF\)/);
    expect(status).to.equal(70);
  });

  it("keeps libuv's threads at home whatever runs first", async () => {
    const reading = withNetns(a.path, () => ({ promise: readlink("/proc/thread-self/ns/net") }));
    expect(await reading.promise).to.equal(current());
    const tasks = readdirSync("/proc/self/task").map((t) => readlinkSync(`/proc/self/task/${t}/ns/net`));
    expect([...new Set(tasks)]).to.deep.equal([current()]);
  });

  it("creates once, tells a stale file from a namespace and deletes without complaint", () => {
    expect(() => createNetns(a.path)).to.throw(/EEXIST/);
    expect(netnsExists(a.path)).to.equal(true);
    deleteNetns(a.path);
    deleteNetns(a.path);
    expect(netnsExists(a.path)).to.equal(false);
    writeFileSync(a.path, "");
    expect(netnsExists(a.path)).to.equal(false);
    createNetns(a.path);
    expect(netnsExists(a.path)).to.equal(true);
    expect(() => withNetns("/run/netns/none-of-this-name", current)).to.throw(/ENOENT/);
  });

  it("reads and writes sysctls of the namespace only", () => {
    const before = readSysctl(null, "net.ipv4.ip_forward");
    writeSysctl(a.path, "net.ipv4.ip_forward", 1);
    writeSysctl(b.path, "net/ipv4/ip_forward", 0);
    expect([readSysctl(a.path, "net/ipv4/ip_forward"), readSysctl(b.path, "net/ipv4/ip_forward")]).to.deep.equal([
      "1",
      "0",
    ]);
    expect(a.exec("cat", "/proc/sys/net/ipv4/ip_forward").trim()).to.equal("1");
    expect(readSysctl(null, "net.ipv4.ip_forward")).to.equal(before);
    expect(() => writeSysctl(a.path, "net/ipv4/conf/nope/forwarding", 1)).to.throw(/none of that name/);
    expect(() => writeSysctl(a.path, "kernel/hostname", "x")).to.throw(/only net/);
  });

  it("works from a worker thread, whose switch does not move this thread", async () => {
    const home = current();
    const source = `
      import { parentPort, workerData } from "node:worker_threads";
      import { readlinkSync } from "node:fs";
      const { withNetns } = await import(workerData.base + "netns.ts");
      const { Rtnl } = await import(workerData.base + "rtnl.ts");
      const { runNft } = await import(workerData.base + "nft.ts");
      const now = () => readlinkSync("/proc/thread-self/ns/net");
      const rtnl = Rtnl.open(workerData.path);
      rtnl.linkAdd({ name: "w0", spec: { kind: "bridge" } });
      rtnl.close();
      runNft(workerData.path, "add table inet w");
      parentPort.postMessage({ before: now(), inside: withNetns(workerData.path, now), after: now() });`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: { path: a.path, base: new URL("./", import.meta.url).href },
    });
    const seen = await new Promise<{ before: string; inside: string; after: string }>((resolve, reject) => {
      worker.once("message", resolve).once("error", reject);
    });
    await worker.terminate();
    expect(seen).to.include({ before: home, after: home });
    expect(seen.inside).to.equal(withNetns(a.path, current));
    expect(a.ip("link", "show", "w0")).to.have.length(1);
    expect(a.exec("nft", "list", "tables")).to.contain("table inet w");
  });
});
