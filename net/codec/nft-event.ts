// What nftables tells its listeners about. Reference: linux/netfilter/nf_tables.h.
import { type NetlinkMessage, parseAttributes, readString } from "./nlmsg.ts";

const NFNL_SUBSYS_NFTABLES = 10;
/** Tables, chains, rules, sets and elements; the numbers above are generations, objects and flow tables. */
const LAST_OF_TABLES = 14;
/** NFTA_TABLE_NAME and, with the same number, the table of everything else. */
const TABLE_NAME = 1;
const FAMILIES: Readonly<Record<number, string>> = {
  1: "inet",
  2: "ip",
  3: "arp",
  5: "netdev",
  7: "bridge",
  10: "ip6",
};

/** "inet tswarm"; undefined for what belongs to no table. */
export const tableOfNftEvent = ({ type, payload }: NetlinkMessage): string | undefined => {
  if (type >>> 8 !== NFNL_SUBSYS_NFTABLES || (type & 0xff) > LAST_OF_TABLES) return undefined;
  return `${FAMILIES[payload[0]!] ?? "?"} ${readString(parseAttributes(payload.subarray(4)).get(TABLE_NAME)) ?? ""}`;
};
