// µs to wire one container more (namespace, links, addresses, routes, rules, everything), by driver, on a node that has up to
// CONTAINERS of them, against a floor: a namespace and a veth into it made through the same sockets, nothing planned. Then, for
// an overlay with REMOTES endpoints elsewhere: a change of backends, a repair pass, tearing down, and more containers than a
// bridge has ports. Last how many processes all of it started (those of a container are the runtime's alone).
// In namespaces of its own. Usage, as root: node bench/wiring.ts
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import { createNetns, deleteNetns } from "#net/kernel/netns.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import type { HostNetwork, HostNetworks, PublishedPort } from "#net/model/host-networks.ts";
import { spread, tell } from "./measure/figures.ts";

const CONTAINERS = 100;
const REMOTES = 300;
const SERVICES = 20;
/** More than a bridge has ports. */
const CROWD = 1_500;

const netns = `/run/netns/tsbench-${process.pid}`;

const mac = (n: number): string =>
  `02:42:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`;
/** The n-th address of the network 10.`net`.0.0/16. */
const v4 = (net: number, n: number): string => `10.${net}.${n >> 8}.${n & 255}`;

type Driver = "bridge" | "overlay" | "macvlan" | "none";
const NET = { bridge: 8, overlay: 9, macvlan: 10, none: 0 } as const;

const network = (driver: Driver, backends: number): HostNetwork => ({
  id: driver,
  name: driver,
  driver,
  vni: driver === "overlay" ? 5000 : 0,
  options: {},
  parent: driver === "macvlan" ? "uplink" : "",
  subnets: driver === "none" ? [] : [{ subnet: `${v4(NET[driver], 0)}/16`, gateway: v4(NET[driver], 0xfffe) }],
  internal: false,
  services: Array.from({ length: driver === "overlay" ? SERVICES : 0 }, (_, s) => ({
    id: `s${s}`,
    ipv4: v4(NET.overlay, 0xf000 + s),
    ipv6: "",
    backends: Array.from({ length: backends }, (_, b) => ({ ipv4: v4(NET.overlay, 2 + b), ipv6: "" })),
  })),
});

type Host = { readonly drivers: readonly Driver[]; readonly published?: boolean };

/** `containers` containers, each on a network of each driver; with `published` each has a port of the host. */
const desired = ({ drivers, published = false }: Host, containers: number, backends = 5): HostNetworks => {
  const numbers = Array.from({ length: containers }, (_, i) => i);
  const ports = (i: number): PublishedPort => ({
    protocol: "tcp",
    port: 10_000 + i,
    hostIp: "",
    target: 80,
    backends: [{ ipv4: v4(NET[drivers[0]!], 2 + i), ipv6: "" }],
  });
  return {
    node: { vtep: "192.0.2.1", dataPathPort: 4789 },
    networks: drivers.map((driver) => network(driver, backends)),
    containers: numbers.map((i) => ({
      taskId: `t${i}`,
      netns: `c-t${i}`,
      attachments: drivers.map((driver, d) => ({
        networkId: driver,
        ifname: driver === "none" ? "" : `eth${d}`,
        ipv4: driver === "none" ? "" : `${v4(NET[driver], 2 + i)}/16`,
        ipv6: "",
        mac: driver === "none" ? "" : mac(2 + i),
        gatewayPriority: 0,
        sysctls: {},
      })),
    })),
    published: published ? numbers.map(ports) : [],
    remotes: Array.from({ length: drivers.includes("overlay") ? REMOTES : 0 }, (_, i) => ({
      networkId: "overlay",
      ipv4: v4(NET.overlay, 4000 + i),
      ipv6: "",
      mac: mac(4000 + i),
      vtep: `192.0.2.${2 + (i % 50)}`,
    })),
  };
};

const checked = (report: ApplyReport): ApplyReport => {
  if (report.errors.length > 0) throw new Error(JSON.stringify(report.errors[0]));
  return report;
};
const say = (what: string, { ops, durationUs }: ApplyReport): void =>
  console.log(`${what.padEnd(44)} ${String(ops).padStart(6)} ops ${(durationUs / 1000).toFixed(1).padStart(9)} ms`);
