import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import {
  changedHosts,
  extraHosts,
  hostsFile,
  type ResolvConfInput,
  resolvConfFile,
  writeEtcFiles,
} from "#node-agent/reconcile/etc-files.ts";
import { taskPaths } from "#node-agent/reconcile/task-files.ts";
import { Task } from "#proto/gen/types.ts";

describe("files in a container's /etc", () => {
  const { attachments } = Task.fromPartial({
    attachments: [{ ipv4: "10.0.0.3/24", ipv6: "fd00::3/64" }, { ipv4: "10.1.0.3/24" }],
  });

  it("hosts has loopback names and the hostname with each of its addresses", () => {
    expect(hostsFile({ hostname: "web", attachments }).split("\n")).to.deep.equal([
      "127.0.0.1\tlocalhost",
      "::1\tlocalhost ip6-localhost ip6-loopback",
      "fe00::\tip6-localnet",
      "ff00::\tip6-mcastprefix",
      "ff02::1\tip6-allnodes",
      "ff02::2\tip6-allrouters",
      "10.0.0.3\tweb",
      "fd00::3\tweb",
      "10.1.0.3\tweb",
      "",
    ]);
    expect(hostsFile({ hostname: "a.example.org", attachments })).to.include("10.0.0.3\ta.example.org a\n");
  });

  it("hosts loses and gets only lines of own addresses when networks come and go; what the container wrote stays", () => {
    const file = `${hostsFile({ hostname: "web", attachments })}192.0.2.1\tdb\n# mine\n10.0.0.3 other\n`;
    const later = Task.fromPartial({ attachments: [{ ipv4: "10.1.0.3/24" }, { ipv4: "10.2.0.3/24" }] }).attachments;
    const changed = changedHosts(file, "web", attachments, later);
    expect(changed).to.equal(
      `${hostsFile({ hostname: "web", attachments: [attachments[1]!] })}192.0.2.1\tdb\n# mine\n10.0.0.3 other\n10.2.0.3\tweb\n`,
    );
    expect(changedHosts(changed, "web", attachments, later)).to.equal(changed);
  });

  it("hosts has what the user added, and the node where it is asked for", () => {
    const hosts = ["db:192.0.2.1", "six:2001:db8::1", "seven:[2001:db8::2]", "node:host-gateway"];
    expect(extraHosts(hosts, "192.0.2.9")).to.equal(
      "192.0.2.1\tdb\n2001:db8::1\tsix\n2001:db8::2\tseven\n192.0.2.9\tnode\n",
    );
  });

  const host =
    "# x\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch corp.test\noptions ndots:3 timeout:1\noptions edns0\n";
  const none: ResolvConfInput = { network: "named", dns: [], search: [], options: [], host };
  for (const [what, input, expected] of [
    [
      "takes over search domains and options",
      {},
      ["nameserver 127.0.0.11", "search corp.test", "options timeout:1 edns0 ndots:0"],
    ],
    [
      "prefers what the user gave",
      { search: ["a", "b"], options: ["ndots:2"] },
      ["nameserver 127.0.0.11", "search a b", "options ndots:2"],
    ],
    ["searches nowhere for a dot", { search: ["."] }, ["nameserver 127.0.0.11", "options timeout:1 edns0 ndots:0"]],
    ["needs no file on the host", { host: "" }, ["nameserver 127.0.0.11", "options ndots:0"]],
    [
      "without a network has no use for the host's loopback",
      { network: "none" },
      ["nameserver 192.0.2.53", "search corp.test", "options ndots:3 timeout:1 edns0"],
    ],
    [
      "on the host's network changes what the user gave only",
      { network: "host", dns: ["192.0.2.1"] },
      ["nameserver 192.0.2.1", "search corp.test", "options ndots:3 timeout:1 edns0"],
    ],
  ] as [string, Partial<ResolvConfInput>, string[]][])
    it(`resolv.conf ${what}`, () => {
      const lines = resolvConfFile({ ...none, ...input }).split("\n");
      expect(lines.filter((l) => l !== "" && !l.startsWith("#"))).to.deep.equal(expected);
    });

  it("resolv.conf on the host's network is the host's; it says where other names are asked", () => {
    expect(resolvConfFile({ ...none, network: "host" })).to.equal(host);
    expect(resolvConfFile(none)).to.match(/^# .*: 127\.0\.0\.53 192\.0\.2\.53$/m);
    expect(resolvConfFile({ ...none, dns: ["192.0.2.1"] })).to.match(/^# .*: 192\.0\.2\.1$/m);
  });

  it("are written for each kind of network", () => {
    const dir = mkdtempSync(join(tmpdir(), "tswarm-etc-"));
    try {
      const task = Task.fromPartial({
        id: "abcdefghijklmnop",
        attachments,
        spec: { container: { hosts: ["n:host-gateway"] } },
      });
      const paths = taskPaths(dir, task.id);
      mkdirSync(paths.dir);
      const written = (netns: "host" | { path: string }, of = task) => {
        writeEtcFiles({ task: of, netns, paths, hostGateway: "192.0.2.9" });
        return [paths.hosts, paths.hostname, paths.resolvConf].map((path) => readFileSync(path, "utf8")) as [
          string,
          string,
          string,
        ];
      };
      const [hosts, name, resolvConf] = written({ path: "/n" });
      expect(hosts).to.match(/10\.1\.0\.3\tabcdefghijkl\n192\.0\.2\.9\tn\n$/);
      expect(name).to.equal("abcdefghijkl\n");
      expect(resolvConf).to.include("\nnameserver 127.0.0.11\n");
      const onHost = written("host");
      expect(onHost[0]).to.equal(`${readFileSync("/etc/hosts", "utf8")}192.0.2.9\tn\n`);
      expect(onHost[1]).to.equal(`${hostname()}\n`);
      expect(onHost[2]).to.equal(readFileSync("/etc/resolv.conf", "utf8"));
      const alone = written({ path: "/n" }, { ...task, attachments: [] });
      expect(alone[0]).to.match(/ip6-allrouters\n192/);
      expect(alone[2]).to.not.include("127.0.0.11");
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
