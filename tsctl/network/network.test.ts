import { expect } from "chai";
import { refuse } from "#base/errors.ts";
import { Network, NetworkSpec, Service, Task, TaskState } from "#proto/gen/types.ts";
import type { Control } from "#tsctl/cli.ts";
import { FakeCluster, type FakeOptions, NOW, tsctl } from "#tsctl/fake-cluster.ts";

const words = (line: string): string[] => line.split(" ");
const cluster = new FakeCluster();
beforeEach(() => cluster.calls.splice(0));
const call = (name: string): Record<string, unknown> | undefined =>
  cluster.calls.find(([method]) => method === name)?.[1] as Record<string, unknown> | undefined;

const backend = Network.fromPartial({
  id: "net1",
  meta: { version: 7, createdAt: NOW },
  spec: { annotations: { name: "backend", labels: { tier: "a" } }, driver: "overlay", ipv4: true, ipam: [] },
  subnets: [{ subnet: "10.77.0.0/24", gateway: "10.77.0.1" }],
  vni: 4097,
});
const view = {
  network: backend,
  usage: [{ subnet: "10.77.0.0/24", used: 4, resting: 1, size: 254 }],
  services: [
    Service.fromPartial({
      id: "s1",
      spec: { annotations: { name: "web" } },
      vips: [{ networkId: "net1", ipv4: "10.77.0.2" }],
      ports: [{ published: 8080, target: 80 }],
    }),
  ],
  tasks: [
    Task.fromPartial({
      id: "t1",
      serviceId: "s1",
      name: "web.1",
      slot: 1,
      nodeId: cluster.nodes[0]!.id,
      status: { state: TaskState.TASK_RUNNING },
      attachments: [{ networkId: "net1", ipv4: "10.77.0.3/24", mac: "02:42:0a:4d:00:03" }],
    }),
  ],
};
const run = (line: string, options: FakeOptions & { network?: Network } = {}) =>
  tsctl(cluster, words(line), {
    ...options,
    control: {
      getNetwork: async (request) => {
        cluster.calls.push(["getNetwork", request]);
        return { view: { ...view, network: options.network ?? backend } };
      },
      ...options.control,
    } as Partial<Control>,
  });

