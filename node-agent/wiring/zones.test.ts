import { expect } from "chai";
import { zonesOf } from "#node-agent/wiring/zones.ts";
import { ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { Network, Task } from "#proto/gen/types.ts";

describe("zones of containers", () => {
  const network = (id: string, name: string, internal = false) =>
    Network.fromPartial({ id, spec: { annotations: { name }, internal } });
  const view = {
    networks: new Map([
      ["n1", network("n1", "shop_back")],
      ["n2", network("n2", "public", true)],
    ]),
    services: new Map([
      [
        "a",
        ServiceEndpoint.fromPartial({
          ...{ networkId: "n1", serviceId: "a", name: "shop_web", stack: "shop", aliases: ["www"], vip4: "10.0.0.2" },
          backends: [{ taskId: "t1", slot: 1, ipv4: "10.0.0.3", taskName: "shop_web.1" }],
        }),
      ],
      ["b", ServiceEndpoint.fromPartial({ networkId: "n2", serviceId: "b", name: "db" })],
    ]),
  };
  const task = (stack: string, ...ids: string[]) =>
    Task.fromPartial({ stack, attachments: ids.map((networkId) => ({ networkId })) });

  it("has the task's networks in order, each with its services", () => {
    const { stack, networks } = zonesOf(view).of(task("shop", "n2", "n1"));
    expect(stack).to.equal("shop");
    expect(networks.map((n) => [n.name, n.internal, n.services.map((s) => s.name)])).to.deep.equal([
      ["public", true, ["db"]],
      ["shop_back", false, ["shop_web"]],
    ]);
    expect(networks[1]!.services[0]).to.deep.include({ mode: "vip", vip4: "10.0.0.2", aliases: ["www"] });
    expect(networks[1]!.services[0]!.backends).to.deep.equal([
      { slot: "1", name: "shop_web.1", ipv4: "10.0.0.3", ipv6: "", taskId: "t1" },
    ]);
    expect(networks[0]!.services[0]!.mode).to.equal("dnsrr");
  });

  it("a stack's own network is known without the stack's name, inside the stack only", () => {
    const zones = zonesOf(view);
    expect(zones.of(task("shop", "n1")).networks[0]!.aliases).to.deep.equal(["back"]);
    expect(zones.of(task("other", "n1")).networks[0]!.aliases).to.deep.equal([]);
    expect(zones.of(task("", "n1")).networks[0]!.aliases).to.deep.equal([]);
  });

  it("containers on the same networks in the same stack share one zone", () => {
    const zones = zonesOf(view);
    expect(zones.of(task("shop", "n1"))).to.equal(zones.of(task("shop", "n1")));
    expect(zones.of(task("shop", "n1"))).to.not.equal(zones.of(task("", "n1")));
    expect(zones.of(task("", "n1", "n2"))).to.not.equal(zones.of(task("", "n2", "n1")));
    expect(zones.of(task("n1", "n2"))).to.not.equal(zones.of(task("", "n1", "n2")));
  });

  it("a network that the view lacks is known by its id", () => {
    expect(zonesOf(view).of(task("", "gone")).networks[0]).to.deep.include({ name: "gone", services: [] });
  });
});
