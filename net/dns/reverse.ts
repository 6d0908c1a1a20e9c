// Addresses as reverse questions write them: RFC 1035 §3.5, RFC 3596 §2.5.
import { canonicalAddress } from "#net/model/cidr.ts";

const V4 = ".in-addr.arpa";
const V6 = ".ip6.arpa";

/** The address that a reverse name (lower case) stands for; undefined for other names, and for parts of addresses. */
export const reversedAddress = (name: string): string | undefined => {
  const labels = (suffix: string): string[] => name.slice(0, -suffix.length).split(".").reverse();
  try {
    if (name.endsWith(V4)) return canonicalAddress(labels(V4).join("."));
    if (!name.endsWith(V6)) return undefined;
    const nibbles = labels(V6);
    if (nibbles.length !== 32 || nibbles.some((n) => n.length !== 1)) return undefined;
    return canonicalAddress(nibbles.join("").match(/..../g)!.join(":"));
  } catch {
    return undefined;
  }
};
