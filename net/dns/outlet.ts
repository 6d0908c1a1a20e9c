// Where questions to resolvers leave from: the host's namespace, which is the process's own, or that of a container.
import { createSocket, type Socket } from "node:dgram";
import { connect, isIPv6, Socket as TcpSocket } from "node:net";
import { tcpSocketIn, udpSocketIn } from "#net/kernel/sockets.ts";
import type { Upstream } from "./resolv-conf.ts";

export type Outlet = {
  /** Not connected yet. undefined: no socket can be had. */
  udp(upstream: Upstream): Socket | undefined;
  /** A connection on its way. */
  tcp(upstream: Upstream): TcpSocket | undefined;
};

/** fe80::1%eth0 is an address as well. */
const isV6 = ({ address }: Upstream): boolean => isIPv6(address.split("%")[0]!);

export const hostOutlet: Outlet = {
  udp: (upstream) => createSocket(isV6(upstream) ? "udp6" : "udp4"),
  tcp: ({ address, port }) => connect({ host: address, port }),
};

/** The sockets belong to that namespace from when they are opened on, and keep it alive until they are closed. */
export const outletIn = (netnsPath: string): Outlet => ({
  udp(upstream) {
    const any = isV6(upstream) ? "::" : "0.0.0.0";
    return attempt(() => createSocket(isV6(upstream) ? "udp6" : "udp4").bind({ fd: udpSocketIn(netnsPath, any, 0) }));
  },
  tcp(upstream) {
    const any = isV6(upstream) ? "::" : "0.0.0.0";
    const { address, port } = upstream;
    return attempt(() => new TcpSocket({ fd: tcpSocketIn(netnsPath, any) }).connect({ host: address, port }));
  },
});

/** The namespace may be gone, or descriptors used up: one more way for a resolver not to be reachable. */
const attempt = <T>(open: () => T): T | undefined => {
  try {
    return open();
  } catch {
    return undefined;
  }
};
