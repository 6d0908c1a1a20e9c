import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { expect } from "chai";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import { containerSockets } from "#node-agent/reconcile/container-sockets.ts";

/** Says "ready" when it listens, and the number of its connections whenever one comes or goes. */
const SERVER = `
let count = 0;
const server = require("node:net").createServer((s) => {
  console.log(++count);
  s.resume().on("error", () => {}).on("close", () => console.log(--count));
});
process.stdin.once("data", () => server.listen(80, "::", () => console.log("ready")));
`;
const CLIENT = `require("node:net").connect(80, process.argv[1]).on("error", () => {})`;

describe("sockets of a container", () => {
  let netns: ScratchNetns;
  const children: ChildProcess[] = [];
  beforeEach(() => {
    netns = scratchNetns();
    netns.exec("ip", "link", "set", "lo", "up");
    netns.exec("ip", "link", "add", "eth0", "up", "type", "bridge");
    netns.exec("ip", "addr", "add", "10.9.9.1/24", "dev", "eth0");
    netns.exec("ip", "addr", "add", "fd09::1/64", "dev", "eth0", "nodad");
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    netns.remove();
  });
  const start = (script: string, ...args: string[]) => {
    const child = spawn("nsenter", [`--net=${netns.path}`, process.execPath, "-e", script, ...args]);
    children.push(child);
    return child;
  };

  it("say when it listens, and how many are connected from elsewhere", async () => {
    const server = start(SERVER);
    const said = async () => String((await once(server.stdout!, "data"))[0]).trim();
    const pid = server.pid!;
    const ports = new Set([80, 443]);
    expect(await containerSockets.listens(pid, ports)).to.equal(false);
    // As the names' server of a real container: one socket that listens for the container alone.
    const names = start(`require("node:net").createServer().listen(53, "127.0.0.1", () => console.log("ready"))`);
    await once(names.stdout!, "data");
    server.stdin!.write("listen\n");
    expect(await said()).to.equal("ready");
    expect(await containerSockets.listens(pid, ports)).to.equal(true);
    expect(await containerSockets.listens(pid, new Set([443, 53]))).to.equal(false);
    expect(await containerSockets.connections(pid)).to.equal(0);
    const clients = [];
    for (const [i, address] of ["10.9.9.1", "fd09::1", "127.0.0.1", "::1"].entries()) {
      clients.push(start(CLIENT, address));
      expect(await said()).to.equal(String(i + 1));
    }
    expect(await containerSockets.connections(pid)).to.equal(2);
    clients[0]!.kill("SIGKILL");
    expect(await said()).to.equal("3");
    expect(await containerSockets.connections(pid)).to.equal(1);
    for (const child of children) child.kill("SIGKILL");
    await once(server, "close");
    expect(await containerSockets.connections(pid)).to.equal(0);
  });
});
