import { expect } from "chai";
import { desiredNetworks, type NetworkView, netnsOf } from "#node-agent/wiring/desired.ts";
import { Endpoint, ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { Network, Task } from "#proto/gen/types.ts";

const NODE = { vtep: "192.0.2.1", dataPathPort: 4789 };

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
const desired = (...wired: readonly string[]) => desiredNetworks(view, NODE, new Set(wired));

describe("desiredNetworks", () => {
  it("wires the named tasks, their networks, and what is on those", () => {
    const { networks, containers, remotes } = desired("t1");
    expect(containers).to.deep.equal([
      {
        taskId: "t1",
        netns: "c-t1",
        attachments: [{ networkId: "over", ifname: "eth0", ipv4: "10.1.0.2/24", ipv6: "", mac: "02:42:00:00:00:02" }],
      },
    ]);
    expect(networks.map((n) => n.id)).to.deep.equal(["over"]);
    expect(networks[0]).to.include({ driver: "overlay", vni: 4097, mtuBytes: 1300, icc: true, internal: false });
    expect(remotes.map((r) => r.ipv4)).to.deep.equal(["10.1.0.9"]);
  });

  it("gives services with a virtual address all their backends, local and remote alike", () => {
    const services = desired("t1").networks[0]!.services;
    expect(services.map((s) => s.id)).to.deep.equal(["s1"]);
    expect(services[0]!.backends.map((b) => b.ipv4)).to.deep.equal(["10.1.0.2", "10.1.0.9"]);
  });

  it("names interfaces in the order of the attachments", () => {
    const { containers, networks } = desired("t2");
    expect(containers[0]!.attachments.map((a) => `${a.ifname} ${a.networkId}`)).to.deep.equal([
      "eth0 over",
      "eth1 bri",
    ]);
    expect(networks.find((n) => n.id === "bri")!.icc).to.equal(false);
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
    expect(desired()).to.deep.equal({ node: NODE, networks: [], containers: [], remotes: [] });
  });
});
