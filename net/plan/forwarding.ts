import { familyOf, splitPrefix } from "#net/model/cidr.ts";
import type { TargetNamespace } from "#net/plan/target.ts";

/** The namespace routes between its links, for the families of these prefixes. */
export const wantForwarding = (ns: TargetNamespace, prefixes: readonly string[]): void => {
  for (const prefix of prefixes) {
    if (familyOf(splitPrefix(prefix).address) === 4) ns.sysctls.set("net/ipv4/ip_forward", "1");
    else ns.sysctls.set("net/ipv6/conf/all/forwarding", "1");
  }
};
