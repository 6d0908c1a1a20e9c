import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import { resolve, type Zone } from "#net/dns/zone.ts";
import { Zones } from "#node-agent/wiring/zones.ts";
import { ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { Network, PortProtocol, Task } from "#proto/gen/types.ts";

describe("zones of containers", () => {
  const network = (id: string, name: string, more: Parameters<typeof Network.fromPartial>[0] = {}) =>
    Network.fromPartial({ id, ...more, spec: { annotations: { name }, ...more.spec } });
  const web = ServiceEndpoint.fromPartial({
    ...{ networkId: "n1", serviceId: "a", name: "shop_web", stack: "shop", aliases: ["www"], vip4: "10.0.0.2" },
    backends: [
      { taskId: "t1", slot: 1, ipv4: "10.0.0.3", taskName: "shop_web.1" },
      { taskId: "t2", slot: 2, ipv4: "10.0.0.4", taskName: "shop_web.2" },
    ],
    ports: [{ name: "http", protocol: PortProtocol.TCP, target: 80, published: 8080 }, { target: 81 }],
  });
  const db = ServiceEndpoint.fromPartial({
    ...{ networkId: "n2", serviceId: "b", name: "db" },
    backends: [{ taskId: "t3", slot: 0, ipv4: "10.1.0.3", taskName: "db.node1" }],
  });
  const view = {
    networks: new Map([
      ["n1", network("n1", "shop_back", { subnets: [{ subnet: "10.0.0.0/24" }] })],
      ["n2", network("n2", "Public", { spec: { internal: true } })],
    ]),
    services: new Map([
      ["a", web],
      ["b", db],
    ]),
    tasks: new Map<string, Task>(),
  };
  const task = (stack: string, ...ids: string[]) =>
    Task.fromPartial({ stack, attachments: ids.map((networkId) => ({ networkId })) });
  const ask = (zone: Zone, name: string, type = "A"): string => {
    const verdict = resolve(zone, name, type, seededRandom(1));
    return verdict.kind === "records"
      ? verdict.answers
          .map((r) => ("port" in r ? `${r.data}:${r.port}` : r.data))
          .sort()
          .join(" ")
      : verdict.kind;
  };

  it("has the task's networks in order, each with its services", () => {
    const zone = new Zones(view).of(task("shop", "n2", "n1"));
    expect(zone.stack).to.equal("shop");
    expect(
      zone.networks.map(({ name, suffixes, internal, subnets }) => ({ name, suffixes, internal, subnets })),
    ).to.deep.equal([
      { name: "Public", suffixes: ["public"], internal: true, subnets: [] },
      { name: "shop_back", suffixes: ["shop_back", "back"], internal: false, subnets: ["10.0.0.0/24"] },
    ]);
    expect(ask(zone, "web")).to.equal("10.0.0.2");
    expect(ask(zone, "www.back")).to.equal("10.0.0.2");
    expect(ask(zone, "tasks.shop_web")).to.equal("10.0.0.3 10.0.0.4");
    expect(ask(zone, "shop_web.2.back")).to.equal("10.0.0.4");
    expect(ask(zone, "_http._tcp.web", "SRV")).to.equal("shop_web.shop_back:80");
    expect(ask(zone, "db.public")).to.equal("10.1.0.3");
    // A global service has no slots.
    expect(ask(zone, "db.node1")).to.equal("10.1.0.3");
    expect(ask(zone, "0.db")).to.equal("nxdomain");
  });

  it("a stack's own network is known without the stack's name, inside the stack only", () => {
    const zones = new Zones(view);
    expect(zones.of(task("shop", "n1")).networks[0]!.suffixes).to.deep.equal(["shop_back", "back"]);
    expect(zones.of(task("other", "n1")).networks[0]!.suffixes).to.deep.equal(["shop_back"]);
    expect(zones.of(task("", "n1")).networks[0]!.suffixes).to.deep.equal(["shop_back"]);
  });

  it("containers on the same networks in the same stack share one zone, and all on a network its names", () => {
    const zones = new Zones(view);
    expect(zones.of(task("shop", "n1"))).to.equal(zones.of(task("shop", "n1")));
    expect(zones.of(task("shop", "n1"))).to.not.equal(zones.of(task("", "n1")));
    expect(zones.of(task("shop", "n1")).networks[0]!.names).to.equal(zones.of(task("", "n1")).networks[0]!.names);
    expect(zones.of(task("", "n1", "n2"))).to.not.equal(zones.of(task("", "n2", "n1")));
    expect(zones.of(task("n1", "n2"))).to.not.equal(zones.of(task("", "n1", "n2")));
  });

  it("zones follow the services, and are made anew when networks change", () => {
    const zones = new Zones(view);
    const zone = zones.of(task("", "n1"));
    const services = new Map(view.services);
    services.set("a", { ...web, vip4: "10.0.0.99" });
    services.set("c", ServiceEndpoint.fromPartial({ networkId: "n1", serviceId: "c", name: "new", vip4: "10.0.0.7" }));
    expect(zones.update({ ...view, services })).to.equal(false);
    expect([ask(zone, "web"), ask(zone, "new"), ask(zone, "1.web")]).to.deep.equal([
      "10.0.0.99",
      "10.0.0.7",
      "10.0.0.3",
    ]);
    services.delete("a");
    expect(zones.update({ ...view, services: new Map(services) })).to.equal(false);
    expect([ask(zone, "web"), ask(zone, "1.web")]).to.deep.equal(["unknown", "unknown"]);
    expect(zones.update({ ...view, networks: new Map([["n1", network("n1", "renamed")]]) })).to.equal(true);
    expect(ask(zones.of(task("", "n1")), "web.renamed")).to.equal("10.0.0.2");
  });

  it("on a bridge knows the containers of this node only", () => {
    const networks = new Map([["n1", network("n1", "shop_back", { spec: { driver: "bridge" } })]]);
    const zones = new Zones({ ...view, networks, tasks: new Map([["t2", task("")]]) });
    expect(ask(zones.of(task("", "n1")), "tasks.web")).to.equal("10.0.0.4");
  });

  it("a container of its own has a name on every node of an overlay, and on a bridge where it runs", () => {
    const own = (id: string, networkId: string) =>
      ServiceEndpoint.fromPartial({
        ...{ networkId, serviceId: id, name: `box-${id}`, aliases: [`alias-${id}`] },
        backends: [{ taskId: id, ipv4: `10.9.0.${id}` }],
      });
    const zone = new Zones({
      networks: new Map([
        ["o", network("o", "over", { spec: { driver: "overlay" } })],
        ["b", network("b", "lab", { spec: { driver: "bridge" } })],
      ]),
      services: new Map(["1", "2"].flatMap((id) => ["o", "b"].map((n) => [`${n}/${id}`, own(id, n)] as const))),
      tasks: new Map([["1", Task.fromPartial({ id: "1" })]]),
    });
    const over = zone.of(task("", "o"));
    const lab = zone.of(task("", "b"));
    expect(["box-1", "box-2", "alias-2"].map((name) => ask(over, name))).to.deep.equal([
      "10.9.0.1",
      "10.9.0.2",
      "10.9.0.2",
    ]);
    expect(["box-1", "alias-1"].map((name) => ask(lab, name))).to.deep.equal(["10.9.0.1", "10.9.0.1"]);
    expect(["box-2", "alias-2"].map((name) => ask(lab, name))).to.deep.equal(["unknown", "unknown"]);
  });

  it("a network that the view lacks is known by its id", () => {
    const [found] = new Zones(view).of(task("", "gone")).networks;
    expect(found).to.deep.include({ name: "gone", suffixes: ["gone"] });
  });
});
