// Addresses as reverse questions write them: RFC 1035 §3.5, RFC 3596 §2.5.
import { canonicalAddress, familyOf, parseAddress } from "#net/model/cidr.ts";

/** "2.0.0.10.in-addr.arpa", nibbles for IPv6. Throws RangeError on what is no address. */
export const reverseName = (address: string): string => {
  const v4 = familyOf(address) === 4;
  const digits = parseAddress(address)
    .toString(16)
    .padStart(v4 ? 8 : 32, "0");
  if (!v4) return `${[...digits].reverse().join(".")}.ip6.arpa`;
  const bytes = digits.match(/../g)!.map((pair) => Number.parseInt(pair, 16));
  return `${bytes.reverse().join(".")}.in-addr.arpa`;
};

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
