// Published ports: what they are called, when two of them get into each other's way, and which can't be.

import { refuse } from "#base/errors.ts";
import { canonicalAddress, parseAddress } from "#net/model/cidr.ts";
import { EndpointMode, type PortConfig, PortMode, PortProtocol, type ServiceSpec } from "#proto/gen/types.ts";
import type { Issues } from "./issues.ts";

export const PROTOCOLS: Readonly<Record<string, PortProtocol>> = {
  tcp: PortProtocol.TCP,
  udp: PortProtocol.UDP,
  sctp: PortProtocol.SCTP,
};
export const MODES: Readonly<Record<string, PortMode>> = { ingress: PortMode.INGRESS, host: PortMode.HOST };

const MAX_PORT = 65_535;
/** A service's object travels whole; nobody needs more than this, and a mistyped range is told. */
const MAX_PORTS = 1_000;
/** A label of a DNS name; SRV records put "_" before it (RFC 2782). */
const PORT_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,60}[a-zA-Z0-9])?$/;
/** Every address of a family; the mesh and the nodes know only "every address". */
const ANY = new Set(["0.0.0.0", "::"]);

/** "tcp", "udp" or "sctp". */
export const protocolName = (protocol: PortProtocol): string =>
  Object.keys(PROTOCOLS).find((name) => PROTOCOLS[name] === protocol) ?? "tcp";

/** "8080/tcp", with the address of the node that it is bound to: "127.0.0.1:8080/tcp", "[::1]:8080/tcp". */
export const portText = ({
  protocol,
  published,
  hostIp,
}: Pick<PortConfig, "protocol" | "published" | "hostIp">): string =>
  `${hostText(hostIp)}${published}/${protocolName(protocol)}`;

const hostText = (ip: string): string => (ip === "" ? "" : ip.includes(":") ? `[${ip}]:` : `${ip}:`);

/** Do two bindings of one port hit the same packets? An empty address is every address of the node. */
export const sameHostIp = (a: string, b: string): boolean => a === "" || b === "" || a === b;

/** Would both want the same packets of a node? Ports that are still to be chosen are in nobody's way. */
export const collide = (
  a: Pick<PortConfig, "protocol" | "published" | "hostIp">,
  b: Pick<PortConfig, "protocol" | "published" | "hostIp">,
): boolean =>
  a.published !== 0 && a.published === b.published && a.protocol === b.protocol && sameHostIp(a.hostIp, b.hostIp);

export const samePort = (a: PortConfig, b: PortConfig): boolean =>
  a.name === b.name &&
  a.protocol === b.protocol &&
  a.target === b.target &&
  a.published === b.published &&
  a.mode === b.mode &&
  a.hostIp === b.hostIp;

export const ingressPorts = (ports: readonly PortConfig[]): PortConfig[] =>
  ports.filter((port) => port.mode === PortMode.INGRESS);

export const hostPorts = (ports: readonly PortConfig[]): PortConfig[] =>
  ports.filter((port) => port.mode === PortMode.HOST);

/** Canonical text; undefined when it is no address. */
const readAddress = (text: string): string | undefined => {
  try {
    parseAddress(text);
    return canonicalAddress(text);
  } catch {
    return undefined;
  }
};

/** TCP and the mesh unless said otherwise; addresses in one spelling. */
export const portDefaults = (port: PortConfig): PortConfig => {
  const hostIp = readAddress(port.hostIp) ?? port.hostIp;
  return {
    ...port,
    protocol: port.protocol || PortProtocol.TCP,
    mode: port.mode || PortMode.INGRESS,
    hostIp: ANY.has(hostIp) ? "" : hostIp,
  };
};

