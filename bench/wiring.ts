// µs to wire one container more on an overlay (namespace, veth, addresses, routes, virtual addresses, everything), on a
// node that has CONTAINERS of them and REMOTES endpoints elsewhere; and the time of the whole, of a change of backends, of
// a repair pass and of tearing down; and how many processes that starts (those of a container are the runtime's alone).
// In namespaces of its own. Usage, as root: node bench/wiring.ts
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import { createNetns, deleteNetns } from "#net/kernel/netns.ts";
import type { HostNetwork, HostNetworks } from "#net/model/host-networks.ts";

const CONTAINERS = 100;
const REMOTES = 300;
const SERVICES = 20;
/** More than a bridge has ports. */
const CROWD = 1_500;

const mac = (n: number): string =>
  `02:42:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`;
const v4 = (n: number): string => `10.9.${n >> 8}.${n & 255}`;

const network = (backends: number): HostNetwork => ({
  id: "bench",
  name: "bench",
  driver: "overlay",
  vni: 5000,
  options: {},
  parent: "",
  subnets: [{ subnet: "10.9.0.0/16", gateway: "10.9.255.254" }],
  internal: false,
  services: Array.from({ length: SERVICES }, (_, s) => ({
    id: `s${s}`,
    ipv4: v4(0xf000 + s),
    ipv6: "",
    backends: Array.from({ length: backends }, (_, b) => ({ ipv4: v4(2 + b), ipv6: "" })),
  })),
});

const desired = (containers: number, backends = 5): HostNetworks => ({
  node: { vtep: "192.0.2.1", dataPathPort: 4789 },
  networks: [network(backends)],
  containers: Array.from({ length: containers }, (_, i) => ({
    taskId: `t${i}`,
    netns: `c-t${i}`,
    attachments: [
      {
        networkId: "bench",
        ifname: "eth0",
        ipv4: `${v4(2 + i)}/16`,
        ipv6: "",
        mac: mac(2 + i),
        gatewayPriority: 0,
        sysctls: {},
      },
    ],
  })),
  published: [],
  remotes: Array.from({ length: REMOTES }, (_, i) => ({
    networkId: "bench",
    ipv4: v4(4000 + i),
    ipv6: "",
    mac: mac(4000 + i),
    vtep: `192.0.2.${2 + (i % 50)}`,
  })),
});

const checked = (report: ApplyReport): ApplyReport => {
  if (report.errors.length > 0) throw new Error(JSON.stringify(report.errors[0]));
  return report;
};
const say = (what: string, { ops, durationUs }: ApplyReport): void =>
  console.log(`${what.padEnd(44)} ${String(ops).padStart(6)} ops ${(durationUs / 1000).toFixed(1).padStart(9)} ms`);
/** In a process namespace of its own: the number that the next process or thread of this bench gets. */
const nextPid = (): number => Number(execFileSync("sh", ["-c", "echo $$"], { encoding: "utf8" }));

const main = (): void => {
  const netns = `/run/netns/tsbench-${process.pid}`;
  const runDir = mkdtempSync(join(tmpdir(), "tswarm-bench-"));
  createNetns(netns);
  const reconciler = new Reconciler({ runDir, hostNetns: netns });
  try {
    const ip = (...args: string[]) => execFileSync("ip", ["-n", `tsbench-${process.pid}`, ...args]);
    ip("link", "add", "uplink", "type", "bridge");
    ip("addr", "add", "192.0.2.1/24", "dev", "uplink");
    ip("link", "set", "uplink", "up");
    const before = nextPid();
    say("first container, with its overlay", checked(reconciler.apply(desired(1))));
    const each: number[] = [];
    for (let n = 2; n <= CONTAINERS; n++) each.push(checked(reconciler.apply(desired(n))).durationUs);
    each.sort((a, b) => a - b);
    console.log(`one container more: min ${each[0]} median ${each[each.length >> 1]} max ${each.at(-1)} µs`);
    say(`nothing to do at ${CONTAINERS} containers`, checked(reconciler.apply(desired(CONTAINERS))));
    say("backends of all services change", checked(reconciler.apply(desired(CONTAINERS, 6))));
    say("repair pass without drift", checked(reconciler.repair(desired(CONTAINERS, 6))));
    say("tear-down", checked(reconciler.teardown()));
    say(`${CONTAINERS} containers at once`, checked(reconciler.apply(desired(CONTAINERS))));
    checked(reconciler.teardown());
    say(`${CROWD} containers at once`, checked(reconciler.apply(desired(CROWD))));
    say(`one more at ${CROWD}`, checked(reconciler.apply(desired(CROWD + 1))));
    say(`repair pass at ${CROWD}, without drift`, checked(reconciler.repair(desired(CROWD + 1))));
    console.log(`processes and threads started for all of this: ${nextPid() - before - 1}`);
  } finally {
    reconciler.teardown();
    deleteNetns(netns);
    rmSync(runDir, { recursive: true, force: true });
  }
};

if (process.pid === 1) main();
else {
  const own = ["--pid", "--fork", "--kill-child", "--mount-proc", process.execPath, import.meta.filename];
  execFileSync("unshare", own, { stdio: "inherit" });
}
