import { expect } from "chai";
import type { Issue } from "#base/errors.ts";
import { PortConfig, PortMode, PortProtocol } from "#proto/gen/types.ts";
import { FakeCluster, tsctl } from "#tsctl/fake-cluster.ts";
import { splitFields } from "#tsctl/flags/csv.ts";
import { changePorts, parsePublish, portLines, servicePorts, taskPorts } from "#tsctl/service/ports.ts";

const port = (published: number, target: number, more: Partial<PortConfig> = {}): PortConfig => ({
  name: "",
  protocol: PortProtocol.TCP,
  mode: PortMode.INGRESS,
  hostIp: "",
  published,
  target,
  ...more,
});
const parse = (written: string): PortConfig[] => {
  const issues: Issue[] = [];
  const read = parsePublish("--publish", written, issues);
  expect(issues).to.deep.equal([]);
  return read;
};

describe("flag --publish", () => {
  const read: [string, PortConfig[]][] = [
    ["8080:80", [port(8080, 80)]],
    ["127.0.0.1:8080:80/udp", [port(8080, 80, { hostIp: "127.0.0.1", protocol: PortProtocol.UDP })]],
    ["target=80", [port(0, 80)]],
    ["published=8080,target=80", [port(8080, 80)]],
    ["published=8000-8001,target=80-81", [port(8000, 80), port(8001, 81)]],
    [
      "target=443,published=8443,protocol=sctp,mode=host,host_ip=::1,name=https",
      [port(8443, 443, { protocol: PortProtocol.SCTP, mode: PortMode.HOST, hostIp: "::1", name: "https" })],
    ],
  ];
  for (const [written, expected] of read) it(`reads ${written}`, () => expect(parse(written)).to.deep.equal(expected));

  const refused: [string, string][] = [
    ["http", '"http" is not a port'],
    ["80:80/icmp", '"icmp" in "80:80/icmp" is no protocol'],
    ["published=80", '"published=80" has no valid target port'],
    ["published=x,target=80", '"published=x,target=80" has no valid published port'],
    ["target=80,protocol=icmp", '"icmp" in "target=80,protocol=icmp" is no protocol'],
    ["target=80,mode=mesh", '"mesh" in "target=80,mode=mesh" is no mode'],
    ["target=80,source=1", '"source" is not supported in "target=80,source=1"'],
    ["target=80-81,published=80-82", 'the ranges in "target=80-81,published=80-82" have different sizes'],
  ];
  for (const [written, reason] of refused)
    it(`refuses ${written}`, () => {
      const issues: Issue[] = [];
      expect(parsePublish("--publish", written, issues)).to.deep.equal([]);
      expect(issues.map((issue) => [issue.field, issue.reason])).to.deep.equal([["--publish", reason]]);
      expect(issues[0]!.remedy).not.to.equal("");
    });

  const current = [...parse("8080:80"), ...parse("8081:80"), ...parse("8080:80/udp"), ...parse("443")];
  const changed: [string[], string[], string][] = [
    [[], ["80"], "*:0->443/tcp, *:8080->80/udp"],
    [[], ["8081:80"], "*:0->443/tcp, *:8080->80/tcp, *:8080->80/udp"],
    [[], ["80/udp", "9999:443", "1"], "*:0->443/tcp, *:8080->80/tcp, *:8081->80/tcp"],
    [["8080:81", "443"], [], "*:0->443/tcp, *:8080->81/tcp, *:8081->80/tcp, *:8080->80/udp"],
    [["9090:80"], ["80"], "*:0->443/tcp, *:9090->80/tcp, *:8080->80/udp"],
  ];
  for (const [add, remove, expected] of changed)
    it(`adds ${JSON.stringify(add)} and removes ${JSON.stringify(remove)}`, () =>
      expect(servicePorts(changePorts(current, add.flatMap(parse), remove.flatMap(parse)))).to.equal(expected));

  it("reads quoted fields", () =>
    expect(splitFields('name=a,"driver-opt=k=1,2","say ""x""",')).to.deep.equal([
      "name=a",
      "driver-opt=k=1,2",
      'say "x"',
      "",
    ]));
});

describe("published ports on the screen", () => {
  const all = [
    ...parse("8000-8002:80-82"),
    ...parse("[::1]:53:53/udp"),
    port(0, 99, { mode: PortMode.HOST }),
    port(32_768, 98, { mode: PortMode.HOST }),
  ];
  it("joins ports in a row, and shows services what every node accepts, tasks what is theirs", () => {
    expect(servicePorts(all)).to.equal("*:8000-8002->80-82/tcp, [::1]:53->53/udp");
    expect(taskPorts(all)).to.equal("*:32768->98/tcp");
    expect(servicePorts([...parse("1:80"), ...parse("2:80"), ...parse("4:81")])).to.equal(
      "*:1->80/tcp, *:2->80/tcp, *:4->81/tcp",
    );
  });

  it("names all of a port in inspect --pretty", () => {
    expect(portLines([port(0, 80, { mode: PortMode.HOST, hostIp: "::1", name: "http" })])).to.deep.equal([
      "PublishedPort = chosen on each node",
      "  Protocol = tcp",
      "  TargetPort = 80",
      "  PublishMode = host",
      "  HostIP = ::1",
      "  Name = http",
    ]);
    expect(portLines(parse("8080:80"))[0]).to.equal("PublishedPort = 8080");
  });

  it("are in ls, ps and inspect", async () => {
    const cluster = new FakeCluster();
    await tsctl(cluster, ["service", "create", "-q", "--name", "web", "-p", "8080:80", "-p", "9090:90/udp", "i"]);
    const [service] = cluster.services.values();
    const { ports } = service!.spec!;
    expect(ports).to.deep.equal([...parse("8080:80"), ...parse("9090:90/udp")]);
    cluster.putService({ ...service!, ports });
    const [task] = cluster.tasks.values();
    cluster.putTask({ ...task!, ports: [PortConfig.fromPartial(port(32_768, 80, { mode: PortMode.HOST }))] });
    const run = async (...argv: string[]): Promise<string> => (await tsctl(cluster, ["service", ...argv])).out;
    expect(await run("ls", "--format", "{{.Ports}}")).to.equal("*:8080->80/tcp, *:9090->90/udp\n");
    expect(await run("ps", "--format", "{{.Ports}}", "web")).to.equal("*:32768->80/tcp\n");
    expect(await run("inspect", "--pretty", "web")).to.contain(
      "Ports:\n  PublishedPort = 8080\n    Protocol = tcp\n    TargetPort = 80\n    PublishMode = ingress\n  PublishedPort = 9090\n",
    );
    const [json] = JSON.parse(await run("inspect", "web"));
    expect(json.ports[1]).to.deep.include({ protocol: "udp", mode: "ingress", published: 9090 });
    await run("update", "-q", "--publish-rm", "80", "--publish-add", "mode=host,target=70", "web");
    expect([...cluster.services.values()][0]!.spec!.ports).to.deep.equal([
      ...parse("9090:90/udp"),
      ...parse("mode=host,target=70"),
    ]);
  });
});
