// The prefixes that this host reaches by routes of its own: a network with an address of theirs would hide them.
import { Rtnl } from "#net/kernel/rtnl.ts";
import { isLinkLocal6, splitPrefix } from "#net/model/cidr.ts";
import { MAIN_TABLE, ROUTE_PROTOCOL } from "#net/model/host-state.ts";

/** Sorted, without defaults, link-local prefixes and what leads to our own links. `netnsPath` null: this process's namespace. */
export const hostRoutes = (netnsPath: string | null, isOwn: (ifname: string) => boolean): string[] => {
  const rtnl = Rtnl.open(netnsPath);
  try {
    const names = new Map(rtnl.linkDump().map((link) => [link.index, link.name]));
    const found = new Set<string>();
    for (const { table, type, protocol, destination, linkIndex } of rtnl.routeDump()) {
      if (table !== MAIN_TABLE || type !== "unicast" || protocol === ROUTE_PROTOCOL || destination === "default")
        continue;
      const link = linkIndex === undefined ? "" : (names.get(linkIndex) ?? "");
      if (link === "lo" || isOwn(link) || isLinkLocal6(splitPrefix(destination).address)) continue;
      found.add(destination);
    }
    return [...found].sort();
  } finally {
    rtnl.close();
  }
};
