import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { parseStack } from "#control-plane/stack/parse.ts";
import { NetworkSpec } from "#proto/gen/types.ts";

const parse = (network: string) =>
  parseStack(`services: { a: { image: i, networks: [n] } }\nnetworks:\n  n: ${network}`, { name: "s" }).networks[0];
const refusal = (network: string): string => {
  try {
    parse(network);
  } catch (error) {
    return TswarmError.from(error).message;
  }
  return "";
};

describe("networks of a stack file", () => {
  it("have families, options, and subnets with ranges and reserved addresses", () => {
    const text = `{ driver: macvlan, enable_ipv4: false, enable_ipv6: true, driver_opts: { parent: eth0, "parent@alpha": eth1 },
      ipam: { config: [{ subnet: "fd00::/64", gateway: "fd00::1", ip_range: "fd00::100/120", aux_addresses: { nas: "fd00::5" } }] } }`;
    expect(parse(text)).to.deep.equal(
      NetworkSpec.fromPartial({
        annotations: { name: "s_n", labels: { "com.docker.stack.namespace": "s" } },
        driver: "macvlan",
        options: { parent: "eth0", "parent@alpha": "eth1" },
        ipv6: true,
        ipam: [{ subnet: "fd00::/64", gateway: "fd00::1", range: "fd00::100/120", reserved: { nas: "fd00::5" } }],
      }),
    );
    expect(parse("{}")).to.include({ driver: "overlay", ipv4: true, ipv6: false });
  });

  it("are refused by path", () => {
    expect(refusal("{ ipam: { config: [{ gateway: 10.0.0.1 }] } }")).to.contain(
      "networks.n.ipam.config.0: has no subnet",
    );
    expect(refusal("{ ipam: { driver: infoblox } }")).to.contain('networks.n.ipam.driver: is "infoblox"');
    expect(refusal("{ ipam: { options: { a: b } } }")).to.contain("networks.n.ipam.options: is not supported");
    expect(refusal("{ enable_ipv4: maybe }")).to.contain('networks.n.enable_ipv4: is "maybe", not true or false');
  });
});