const checkPort = (issues: Issues, at: string, port: PortConfig): void => {
  const { target, published, name, hostIp } = port;
  issues.check(
    target >= 1 && target <= MAX_PORT,
    `${at}.target`,
    `${target} is no port of the container`,
    `Use 1 to ${MAX_PORT}`,
  );
  issues.check(
    published <= MAX_PORT,
    `${at}.published`,
    `${published} is no port`,
    `Use 1 to ${MAX_PORT}, or leave it out to get a free one`,
  );
  issues.check(
    Object.values(PROTOCOLS).includes(port.protocol),
    `${at}.protocol`,
    "it is unknown",
    "Use tcp, udp or sctp",
  );
  issues.check(Object.values(MODES).includes(port.mode), `${at}.mode`, "it is unknown", "Use ingress or host");
  issues.check(
    name === "" || PORT_NAME.test(name),
    `${at}.name`,
    `${JSON.stringify(name)} is no name of a port`,
    "Use letters, digits and -",
  );
  issues.check(
    hostIp === "" || readAddress(hostIp) !== undefined,
    `${at}.hostIp`,
    `${JSON.stringify(hostIp)} is no address`,
    "Use an address of the nodes, or leave it out for all of them",
  );
};

/** In the mesh a number belongs to one port whatever the address is; on a node the same number is possible on two addresses. */
const sameNumber = (a: PortConfig, b: PortConfig): boolean => {
  const mesh = a.mode === PortMode.INGRESS && b.mode === PortMode.INGRESS;
  return collide(mesh ? { ...a, hostIp: "" } : a, b);
};

/** Ports with defaults (`portDefaults`): each by itself, then with the others and the endpoint mode. */
export const checkPorts = (issues: Issues, { ports, endpointMode }: ServiceSpec): void => {
  issues.check(
    ports.length <= MAX_PORTS,
    "ports",
    `${ports.length} are too many for one service`,
    `Publish at most ${MAX_PORTS}`,
  );
  if (ports.length > MAX_PORTS) return;
  const byNumber = new Map<string, PortConfig[]>();
  for (const [i, port] of ports.entries()) {
    const at = `ports[${i}]`;
    checkPort(issues, at, port);
    const key = `${port.protocol}/${port.published}`;
    const others = byNumber.get(key) ?? [];
    issues.check(
      !others.some((other) => sameNumber(other, port)),
      at,
      `${portText(port)} is published twice`,
      "Publish each port once",
    );
    byNumber.set(key, [...others, port]);
  }
  const mesh = ingressPorts(ports);
  issues.check(
    mesh.length === 0 || endpointMode !== EndpointMode.DNSRR,
    "endpointMode",
    "a port published in mode ingress can't be used with endpoint mode dnsrr",
    "Use endpoint mode vip, or publish the port in mode host",
  );
};

/**
 * What depends on the networks of the service: `drivers` of all of them. Throws TswarmError `invalid`.
 * A container that shares the node's namespace has the node's ports, nothing can be translated for it.
 */
export const checkPortsOnDrivers = (ports: readonly PortConfig[], drivers: readonly string[]): void => {
  for (const [i, port] of ports.entries()) {
    const at = `ports[${i}]`;
    if (drivers.includes("none"))
      throw refuse(
        "invalid",
        at,
        "a container on network none can't be reached from outside",
        "Use another network, or publish nothing",
      );
    if (!drivers.includes("host")) {
      // The kernel has no route_localnet for IPv6: what comes from ::1 can't be sent on to a container.
      if (port.hostIp === "::1")
        throw refuse(
          "invalid",
          `${at}.hostIp`,
          "connections to [::1] can't be passed on to a container",
          "Use 127.0.0.1, or another address of the nodes",
        );
      continue;
    }
    if (port.mode === PortMode.INGRESS)
      throw refuse(
        "invalid",
        `${at}.mode`,
        "a port published in mode ingress can't be used with network host",
        "Publish it in mode host with published equal to target, or use another network",
      );
    if (port.published !== port.target)
      throw refuse(
        "invalid",
        `${at}.published`,
        `on network host the container's port ${port.target} is the node's, it can't be published as ${port.published === 0 ? "another one" : port.published}`,
        `Publish ${port.target} as ${port.target}`,
      );
  }
};
