// Sockets opened in another namespace and handed to Node by descriptor (`dgram.bind({fd})`, `server.listen({fd})`).
// Exports: udpSocketIn(netnsPath | null, address, port, receiveBytes?): fd, tcpSocketIn(netnsPath | null, address): fd,
// tcpListenerIn(netnsPath | null, address, port, backlog?): fd.
// The caller owns the descriptor until it gives it to Node.
import { addressBytes } from "#net/codec/address.ts";
import * as c from "./libc.ts";
import { withNetns } from "./netns.ts";

const SO_REUSEADDR = 2;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const PROTOCOLS = { tcp: 0, udp: 0, sctp: 132 } as const;

/** struct sockaddr_in or sockaddr_in6; port and address in network order. */
const sockaddr = (address: string, port: number): Uint8Array => {
  const ip = addressBytes(address);
  const bytes = new Uint8Array(ip.length === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ip.length === 4 ? c.AF_INET : c.AF_INET6, true);
  view.setUint16(2, port, false);
  bytes.set(ip, ip.length === 4 ? 4 : 8);
  return bytes;
};

type Kind = {
  readonly protocol: keyof typeof PROTOCOLS;
  /** Another socket on the port that is closing does not count. */
  readonly reuse: boolean;
  /** "::" stands for both families. */
  readonly bothFamilies: boolean;
  readonly what: string;
};

const boundSocket = (netnsPath: string | null, address: string, port: number, kind: Kind): number =>
  withNetns(netnsPath, () => {
    const { protocol, reuse, bothFamilies, what } = kind;
    const target = sockaddr(address, port);
    const v6 = target.length === 28;
    const type = protocol === "udp" ? c.SOCK_DGRAM : c.SOCK_STREAM;
    const family = v6 ? c.AF_INET6 : c.AF_INET;
    const fd = c.call(what, c.libc.socket(family, type | c.SOCK_CLOEXEC | c.SOCK_NONBLOCK, PROTOCOLS[protocol]));
    try {
      if (reuse) c.call(what, c.setOption(fd, c.SOL_SOCKET, SO_REUSEADDR, 1));
      if (v6) c.call(what, c.setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, bothFamilies && address === "::" ? 0 : 1));
      c.call(what, c.libc.bind(fd, target, target.length));
      return c.highFd(fd);
    } catch (error) {
      c.closeFd(fd);
      throw error;
    }
  });

/**
 * A socket that only keeps a port: bound, nobody can reach it. "::" stands for both families. Without SO_REUSEADDR, or a
 * server that asks for it could take the port all the same.
 */
export const boundSocketIn = (
  netnsPath: string | null,
  protocol: keyof typeof PROTOCOLS,
  address: string,
  port: number,
): number => {
  const what = `take ${protocol} ${address} port ${port}`;
  return boundSocket(netnsPath, address, port, { protocol, reuse: false, bothFamilies: true, what });
};

const UDP = { protocol: "udp", reuse: false, bothFamilies: false } as const;
const TCP = { protocol: "tcp", reuse: true, bothFamilies: false } as const;

/** `receiveBytes`: room for datagrams that were not read yet; the kernel counts some 800 bytes for a small one. */
export const udpSocketIn = (netnsPath: string | null, address: string, port: number, receiveBytes = 0): number => {
  const what = `open UDP ${address} port ${port}`;
  const fd = boundSocket(netnsPath, address, port, { ...UDP, what });
  // The kernel doubles it.
  if (receiveBytes > 0) c.setOption(fd, c.SOL_SOCKET, SO_RCVBUFFORCE, Math.ceil(receiveBytes / 2));
  return fd;
};

/** For connections from `address` that are still to be made. */
export const tcpSocketIn = (netnsPath: string | null, address: string): number =>
  boundSocket(netnsPath, address, 0, { ...TCP, what: `open TCP ${address}` });

export const tcpListenerIn = (netnsPath: string | null, address: string, port: number, backlog = 128): number => {
  const what = `listen on TCP ${address} port ${port}`;
  const fd = boundSocket(netnsPath, address, port, { ...TCP, what });
  if (c.libc.listen(fd, backlog) === 0) return fd;
  try {
    return c.call(what, -1);
  } finally {
    c.closeFd(fd);
  }
};