/** In a process namespace of its own: the number that the next process or thread of this bench gets. */
const nextPid = (): number => Number(execFileSync("sh", ["-c", "echo $$"], { encoding: "utf8" }));

/** The least that a container on a bridge needs. */
const floor = (runDir: string): number[] => {
  const host = Rtnl.open(netns);
  host.linkAdd({ name: "hand0", up: true, spec: { kind: "bridge" } });
  const path = (n: number) => join(runDir, `hand-${n}`);
  const took: number[] = [];
  for (let n = 0; n < CONTAINERS; n++) {
    const at = performance.now();
    createNetns(path(n));
    const peer = { name: "eth0", netns: path(n), address: mac(2 + n) };
    host.linkAdd({ name: `hand1-${n}`, master: "hand0", up: true, spec: { kind: "veth", peer } });
    const inside = Rtnl.open(path(n));
    for (const name of ["lo", "eth0"]) inside.linkSet(name, { up: true });
    inside.addrAdd({ link: "eth0", cidr: `${v4(7, 2 + n)}/16` });
    inside.routeReplace({ destination: "default", family: "inet", gateway: v4(7, 1), protocol: 4 });
    inside.close();
    took.push((performance.now() - at) * 1000);
  }
  for (let n = 0; n < CONTAINERS; n++) deleteNetns(path(n));
  host.linkDel("hand0");
  host.close();
  return took;
};

const HOSTS: readonly (Host & { readonly name: string })[] = [
  { name: "none", drivers: ["none"] },
  { name: "bridge", drivers: ["bridge"] },
  { name: "bridge, each with a published port", drivers: ["bridge"], published: true },
  { name: "macvlan", drivers: ["macvlan"] },
  { name: `overlay, ${REMOTES} endpoints elsewhere`, drivers: ["overlay"] },
  { name: "overlay, bridge and macvlan", drivers: ["overlay", "bridge", "macvlan"] },
];

const main = (): void => {
  const runDir = mkdtempSync(join(tmpdir(), "tswarm-bench-"));
  createNetns(netns);
  // Watching the kernel as an agent does.
  const reconciler = new Reconciler({ runDir, hostNetns: netns }, { onDisturbed: () => {} });
  try {
    const ip = (...args: string[]) => execFileSync("ip", ["-n", `tsbench-${process.pid}`, ...args]);
    ip("link", "add", "uplink", "type", "bridge");
    ip("addr", "add", "192.0.2.1/24", "dev", "uplink");
    ip("link", "set", "uplink", "up");
    const before = nextPid();
    for (const host of HOSTS) {
      const bare = floor(runDir);
      checked(reconciler.apply(desired(host, 1)));
      const each: number[] = [];
      for (let n = 2; n <= CONTAINERS; n++) each.push(checked(reconciler.apply(desired(host, n))).durationUs);
      checked(reconciler.teardown());
      tell(`one more: ${host.name}`, each, "µs", 0);
      const times = (spread(each).median / spread(bare).median).toFixed(1);
      console.log(`  ${times} × the floor of ${spread(bare).median.toFixed(0)} µs`);
    }
    const overlay = HOSTS.find(({ drivers: [first, ...more] }) => first === "overlay" && more.length === 0)!;
    say("first container, with its overlay", checked(reconciler.apply(desired(overlay, 1))));
    say(`${CONTAINERS - 1} more at once`, checked(reconciler.apply(desired(overlay, CONTAINERS))));
    say(`nothing to do at ${CONTAINERS} containers`, checked(reconciler.apply(desired(overlay, CONTAINERS))));
    say("backends of all services change", checked(reconciler.apply(desired(overlay, CONTAINERS, 6))));
    say("repair pass without drift", checked(reconciler.repair(desired(overlay, CONTAINERS, 6))));
    say("tear-down", checked(reconciler.teardown()));
    say(`${CROWD} containers at once`, checked(reconciler.apply(desired(overlay, CROWD))));
    say(`one more at ${CROWD}`, checked(reconciler.apply(desired(overlay, CROWD + 1))));
    say(`repair pass at ${CROWD}, without drift`, checked(reconciler.repair(desired(overlay, CROWD + 1))));
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
