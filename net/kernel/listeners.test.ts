import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { listListeners, parseSocketTable, releasePort, takePort } from "#net/kernel/listeners.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";

const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
`;
const TABLE6 = `   0: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 9 1
`;

describe("ports of a host", () => {
  let netns: ScratchNetns;
  before(() => {
    netns = scratchNetns();
    netns.exec("ip", "link", "set", "lo", "up");
  });
  after(() => netns.remove());

  it("are read from the kernel's tables", () => {
    expect(parseSocketTable(TABLE, "0A")).to.deep.equal([
      { hostIp: "127.0.0.1", port: 8080, inode: "4711" },
      { hostIp: "", port: 80, inode: "4712" },
    ]);
    expect(parseSocketTable(TABLE6, "0A")).to.deep.equal([{ hostIp: "2001:db8::1", port: 53, inode: "9" }]);
  });

  it("are listed with their owners, and a taken one is refused by the owner's name", async () => {
    const script = `require("net").createServer().listen(8080, "127.0.0.1", () => console.log("ready"))`;
    const child = spawn("nsenter", [`--net=${netns.path}`, process.execPath, "-e", script]);
    try {
      await once(child.stdout, "data");
      const owner = `node (pid ${child.pid})`;
      const seen = listListeners(netns.path);
      expect(seen.map(({ owner: _, ...port }) => port)).to.deep.equal([
        { protocol: "tcp", port: 8080, hostIp: "127.0.0.1" },
      ]);
      expect(seen[0]!.owner).to.match(new RegExp(`\\(pid ${child.pid}\\)$`), owner);
      expect(listListeners(netns.path, { pids: new Set([child.pid!]) })).to.deep.equal([]);
      const take = () => takePort(netns.path, { protocol: "tcp", port: 8080, hostIp: "" });
      expect(take).to.throw(new RegExp(`8080/tcp of this host is in use by .* \\(pid ${child.pid}\\)`));
      releasePort(takePort(netns.path, { protocol: "udp", port: 8080, hostIp: "" })!);
    } finally {
      child.kill();
    }
  });

  it("are left out when they belong to a tree of processes, and programs in Node.js are called by their script", async () => {
    const script = `require("net").createServer().listen(8082, () => console.log("ready"))`;
    const folder = mkdtempSync(join(tmpdir(), "listener-"));
    const path = join(folder, "shop.cjs");
    writeFileSync(path, script);
    const shell = spawn("nsenter", [`--net=${netns.path}`, "sh", "-c", `"${process.execPath}" "${path}"; true`]);
    try {
      await once(shell.stdout, "data");
      expect(listListeners(netns.path)[0]!.owner).to.match(/^node shop\.cjs \(pid \d+\)$/);
      expect(listListeners(netns.path, { pids: new Set([shell.pid!]) })).to.have.length(1);
      expect(listListeners(netns.path, { trees: new Set([process.pid + 1_000_000]) })).to.have.length(1);
      expect(listListeners(netns.path, { trees: new Set([shell.pid!]) })).to.deep.equal([]);
    } finally {
      const { owner } = listListeners(netns.path)[0]!;
      process.kill(Number(/pid (\d+)/.exec(owner)![1]));
      rmSync(folder, { recursive: true });
    }
  });

  it("that are taken can't be listened on by others, until they are given back", async () => {
    const fd = takePort(netns.path, { protocol: "tcp", port: 9090, hostIp: "" })!;
    const listen = async (host: string): Promise<string> => {
      const script = `require("net").createServer().on("error", (e) => { console.log(e.code); }).listen(9090, "${host}", function () { console.log("ready"); this.close(); })`;
      const child = spawn("nsenter", [`--net=${netns.path}`, process.execPath, "-e", script]);
      const [data] = (await once(child.stdout, "data")) as [Buffer];
      return data.toString().trim();
    };
    expect(await listen("127.0.0.1")).to.equal("EADDRINUSE");
    expect(await listen("::1")).to.equal("EADDRINUSE");
    releasePort(fd);
    expect(await listen("127.0.0.1")).to.equal("ready");
  });

  it("on an address that the host does not have are refused", () => {
    expect(() => takePort(netns.path, { protocol: "tcp", port: 9091, hostIp: "192.0.2.9" })).to.throw(
      /no address 192\.0\.2\.9/,
    );
  });
});
