// Flows to backends that leave, on the real kernel: one host, a client and two backends on an overlay.

import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { expect } from "chai";
import { Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";
import { attach, container, host as hostOf, overlayNetwork, virtualService } from "#net/plan/testdata.ts";

const VIP = { "-4": "10.1.0.100", "-6": "fd00:1::64" } as const;

/** Answers each datagram, and each piece on a connection, with its name. */
const SERVER = `
const name = process.argv[1];
for (const type of ["udp4", "udp6"]) {
  const s = require("dgram").createSocket({ type, ipv6Only: type === "udp6" });
  s.on("message", (_, from) => s.send(name, from.port, from.address)).bind(53, type === "udp4" ? "0.0.0.0" : "::");
}
require("net").createServer((s) => s.on("data", () => s.write(name)).on("error", () => {})).listen(80, "::", () => console.log("ready"));
`;

/** One socket for ever; for each line of input it asks once and prints the answer. */
const CLIENT = `
const [protocol, address] = process.argv.slice(1);
const say = (text) => console.log(String(text));
let ask;
if (protocol === "udp") {
  const s = require("dgram").createSocket(address.includes(":") ? "udp6" : "udp4").on("message", say).on("error", (e) => say(e.code));
  s.bind(5000);
  ask = () => s.send("?", 53, address);
} else {
  const s = require("net").connect(80, address).on("data", say).on("error", (e) => say(e.code));
  ask = () => s.write("?");
}
process.stdin.on("data", ask);
`;

describe("flows to backends that leave", function () {
  this.timeout(30_000);
  const app = overlayNetwork(1);
  let host: ScratchHost;
  let reconciler: Reconciler;
  const children: ChildProcessWithoutNullStreams[] = [];

  const all = ["client", "b", "c"];
  const desired = (backends: readonly number[], containers = all): HostNetworks =>
    hostOf({
      networks: [{ ...app, services: [virtualService(app, "web", 100, backends)] }],
      containers: all.map((id, i) => container(id, attach(app, 2 + i))).filter((c) => containers.includes(c.taskId)),
    });
  const apply = (...what: Parameters<typeof desired>): void => {
    const { errors, flowErrors } = reconciler.apply(desired(...what));
    expect([...errors, ...flowErrors]).to.deep.equal([]);
  };
  const start = (taskId: string, script: string, ...args: string[]): ChildProcessWithoutNullStreams => {
    const child = host.spawn(`c-${taskId}`, process.execPath, "-e", script, ...args);
    children.push(child);
    child.stderr.pipe(process.stderr);
    return child;
  };
  const client = (protocol: string, address: string) => {
    const child = start("client", CLIENT, protocol, address);
    return async (): Promise<string> => {
      const answer = once(child.stdout, "data");
      child.stdin.write("ask\n");
      return String((await answer)[0]).trim();
    };
  };

  beforeEach(async () => {
    host = scratchHost();
    host.netns.exec("ip", "link", "add", "uplink", "up", "type", "bridge");
    host.netns.exec("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink");
    reconciler = new Reconciler(host.place);
    apply([3]);
    for (const server of [start("b", SERVER, "b"), start("c", SERVER, "c")]) await once(server.stdout, "data");
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    reconciler.teardown();
    host.remove();
  });

  for (const family of ["-4", "-6"] as const)
    it(`UDP goes to another backend from the same port, connections stay until the container is gone (IPv${family[1]})`, async () => {
      const [udp, tcp] = [client("udp", VIP[family]), client("tcp", VIP[family])];
      expect([await udp(), await tcp()]).to.deep.equal(["b", "b"]);
      apply([3, 4]);
      expect([await udp(), await tcp()]).to.deep.equal(["b", "b"]);
      apply([4]);
      expect([await udp(), await tcp()]).to.deep.equal(["c", "b"]);
      apply([4], ["client", "c"]);
      // Without the flow the connection is one that the other backend does not know.
      expect([await udp(), await tcp()]).to.deep.equal(["c", "ECONNRESET"]);
    });

  it("flows that became stale while no agent ran are found by the next one", async () => {
    const udp = client("udp", VIP["-4"]);
    expect(await udp()).to.equal("b");
    reconciler = new Reconciler(host.place);
    apply([4]);
    expect(await udp()).to.equal("c");
  });

  it("idle connections live as long as the kernel lets them", async () => {
    const tcp = client("tcp", VIP["-4"]);
    expect(await tcp()).to.equal("b");
    const timeout = (): number => {
      const flows = host.inside("c-client", "sh", "-c", "conntrack -L -p tcp 2>/dev/null");
      return Number(/tcp +6 (\d+) ESTABLISHED/.exec(flows)?.[1]);
    };
    const kernels = Number(
      host.inside("c-client", "cat", "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"),
    );
    expect(kernels).to.be.greaterThan(86_400);
    for (const backends of [[3, 4], [4], [3]]) apply(backends);
    reconciler.repair(desired([4]));
    expect(timeout()).to.be.within(kernels - 60, kernels);
    expect(await tcp()).to.equal("b");
  });
});
