// The flows that conntrack knows in one namespace.
// Exports: deleteFlows(netnsPath | null, isStale): number; listedFlows, dumpedFlows.
import { readFileSync } from "node:fs";
import {
  decodeFlow,
  decodeFlowCount,
  encodeFlowCount,
  encodeFlowDelete,
  encodeFlowDump,
  type Flow,
  hasPorts,
  parseFlowTable,
} from "#net/codec/conntrack.ts";
import { errnoOf } from "./errno.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.ts";
import { withNetns } from "./netns.ts";

/**
 * Deletes the flows of the namespace (null: the thread's own) for which `isStale` says so, and returns how many. Flows of
 * protocols without ports stay.
 */
export const deleteFlows = (netnsPath: string | null, isStale: (flow: Flow) => boolean): number => {
  const socket = NetlinkSocket.open(netnsPath, NETLINK_NETFILTER);
  try {
    const counts = socket.request(encodeFlowCount(), "count flows");
    if (counts.every((m) => decodeFlowCount(m.payload) === 0)) return 0;
    const flows = listedFlows(netnsPath) ?? dumpedFlows(socket);
    const stale = flows.filter((flow) => hasPorts(flow) && isStale(flow));
    const results = socket.batch(stale.map(encodeFlowDelete), (i) => `delete the flow to ${stale[i]!.reply.source}`);
    // It has ended by itself meanwhile.
    const failed = results.find((error) => error !== null && errnoOf(error) !== "ENOENT");
    if (failed) throw failed;
    return stale.length;
  } finally {
    socket.close();
  }
};

/**
 * The host's table is walked for a list of one namespace, and a dump takes a lock for each of its buckets: 12 to 40 ms where
 * the list in /proc needs 0.3 ms. Kernels may be built without it (CONFIG_NF_CONNTRACK_PROCFS).
 */
export const listedFlows = (netnsPath: string | null): Flow[] | undefined => {
  try {
    return parseFlowTable(withNetns(netnsPath, () => readFileSync("/proc/thread-self/net/nf_conntrack", "utf8")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
};

export const dumpedFlows = (socket: NetlinkSocket): Flow[] =>
  socket.dump(encodeFlowDump(), "dump flows").map((m) => decodeFlow(m.payload));
