import { expect } from "chai";
import { meshMac } from "#net/model/mac.ts";
import { desiredNetworks, type NetworkView, netnsOf } from "#node-agent/wiring/desired.ts";
import { Endpoint, PublishedService, ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { Network, PortMode, PortProtocol, Task, TaskState } from "#proto/gen/types.ts";

const NODE = { vtep: "192.0.2.1", dataPathPort: 4789 };
const SELF = { ...NODE, nodeId: "n1", hostname: "host1", labels: {} };

const network = (id: string, driver: string, options: Record<string, string> = {}): Network =>
  Network.fromPartial({
    id,
    vni: driver === "overlay" ? 4097 : 0,
    spec: { annotations: { name: `name of ${id}` }, driver, options },
    subnets: driver === "overlay" || driver === "bridge" ? [{ subnet: "10.1.0.0/24", gateway: "10.1.0.1" }] : [],
  });
const task = (id: string, ...networkIds: readonly string[]): Task =>
  Task.fromPartial({
    id,
    attachments: networkIds.map((networkId) => ({ networkId, ipv4: "10.1.0.2/24", mac: "02:42:00:00:00:02" })),
  });
const byId = <T extends { readonly id: string }>(...items: readonly T[]): Map<string, T> =>
  new Map(items.map((item) => [item.id, item]));

const view: NetworkView = {
  tasks: byId(
    task("t1", "over"),
    task("t2", "over", "bri"),
    task("t3", "hosted"),
    task("t4", "nothing"),
    task("t5", "unknown"),
  ),
  networks: byId(
    network("over", "overlay", { "com.docker.network.driver.mtu": "1300" }),
    network("bri", "bridge", { "com.docker.network.bridge.enable_icc": "false" }),
    network("hosted", "host"),
    network("nothing", "none"),
  ),
  endpoints: new Map([
    [
      "endpoint/over/r1",
      Endpoint.fromPartial({
        networkId: "over",
        taskId: "r1",
        vtep: "192.0.2.2",
        ipv4: "10.1.0.9",
        mac: "02:42:00:00:00:09",
      }),
    ],
    [
      "endpoint/over/r2",
      Endpoint.fromPartial({ networkId: "over", taskId: "r2", vtep: "", ipv4: "10.1.0.8", mac: "02:42:00:00:00:08" }),
    ],
  ]),
  published: new Map(),
  services: new Map([
    [
      "service/over/s1",
      ServiceEndpoint.fromPartial({
        networkId: "over",
        serviceId: "s1",
        vip4: "10.1.0.100",
        backends: [
          { taskId: "t1", ipv4: "10.1.0.2" },
          { taskId: "r1", ipv4: "10.1.0.9" },
        ],
      }),
    ],
    [
      "service/over/s2",
      ServiceEndpoint.fromPartial({
        networkId: "over",
        serviceId: "s2",
        backends: [{ taskId: "t1", ipv4: "10.1.0.2" }],
      }),
    ],
  ]),
};
const desired = (...wired: readonly string[]) => desiredNetworks(view, SELF, new Set(wired));

describe("desiredNetworks", () => {
  it("wires the named tasks, their networks, and what is on those", () => {
    const { networks, containers, remotes } = desired("t1");
    expect(containers).to.deep.equal([
      {
        taskId: "t1",
        netns: "c-t1",
        attachments: [
          {
            networkId: "over",
            ifname: "eth0",
            ipv4: "10.1.0.2/24",
            ipv6: "",
            mac: "02:42:00:00:00:02",
            gatewayPriority: 0,
            sysctls: {},
          },
        ],
      },
    ]);
    expect(networks.map((n) => n.id)).to.deep.equal(["over"]);
    expect(networks[0]).to.include({ driver: "overlay", vni: 4097, internal: false });
    expect(networks[0]!.options).to.deep.equal({ "com.docker.network.driver.mtu": "1300" });
    expect(remotes.map((r) => r.ipv4)).to.deep.equal(["10.1.0.9"]);
  });

  it("gives services with a virtual address all their backends, local and remote alike", () => {
    const services = desired("t1").networks[0]!.services;
    expect(services.map((s) => s.id)).to.deep.equal(["s1"]);
    expect(services[0]!.backends.map((b) => b.ipv4)).to.deep.equal(["10.1.0.2", "10.1.0.9"]);
  });

  it("names interfaces in the order of the attachments", () => {
    const { containers } = desired("t2");
    expect(containers[0]!.attachments.map((a) => `${a.ifname} ${a.networkId}`)).to.deep.equal([
      "eth0 over",
      "eth1 bri",
    ]);
  });

  it("gives a task on the host's network no namespace, and one on none a namespace without interfaces", () => {
    const { containers, networks } = desired("t3", "t4");
    expect(containers.map((c) => c.netns)).to.deep.equal(["", "c-t4"]);
    expect(containers.flatMap((c) => c.attachments)).to.deep.equal([]);
    expect(networks).to.deep.equal([]);
    expect(netnsOf(view.tasks.get("t3")!, view.networks)).to.equal("");
  });

  it("leaves out what the view does not have, and wires nothing without tasks", () => {
    expect(desired("t5").containers[0]!.attachments).to.deep.equal([]);
    expect(desired()).to.deep.equal({ node: NODE, networks: [], containers: [], remotes: [], published: [] });
  });

  it("keeps the names of interfaces that the attachment has, and gives the others the free ones", () => {
    const named = task("t6", "over", "bri");
    named.attachments[1]!.interfaceName = "eth0";
    const tasks = new Map([...view.tasks, ["t6", named]]);
    const { containers } = desiredNetworks({ ...view, tasks }, SELF, new Set(["t6"]));
    expect(containers[0]!.attachments.map((a) => a.ifname)).to.deep.equal(["eth1", "eth0"]);
  });

  describe("published ports", () => {
    const ingress = Network.fromPartial({
      id: "ing",
      vni: 4100,
      spec: { annotations: { name: "ingress" }, driver: "overlay", ingress: true },
      subnets: [{ subnet: "10.0.0.0/24", gateway: "10.0.0.1" }],
      nodes: [
        { nodeId: "n1", ipv4: "10.0.0.2" },
        { nodeId: "n2", ipv4: "10.0.0.3" },
      ],
    });
    const onIngress = (change: object) => Endpoint.fromPartial({ networkId: "ing", vtep: "192.0.2.2", ...change });
    const hostPort = { protocol: PortProtocol.UDP, target: 53, published: 5353, mode: PortMode.HOST };
    const shared: NetworkView = {
      ...view,
      networks: new Map([...view.networks, ["ing", ingress]]),
      endpoints: new Map([
        ...view.endpoints,
        ["endpoint/ing/n1", onIngress({ nodeId: "n1", ipv4: "10.0.0.2", mac: "02:00:00:00:00:01", vtep: NODE.vtep })],
        ["endpoint/ing/n2", onIngress({ nodeId: "n2", ipv4: "10.0.0.3", mac: "02:00:00:00:00:02" })],
        ["endpoint/ing/r9", onIngress({ nodeId: "n2", taskId: "r9", ipv4: "10.0.0.9", mac: "02:00:00:00:00:09" })],
      ]),
      published: new Map([
        [
          "publish/s1",
          PublishedService.fromPartial({
            serviceId: "s1",
            ports: [{ protocol: PortProtocol.TCP, target: 80, published: 8080, mode: PortMode.INGRESS }],
            backends: [{ taskId: "r9", nodeId: "n2", ipv4: "10.0.0.9" }],
          }),
        ],
      ]),
    };

    it("are accepted also without containers: by the mesh of this node and the others", () => {
      const { networks, remotes, published } = desiredNetworks(shared, SELF, new Set());
      expect(networks.map((n) => n.id)).to.deep.equal(["ing"]);
      expect(networks[0]!.mesh!.self).to.include({ ipv4: "10.0.0.2", vtep: NODE.vtep, mac: meshMac("ing", "n1") });
      expect(networks[0]!.mesh!.others.map((o) => o.ipv4)).to.deep.equal(["10.0.0.3"]);
      expect(remotes.map((r) => r.ipv4)).to.deep.equal(["10.0.0.9"]);
      const backends = [{ ipv4: "10.0.0.9", ipv6: "" }];
      expect(published).to.deep.equal([{ protocol: "tcp", port: 8080, hostIp: "", target: 80, backends }]);
    });

    it("wait until this node has an address on the mesh", () => {
      const { networks, published } = desiredNetworks(shared, { ...SELF, nodeId: "n3" }, new Set());
      expect({ networks, published }).to.deep.equal({ networks: [], published: [] });
    });

    it("of mode host lead to the bridge of a task that runs here, until it is to stop", () => {
      const published = (desiredState: TaskState) => {
        const t = Task.fromPartial({ ...task("t7", "over", "bri"), ports: [hostPort], desiredState });
        const tasks = new Map([["t7", t]]);
        return desiredNetworks({ ...shared, tasks, published: new Map() }, SELF, new Set(["t7"])).published;
      };
      const backends = [{ ipv4: "10.1.0.2", ipv6: "" }];
      expect(published(TaskState.TASK_RUNNING)).to.deep.equal([
        { protocol: "udp", port: 5353, hostIp: "", target: 53, backends },
      ]);
      expect(published(TaskState.TASK_SHUTDOWN)).to.deep.equal([]);
    });
  });
});
