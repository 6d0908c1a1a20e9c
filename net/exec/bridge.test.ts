// Bridges of one host: who reaches whom on them, with br_netfilter too, which sends what crosses a bridge through the rules.

import { expect } from "chai";
import { Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import type { HostNetwork } from "#net/model/host-networks.ts";
import { attach, bridgeNetwork, container, host as hostNetworks } from "#net/plan/testdata.ts";

const kind = (n: number, change: Partial<HostNetwork>): HostNetwork => ({
  ...bridgeNetwork(n, change),
  subnets: [
    { subnet: `172.20.${n}.0/24`, gateway: `172.20.${n}.1` },
    { subnet: `fd00:2${n}::/64`, gateway: `fd00:2${n}::1` },
  ],
});
const KINDS = {
  plain: kind(1, {}),
  internal: kind(2, { internal: true }),
  quiet: kind(3, { options: { "com.docker.network.bridge.enable_icc": "false" } }),
};
type Kind = keyof typeof KINDS;

describe("bridges of a host", () => {
  let host: ScratchHost;
  let reconciler: Reconciler;

  before(() => {
    host = scratchHost();
    reconciler = new Reconciler(host.place);
    host.netns.exec("ip", "link", "set", "lo", "up");
    host.netns.exec("ip", "addr", "add", "203.0.113.1/32", "dev", "lo");
    host.netns.exec("ip", "addr", "add", "2001:db8::1/128", "dev", "lo");
    const { errors } = reconciler.apply(
      hostNetworks({
        networks: Object.values(KINDS),
        containers: Object.entries(KINDS).flatMap(([name, network]) =>
          [2, 3].map((n) => container(`${name}${n}`, attach(network, n))),
        ),
      }),
    );
    expect(errors).to.deep.equal([]);
  });
  after(() => {
    reconciler.teardown();
    host.remove();
  });

  /** "1" or "0" answers. */
  const ping = (from: Kind, address: string): string => {
    const out = host.inside(`c-${from}2`, "sh", "-c", `ping -c1 -W0.5 -n ${address} 2>&1 || true`);
    return / (\d) received/.exec(out)?.[1] ?? "0";
  };
  const reached = (from: Kind, to: Kind): string[] =>
    KINDS[to].subnets.map(({ gateway }) => ping(from, gateway.replace(/1$/, "3")));

  it("containers of one bridge reach each other, unless icc is off", () => {
    expect(reached("plain", "plain")).to.deep.equal(["1", "1"]);
    expect(reached("internal", "internal")).to.deep.equal(["1", "1"]);
    expect(reached("quiet", "quiet")).to.deep.equal(["0", "0"]);
  });

  it("containers of different bridges don't", () => {
    for (const [from, to] of [
      ["plain", "quiet"],
      ["quiet", "plain"],
      ["plain", "internal"],
      ["internal", "plain"],
    ] as const)
      expect(reached(from, to), `${from} to ${to}`).to.deep.equal(["0", "0"]);
  });

  it("all but internal ones lead out", () => {
    for (const [from, out] of [
      ["plain", "1"],
      ["quiet", "1"],
      ["internal", "0"],
    ] as const)
      expect([ping(from, "203.0.113.1"), ping(from, "2001:db8::1")], from).to.deep.equal([out, out]);
  });
});
