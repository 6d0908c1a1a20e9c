// The connections of a network namespace, as /proc/<pid>/net/tcp and tcp6 list them (Documentation/networking/proc_net_tcp.rst,
// states of net/tcp_states.h). Pure.

const LISTEN = 0x0a;
/**
 * SYN_RECV and what is not over by a handshake of both sides; FIN_WAIT1, LAST_ACK and CLOSING have bytes on the way that
 * would be lost with the namespace. SYN_SENT is the container's own, FIN_WAIT2 and TIME_WAIT have nothing to send.
 */
const IN_USE = new Set([0x01, 0x03, 0x04, 0x08, 0x09, 0x0b]);

type Socket = { readonly local: string; readonly port: number; readonly remote: string; readonly state: number };

const socketsOf = (table: string): Socket[] =>
  table
    .split("\n")
    .slice(1)
    .filter((line) => line !== "")
    .map((line) => {
      const [, local = "", remote = "", state = ""] = line.trim().split(/\s+/);
      const [address = "", port = ""] = local.split(":");
      return {
        local: address,
        port: Number.parseInt(port, 16),
        remote: remote.split(":")[0] ?? "",
        state: Number.parseInt(state, 16),
      };
    });

/** Addresses are words in the machine's order: 127.0.0.1 is "0100007F", also behind ::ffff:0:0/96. */
const isLoopback = (address: string): boolean =>
  /^(0000000000000000FFFF0000)?[0-9A-F]{6}7F$/.test(address) || address === "00000000000000000000000001000000";

/** Ports that are open to others. */
export const listeningPorts = (tables: readonly string[]): Set<number> =>
  new Set(
    tables
      .flatMap(socketsOf)
      .filter(({ state, local }) => state === LISTEN && !isLoopback(local))
      .map(({ port }) => port),
  );

/** Connections from elsewhere to a port that is listened on. */
export const inboundConnections = (tables: readonly string[]): number => {
  const listening = listeningPorts(tables);
  const isInbound = ({ state, port, remote }: Socket): boolean =>
    IN_USE.has(state) && listening.has(port) && !isLoopback(remote);
  return tables.flatMap(socketsOf).filter(isInbound).length;
};

/**
 * TCP sockets in use by /proc/<pid>/net/sockstat and sockstat6, together; those of unfinished handshakes are not counted.
 * Costs a hundredth of the tables, which are as long as the host's hash.
 */
export const socketsInUse = (sockstats: readonly string[]): number =>
  sockstats.reduce((sum, text) => sum + Number(/^TCP6?: inuse (\d+)/m.exec(text)?.[1] ?? 0), 0);
