// The host's resolvers as they are now: DHCP, VPNs and people change /etc/resolv.conf while the agent runs.
import { readFileSync, statSync } from "node:fs";
import { parseResolvConf, type Upstream, upstreamsOf } from "./resolv-conf.ts";

/** What the file names, each time that it is asked: the same array as long as the file is the same. None without a file. */
export const hostResolvers = (path: string): (() => readonly Upstream[]) => {
  let seen = "";
  let upstreams: readonly Upstream[] = [];
  return () => {
    const stat = statSync(path, { throwIfNoEntry: false });
    const now = stat === undefined ? "" : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
    if (now === seen) return upstreams;
    try {
      upstreams = stat === undefined ? [] : upstreamsOf(parseResolvConf(readFileSync(path, "utf8")));
      seen = now;
    } catch {
      // It was replaced just now, or can't be read: what was known is better than nothing, and the next question looks again.
    }
    return upstreams;
  };
};
