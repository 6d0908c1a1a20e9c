// What users write about an attachment, in the flag --network and in stack files.
import { formatAddress } from "#net/ipam/prefix.ts";
import { familyOf, parseAddress } from "#net/model/cidr.ts";
import type { NetworkAttachmentConfig } from "#proto/gen/types.ts";

const MAX_ADDRESSES = 10_000;

/** "10.0.0.10", or "10.0.0.10-10.0.0.19" for slots one to ten; undefined when it is neither. Both families. */
export const parsePinned = (text: string): string[] | undefined => {
  const [from = "", to = from, ...more] = text.split("-");
  if (more.length > 0) return undefined;
  try {
    const first = parseAddress(from);
    const last = parseAddress(to);
    const family = familyOf(from);
    if (familyOf(to) !== family || last < first || last - first >= MAX_ADDRESSES) return undefined;
    return Array.from({ length: Number(last - first) + 1 }, (_, i) => formatAddress(family, first + BigInt(i)));
  } catch {
    return undefined;
  }
};

export const PINNED_REMEDY = 'Write it like "10.0.0.10", or "10.0.0.10-10.0.0.19" with an address for each slot';

/** Docker's options of an endpoint (moby daemon/libnetwork/netlabel/labels.go) that say what a field of ours says. */
const IFNAME = "com.docker.network.endpoint.ifname";
const SYSCTLS = "com.docker.network.endpoint.sysctls";

/** Puts the option into `config`; false when it is unknown. */
export const setEndpointOption = (
  config: Pick<NetworkAttachmentConfig, "interfaceName" | "sysctls">,
  key: string,
  value: string,
): boolean => {
  if (key === IFNAME) config.interfaceName = value;
  else if (key === SYSCTLS) for (const pair of value.split(",")) setSysctl(config, pair);
  else return false;
  return true;
};

/** "net.ipv4.conf.IFNAME.log_martians=1" */
export const setSysctl = (config: Pick<NetworkAttachmentConfig, "sysctls">, pair: string): void => {
  const at = pair.indexOf("=");
  config.sysctls[at < 0 ? pair : pair.slice(0, at)] = at < 0 ? "" : pair.slice(at + 1);
};

export const OPTION_REMEDY = `Known are ${IFNAME} and ${SYSCTLS}`;
