// The resolvers that programs in containers really use, with the files that containers get: dig, glibc (getent) and busybox.
// The host's resolver is one on this process's own loopback; nothing outside is asked.
import { execFile } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { type Answer, decode, encode } from "dns-packet";
import { realClock, systemRandom } from "#base/node/system.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import { writeEtcFiles } from "#node-agent/reconcile/etc-files.ts";
import { taskPaths } from "#node-agent/reconcile/task-files.ts";
import { emptyView, type View } from "#node-agent/session/view.ts";
import { createNames, type Names } from "#node-agent/wiring/names.ts";
import { ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { Network, PortProtocol, Task } from "#proto/gen/types.ts";

const run = promisify(execFile);

const networkOf = (id: string, name: string, internal: boolean) =>
  Network.fromPartial({ id, spec: { annotations: { name }, internal }, subnets: [{ subnet: "10.0.0.0/16" }] });
const viewOf = (internal: boolean): View => ({
  ...emptyView,
  networks: new Map([
    ["n1", networkOf("n1", "shop_back", internal)],
    ["n2", networkOf("n2", "public", internal)],
  ]),
  services: new Map(
    [
      ServiceEndpoint.fromPartial({
        ...{ networkId: "n1", serviceId: "s1", name: "shop_web", stack: "shop", aliases: ["www"] },
        ...{ vip4: "10.0.0.2", vip6: "fd00::2" },
        backends: [
          { taskId: "1aaaaaaaaaaaaaaaaaaaaaaaa", slot: 1, ipv4: "10.0.1.1", ipv6: "fd00::1:1", taskName: "shop_web.1" },
          { taskId: "2aaaaaaaaaaaaaaaaaaaaaaaa", slot: 2, ipv4: "10.0.1.2", ipv6: "fd00::1:2", taskName: "shop_web.2" },
        ],
        ports: [{ name: "http", protocol: PortProtocol.TCP, target: 80 }],
      }),
      ServiceEndpoint.fromPartial({
        ...{ networkId: "n2", serviceId: "s2", name: "db" },
        backends: [1, 2].map((slot) => ({ taskId: `db${slot}`, slot, ipv4: `10.0.2.${slot}`, taskName: `db.${slot}` })),
      }),
      ServiceEndpoint.fromPartial({ networkId: "n2", serviceId: "s3", name: "six", vip6: "fd00::66" }),
    ].map((s) => [s.serviceId, s]),
  ),
});
const task = Task.fromPartial({
  ...{ id: "0123456789abcdefghijklmno", stack: "shop" },
  attachments: [{ networkId: "n1", ipv4: "10.0.3.1/16", ipv6: "fd00::3:1/64" }, { networkId: "n2" }],
  spec: { container: { hosts: ["extra:192.0.2.44"] } },
});

const WEB_TASKS = ["10.0.1.1", "10.0.1.2", "fd00::1:1", "fd00::1:2"];
const DB_TASKS = ["10.0.2.1", "10.0.2.2"];
const WEB = ["10.0.0.2", "fd00::2"];
/** Name → its addresses, by whatever resolver. None: the name does not exist. */
const NAMES: [name: string, addresses: string[]][] = [
  ["shop_web", WEB],
  ["web", WEB],
  ["WEB", WEB],
  ["web.", WEB],
  ["www", WEB],
  ["web.shop_back", WEB],
  ["web.back", WEB],
  ["www.back.", WEB],
  ["tasks.web", WEB_TASKS],
  ["tasks.shop_web.shop_back", WEB_TASKS],
  ["1.web", ["10.0.1.1", "fd00::1:1"]],
  ["web.2", ["10.0.1.2", "fd00::1:2"]],
  ["shop_web.2.back", ["10.0.1.2", "fd00::1:2"]],
  ["2aaaaaaaaaaa", ["10.0.1.2", "fd00::1:2"]],
  ["db", DB_TASKS],
  ["tasks.db", DB_TASKS],
  ["2.db.public", ["10.0.2.2"]],
  ["six", ["fd00::66"]],
  ["3.web", []],
  ["tasks.unknown", []],
  ["both.example.test", ["192.0.2.7", "2001:db8::7"]],
  ["four.example.test", ["192.0.2.8"]],
  ["missing.example.test", []],
];

describe("resolvers in a container", () => {
  let ns: ScratchNetns;
  let dir: string;
  let upstream: Socket;
  let forwarder: Forwarder;
  let names: Names;
  let asked: string[];

  before(async () => {
    ns = scratchNetns();
    const rtnl = Rtnl.open(ns.path);
    rtnl.linkSet("lo", { up: true });
    rtnl.close();
    asked = [];
    const known: Record<string, string> = {
      "both.example.test A": "192.0.2.7",
      "both.example.test AAAA": "2001:db8::7",
      "four.example.test A": "192.0.2.8",
    };
    upstream = createSocket("udp4");
    upstream.on("message", (m: Buffer, from) => {
      const q = decode(m);
      const { name, type } = q.questions![0]!;
      asked.push(name);
      const data = known[`${name} ${type}`];
      const answers = data === undefined ? [] : [{ type, name, ttl: 77, data } as Answer];
      const flags = Object.keys(known).some((k) => k.startsWith(`${name} `)) ? 0 : 3;
      upstream.send(
        encode({ type: "response", id: q.id!, flags, questions: q.questions!, answers }),
        from.port,
        from.address,
      );
    });
    await new Promise<void>((done) => upstream.bind(0, "127.0.0.1", () => done()));
    forwarder = new Forwarder({
      upstreams: [{ address: "127.0.0.1", port: upstream.address().port }],
      clock: realClock,
      timeoutMs: 2000,
    });
    names = createNames({ netnsPath: () => ns.path, forwarder, random: systemRandom, view: viewOf(false) });
    await names.serve(task);
    dir = mkdtempSync(join(tmpdir(), "tswarm-resolvers-"));
    mkdirSync(taskPaths(dir, task.id).dir);
  });
  after(async () => {
    await names?.stopAll();
    forwarder?.close();
    upstream?.close();
    ns?.remove();
    rmSync(dir, { recursive: true });
  });

  /** With the container's files in place, in its namespace. The exit status is ignored: the output says enough. */
  const inside = async (script: string, dnsSearch: string): Promise<string> => {
    const paths = taskPaths(dir, task.id);
    const container = { ...task.spec!.container!, dnsSearch: [dnsSearch] };
    const searching = { ...task, spec: { ...task.spec!, container } };
    writeEtcFiles({ task: searching, netns: { path: ns.path }, paths, hostGateway: "192.0.2.1" });
    const { resolvConf, hosts } = paths;
    const bound = `mount --bind ${resolvConf} /etc/resolv.conf && mount --bind ${hosts} /etc/hosts || exit 1`;
    const { stdout } = await run("ip", [
      "netns",
      "exec",
      ns.name,
      "unshare",
      "-m",
      "sh",
      "-c",
      `${bound}\n${script}\ntrue`,
    ]);
    return stdout;
  };

  /** Output of `command NAME` by name. */
  const each = async (
    list: readonly string[],
    command: (name: string) => string,
    search = ".",
  ): Promise<Map<string, string>> => {
    const mark = "@@";
    const output = await inside(list.map((name) => `echo ${mark}; ${command(name)} 2>/dev/null`).join("\n"), search);
    const parts = output.split(`${mark}\n`).slice(1);
    expect(parts).to.have.length(list.length);
    return new Map(list.map((name, i) => [name, parts[i]!]));
  };

  const RESOLVERS: [what: string, command: (name: string) => string, read: (output: string) => string[]][] = [
    [
      "dig",
      (name) => `dig +short +tries=1 ${name} A ${name} AAAA`,
      (output) => output.split("\n").filter((l) => /^[0-9a-f.:]+$/.test(l)),
    ],
    [
      "glibc",
      (name) => `getent --no-addrconfig ahosts ${name}`,
      (output) => output.split("\n").flatMap((l) => /^(\S+)\s+STREAM/.exec(l)?.[1] ?? []),
    ],
    [
      "busybox",
      (name) => `busybox nslookup ${name}`,
      // The first address is the server's.
      (output) => [...output.matchAll(/^Address(?: \d+)?:\s+(\S+)/gm)].map((m) => m[1]!).slice(1),
    ],
  ];
  for (const [what, command, read] of RESOLVERS)
    it(`${what} finds every form of name`, async () => {
      const found = await each(
        NAMES.map(([name]) => name),
        command,
      );
      const sorted = (list: readonly string[]) => [...new Set(list)].sort().join(" ");
      const actual = NAMES.map(([name]) => `${name}: ${sorted(read(found.get(name)!))}`);
      expect(actual).to.deep.equal(NAMES.map(([name, addresses]) => `${name}: ${sorted(addresses)}`));
    });

  it("what only the cluster can know is not asked outside", () => {
    expect([...new Set(asked)].filter((name) => !name.includes("example.test"))).to.deep.equal([]);
  });

  it("glibc finds names of addresses, of the container itself and of /etc/hosts, and searches", async () => {
    const hosts = await each(
      ["10.0.0.2", "10.0.1.2", "fd00::1:1", "10.0.2.1", "10.0.9.9", "0123456789ab", "extra", "four"],
      (name) => `getent hosts ${name}`,
      "example.test",
    );
    expect([...hosts].map(([name, line]) => `${name}: ${line.trim().replace(/\s+/g, " ")}`)).to.deep.equal([
      "10.0.0.2: 10.0.0.2 shop_web.shop_back",
      "10.0.1.2: 10.0.1.2 shop_web.2.shop_back",
      "fd00::1:1: fd00::1:1 shop_web.1.shop_back",
      "10.0.2.1: 10.0.2.1 db.1.public",
      "10.0.9.9: ",
      "0123456789ab: fd00::3:1 0123456789ab",
      "extra: 192.0.2.44 extra",
      "four: 192.0.2.8 four.example.test",
    ]);
  });

  it("dig finds services with the addresses of their targets", async () => {
    const text = await inside("dig +noall +answer +additional _http._tcp.tasks.web SRV", ".");
    const records = text
      .trim()
      .split("\n")
      .map((l) => l.split(/\s+/).slice(3).join(" "));
    expect(records.sort()).to.deep.equal([
      "A 10.0.1.1",
      "A 10.0.1.2",
      "AAAA fd00::1:1",
      "AAAA fd00::1:2",
      "SRV 0 0 80 shop_web.1.shop_back.",
      "SRV 0 0 80 shop_web.2.shop_back.",
    ]);
  });

  it("on internal networks only nothing is asked outside", async () => {
    names.update(viewOf(true));
    asked = [];
    const found = await each(
      ["four.example.test", "unknown", "web"],
      (name) => `getent --no-addrconfig ahostsv4 ${name}`,
    );
    expect([found.get("four.example.test"), found.get("unknown"), asked]).to.deep.equal(["", "", []]);
    expect(found.get("web")).to.match(/^10\.0\.0\.2 /);
  });
});