describe("tsctl network", () => {
  it("create sends every flag to where it belongs", async () => {
    const line =
      "network create -d macvlan --subnet 10.1.0.0/24 --subnet 10.2.0.0/24 --gateway 10.2.0.254 --ip-range 10.1.0.64/26 --aux-address nas=10.2.0.9 --ipam-driver default --scope swarm --opt parent=eth0 --ipv4 lan";
    expect((await run(line)).code).to.equal(0);
    expect(call("createNetwork")!.spec).to.deep.equal(
      NetworkSpec.fromPartial({
        annotations: { name: "lan" },
        driver: "macvlan",
        options: { parent: "eth0" },
        ipv4: true,
        ipam: [
          { subnet: "10.1.0.0/24", range: "10.1.0.64/26" },
          { subnet: "10.2.0.0/24", gateway: "10.2.0.254", reserved: { nas: "10.2.0.9" } },
        ],
      }),
    );
  });

  it("create makes templates, networks from them and the ingress network", async () => {
    const spec = async (line: string) => {
      cluster.calls.splice(0);
      expect((await run(line)).code).to.equal(0);
      return call("createNetwork")!.spec as NetworkSpec;
    };
    expect(await spec("network create --config-only --ipv6 --no-ipv4 --opt mtu=1400 t")).to.include({
      configOnly: true,
      driver: "",
      ipv4: false,
      ipv6: true,
    });
    expect(await spec("network create --config-from t --driver overlay n")).to.include({
      configFrom: "t",
      ipv4: false,
      ipv6: false,
    });
    expect(await spec("network create --ingress --ipam-opt a=b ingress")).to.deep.include({
      ingress: true,
      ipamOptions: { a: "b" },
    });
  });

  const refused: [line: string, text: string][] = [
    ["create --ipam-driver infoblox n", '--ipam-driver: there is no driver "infoblox"'],
    ["create --scope local n", '--scope: a network of scope "local" would belong to one node'],
    ["create --gateway 10.0.0.1 n", '--gateway: "10.0.0.1" has no subnet of its family'],
    [
      "create --subnet 10.1.0.0/24 --subnet 10.2.0.0/24 --gateway 10.3.0.1 n",
      '--gateway: "10.3.0.1" is in none of the IPv4 subnets. Use one that is in 10.1.0.0/24 or 10.2.0.0/24.',
    ],
    ["create --subnet 10.1.0.0/24 --gateway 10.1.0.1 --gateway 10.1.0.2 n", "--gateway: 10.1.0.0/24 has two"],
    ["create --aux-address x --subnet 10.0.0.0/8 n", '--aux-address: "x" is not name=address'],
    ["update backend", "network: there is nothing to change. Use --subnet-add"],
    ["update --subnet-add 10.0.0.0 backend", '--subnet-add: "10.0.0.0" is not a subnet'],
    ["update --gateway 10.0.0.1 --label-add a=b backend", '--gateway: "10.0.0.1" has no subnet of its family'],
    ["update --label-add =b backend", '--label-add: "=b" has no key'],
    ["prune --force --filter until=yesterday", '--filter: "yesterday" is no time'],
    ["prune --force --filter label", '--filter: "label" is not a filter'],
  ];
  for (const [line, text] of refused)
    it(`refuses without a server: ${line}`, async () => {
      const ran = await tsctl(undefined, words(`network ${line}`));
      expect(ran.err).to.contain(text);
      expect(ran).to.include({ out: "", code: 1 });
    });

  it("update adds subnets and changes labels of what it read, again when somebody was faster", async () => {
    const sent: unknown[] = [];
    const updateNetwork = async (request: unknown) => {
      sent.push(request);
      if (sent.length === 1) throw refuse("stale_version", "version", "it has changed", "Read it again");
      return { network: backend };
    };
    const line =
      "network update --subnet-add 10.78.0.0/24 --gateway 10.78.0.254 --label-add b=c --label-rm tier backend";
    const ran = await run(line, { control: { updateNetwork } as unknown as Partial<Control> });
    expect(ran).to.include({ out: "backend\n", code: 0 });
    expect(sent).to.have.length(2);
    const { spec, ...request } = sent[1] as { spec: NetworkSpec };
    expect(request).to.deep.equal({ id: "net1", version: 7 });
    expect(spec.annotations).to.deep.equal({ name: "backend", labels: { b: "c" } });
    expect(spec.ipam).to.deep.equal([{ subnet: "10.78.0.0/24", range: "", gateway: "10.78.0.254", reserved: {} }]);
  });

  it("prune asks first, and removes only after a yes", async () => {
    const prune = (input?: string, flags = "") =>
      run(`network prune${flags}`, {
        ...(input === undefined ? {} : { input }),
        control: {
          pruneNetworks: async (request: unknown) => {
            cluster.calls.push(["pruneNetworks", request]);
            return { removed: [backend] };
          },
        } as unknown as Partial<Control>,
      });
    for (const answer of ["n\n", "\n", undefined]) {
      const ran = await prune(answer);
      expect(ran.err).to.contain("Are you sure you want to continue? [y/N]").and.contain("nothing was removed");
      expect(ran).to.include({ out: "", code: 1 });
    }
    expect(call("pruneNetworks")).to.equal(undefined);
    expect(await prune("y\n")).to.include({ out: "Deleted Networks:\nbackend\n", code: 0 });
    expect((await prune(undefined, " --force --filter label!=keep --filter until=1h")).code).to.equal(0);
    expect(cluster.calls.filter(([name]) => name === "pruneNetworks")[1]![1]).to.deep.equal({
      filters: [
        { key: "label!", values: ["keep"] },
        { key: "until", values: [String(NOW - 3_600_000)] },
      ],
    });
  });

  it("rm asks before it removes the ingress network; --force does not mind what is gone", async () => {
    const ingress = Network.fromPartial({ ...backend, spec: { ...backend.spec, ingress: true } });
    expect((await run("network rm backend")).out).to.equal("backend\n");
    const refusedBy = await run("network rm ingress", { network: ingress, input: "no\n" });
    expect(refusedBy).to.include({ out: "", code: 1 });
    expect(refusedBy.err).to.contain("no port can be published");
    expect((await run("network rm ingress", { network: ingress, input: "yes\n" })).out).to.equal("ingress\n");
    const gone = async () => {
      throw refuse("not_found", "network", 'there is no network "x"', "See `tsctl network ls`");
    };
    const control = { removeNetwork: gone } as unknown as Partial<Control>;
    expect((await run("network rm x", { control })).code).to.equal(1);
    expect((await run("network rm --force x", { control })).code).to.equal(0);
  });

  it("inspect shows usage, services, tasks and conflicts; --verbose peers, MTU and tasks of services", async () => {
    const nodes = cluster.nodes.map((node, i) => ({
      node: { ...node, description: { ...node.description!, routes: i === 1 ? ["10.77.3.1/16", "0.0.0.0/0"] : [] } },
    }));
    const control = { listNodes: async () => ({ nodes }) } as unknown as Partial<Control>;
    const inspect = async (line: string) => JSON.parse((await run(line, { control })).out)[0];
    const brief = await inspect("network inspect backend");
    expect(brief.usage).to.deep.equal([{ subnet: "10.77.0.0/24", used: 4, resting: 1, size: 254, free: 249 }]);
    expect(brief.tasks[0]).to.include({ name: "web.1", hostname: "node-1", ipv4: "10.77.0.3/24" });
    expect(brief.services[0].vip[0].ipv4).to.equal("10.77.0.2");
    expect(brief.warnings).to.deep.equal([
      "node node-2 has a route of its own to 10.77.0.0/16, which overlaps 10.77.0.0/24: it reaches only one of them",
    ]);
    expect(brief).not.to.have.property("peers");
    const verbose = await inspect("network inspect --verbose backend");
    expect(verbose.peers).to.deep.equal([
      { node: cluster.nodes[0]!.id, hostname: "node-1", addr: "10.0.0.1", tasks: 1 },
    ]);
    expect(verbose).to.include({ vni: 4097, mtu: "from the route to the peers" });
    expect(verbose.services[0].tasks[0]).to.include({ slot: 1, state: "running", hostAddr: "10.0.0.1" });
    expect(verbose.services[0].ports).to.deep.equal([{ published: 8080, target: 80 }]);
  });

  it("inspect names the nodes for which the ingress network has no address", async () => {
    const ingress = Network.fromPartial({
      ...backend,
      spec: { ...backend.spec, ingress: true },
      nodes: cluster.nodes.slice(1).map((node, i) => ({ nodeId: node.id, ipv4: `10.77.0.${i + 2}` })),
    });
    const { warnings } = JSON.parse((await run("network inspect ingress", { network: ingress })).out)[0];
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.match(/^node node-1 has no address here.*full \(tsctl network update --subnet-add/);
  });

  it("ls shows drivers as Docker does", async () => {
    const networks = [
      backend,
      Network.fromPartial({ id: "n2", spec: { annotations: { name: "none" }, driver: "none" }, predefined: true }),
      Network.fromPartial({ id: "n3", spec: { annotations: { name: "template" }, configOnly: true } }),
    ];
    const control = { listNetworks: async () => ({ networks }) } as unknown as Partial<Control>;
    expect((await run("network ls --format {{.Name}}={{.Driver}}/{{.Scope}}", { control })).out).to.equal(
      "backend=overlay/swarm\nnone=null/local\ntemplate=null/local\n",
    );
  });
});
