// Networks with options: a stack with a client and a server in each, and what the client must find.
import type { Verdict } from "#test-cluster/e2e/reachability-rules.ts";

const on = (node: string, image: string, networks: unknown, extra: object = {}) => ({
  image: `localhost/${image}:1`,
  ...(image === "tools" && { command: "sleep infinity" }),
  networks,
  ...extra,
  deploy: {
    placement: { constraints: [`node.hostname==${node}`] },
    ...("deploy" in extra && (extra.deploy as object)),
  },
});
const pair = (network: string, extra: object = {}) => ({
  [`${network}-server`]: on("node1", "web", [network], extra),
  [`${network}-client`]: on("node1", "tools", [network]),
});

export const ROUTED = { 4: "10.90.0.0/24", 6: "2001:db8:90::/64" } as const;
export const PINNED = ["10.93.0.10", "10.93.0.12"] as const;
export const MAC = "02:42:00:11:22:33";

export const kindsStack = (): string =>
  JSON.stringify({
    networks: {
      plain: { driver: "bridge", enable_ipv6: true },
      other: { driver: "bridge", enable_ipv6: true, driver_opts: { mtu: "1420" } },
      quiet: { driver: "bridge", enable_ipv6: true, driver_opts: { icc: "false" } },
      inner: { driver: "bridge", enable_ipv6: true, internal: true },
      routed: {
        driver: "bridge",
        enable_ipv6: true,
        driver_opts: { "gateway-mode-ipv4": "routed", "gateway-mode-ipv6": "routed" },
        ipam: { config: [{ subnet: ROUTED[4] }, { subnet: ROUTED[6] }] },
      },
      default: { name: "bridge", external: true },
      odd: {
        enable_ipv6: true,
        driver_opts: { mtu: "1300", vxlanid: "777" },
        ipam: { config: [{ subnet: "10.93.0.0/24" }] },
      },
      deep: { enable_ipv6: true, internal: true },
      small: { ipam: { config: [{ subnet: "10.91.0.0/29" }] } },
    },
    services: {
      ...pair("plain"),
      ...pair("other"),
      ...pair("quiet"),
      ...pair("inner"),
      ...pair("routed", { ports: [{ target: 80, published: 8095, mode: "host" }] }),
      ...pair("default"),
      "deep-server": on("node2", "web", ["deep"], { deploy: { endpoint_mode: "dnsrr", replicas: 2 } }),
      "deep-client": on("node1", "tools", ["deep"]),
      pinned: on("node2", "web", { odd: { ipv4_address: PINNED } }, { deploy: { replicas: 2 } }),
      several: on("node1", "tools", {
        odd: { interface_name: "back0" },
        plain: { interface_name: "out0", gw_priority: 7, mac_address: MAC },
        deep: {},
      }),
      crowd: on("node1", "tools", ["small"], { deploy: { endpoint_mode: "dnsrr", replicas: 5 } }),
    },
  });

/** A client of a network, or the machine outside, and whom it asks: "NETWORK/SERVICE" is the address of a task. */
export type Finding = {
  readonly client: string;
  readonly target: string;
  readonly protocol: "tcp" | "icmp";
  readonly verdict: Verdict;
};

const finding = (client: string, protocol: "tcp" | "icmp", target: string, verdict: Verdict): Finding => ({
  client,
  protocol,
  target,
  verdict,
});

export const FINDINGS: readonly Finding[] = [
  // A name and an address on the network itself.
  ...["plain", "other", "inner", "routed", "default"].map((n) => finding(n, "tcp", `${n}-server`, "reachable")),
  finding("deep", "tcp", "deep-server", "reachable"),
  finding("quiet", "icmp", "quiet/quiet-server", "unreachable"),
  // The way out.
  ...["plain", "other", "quiet", "routed"].map((n) => finding(n, "icmp", "outside", "reachable")),
  ...["inner", "deep"].map((n) => finding(n, "icmp", "outside", "unreachable")),
  ...["inner", "deep"].map((n) => finding(n, "icmp", "node1", "unreachable")),
  // Bridges of one node are apart, and so are their names.
  finding("other", "tcp", "plain/plain-server", "unreachable"),
  finding("plain", "tcp", "inner/inner-server", "unreachable"),
  finding("plain", "tcp", "other-server", "no such name"),
  // Routed: from outside at its own address, by published ports only.
  finding("outside", "icmp", "routed/routed-client", "reachable"),
  finding("outside", "tcp", "routed/routed-server", "reachable"),
  finding("outside", "tcp", "routed/routed-client", "unreachable"),
  finding("outside", "icmp", "plain/plain-server", "unreachable"),
];
