// The stack that the matrix is asked in: for each driver a client on node1, a server on node1 and one on node2.
import { AXES, type Cell } from "#test-cluster/e2e/reachability-rules.ts";

type Driver = Cell["driver"];

/** Below the cluster's own addresses on the nodes' network: what the machine outside of the nodes has. */
export const outside = (number: number) => ({ 4: `192.168.${number}.254`, 6: `fd77:${number}::fe` }) as const;

export const PLACES = { same: "node1", other: "node2" } as const;
export const serverOn = (driver: Driver, host: Cell["host"]): string => `${driver}-${host}`;
export const clientOn = (driver: Driver): string => `${driver}-client`;

/** What the servers publish, for TCP and UDP; on network host the container's port is the node's. */
export const publishedPort = (driver: Driver, host: Cell["host"]): number =>
  driver === "host" ? 80 : 8001 + AXES.driver.indexOf(driver) * 10 + AXES.host.indexOf(host);
const MODES: Readonly<Partial<Record<Driver, "ingress" | "host">>> = {
  bridge: "host",
  overlay: "ingress",
  macvlan: "host",
  host: "host",
};

const service = (driver: Driver, node: string, extra: object) => ({
  networks: [driver],
  deploy: { placement: { constraints: [`node.hostname==${node}`] } },
  ...extra,
});

const server = (driver: Driver, host: Cell["host"]) => {
  const mode = MODES[driver];
  const published = publishedPort(driver, host);
  const ports = (["tcp", "udp"] as const).map((protocol) => ({ target: 80, published, protocol, mode }));
  return service(driver, PLACES[host], { image: "localhost/web:1", ...(mode && { ports }) });
};

/** A stack file: YAML is a superset of JSON. */
export const reachabilityStack = (number: number): string => {
  const lan = [
    { subnet: `192.168.${number}.0/24`, gateway: outside(number)[4], ip_range: `192.168.${number}.128/26` },
    { subnet: `fd77:${number}::/64`, gateway: outside(number)[6], ip_range: `fd77:${number}::100/120` },
  ];
  return JSON.stringify({
    networks: {
      bridge: { driver: "bridge", enable_ipv6: true },
      overlay: { driver: "overlay", enable_ipv6: true },
      macvlan: {
        driver: "macvlan",
        enable_ipv6: true,
        driver_opts: { parent: "missing0", "parent@node1": "eth0", "parent@node2": "eth0" },
        ipam: { config: lan },
      },
      host: { external: true },
      none: { external: true },
    },
    services: Object.fromEntries(
      AXES.driver.flatMap((driver) => [
        ...AXES.host.map((host) => [serverOn(driver, host), server(driver, host)]),
        [clientOn(driver), service(driver, PLACES.same, { image: "localhost/tools:1", command: "sleep infinity" })],
      ]),
    ),
  });
};
