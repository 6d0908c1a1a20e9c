// The flows that conntrack knows in one namespace.
// Exports: deleteFlows(netnsPath | null, isStale): number.
import {
  decodeFlow,
  decodeFlowCount,
  encodeFlowCount,
  encodeFlowDelete,
  encodeFlowDump,
  type Flow,
} from "#net/codec/conntrack.ts";
import { errnoOf } from "./errno.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.ts";

/**
 * Deletes the flows of the namespace (null: the thread's own) for which `isStale` says so, and returns how many. A dump walks
 * the host's whole table, so a namespace without flows is asked for their number only.
 */
export const deleteFlows = (netnsPath: string | null, isStale: (flow: Flow) => boolean): number => {
  const socket = NetlinkSocket.open(netnsPath, NETLINK_NETFILTER);
  try {
    const counts = socket.request(encodeFlowCount(), "count flows");
    if (counts.every((m) => decodeFlowCount(m.payload) === 0)) return 0;
    const stale = socket
      .dump(encodeFlowDump(), "dump flows")
      .map((m) => decodeFlow(m.payload))
      .filter(isStale);
    const results = socket.batch(stale.map(encodeFlowDelete), (i) => `delete the flow to ${stale[i]!.reply.source}`);
    // It has ended by itself meanwhile.
    const failed = results.find((error) => error !== null && errnoOf(error) !== "ENOENT");
    if (failed) throw failed;
    return stale.length;
  } finally {
    socket.close();
  }
};
