// An overlay leaves its node over a veth pair between its namespace and the host's. The two ends need addresses that are
// unique on the host and mean nothing elsewhere: a /31 (RFC 3021) of the shared address space (RFC 6598), a /127 (RFC 6164)
// of a unique local prefix, both by VNI. Two VNIs 2^21 apart would get the same pair: allocation is from 4096 upwards.

import { formatIpv4, formatIpv6, parseAddress } from "#net/model/cidr.ts";

const BASE4 = parseAddress("100.64.0.0");
const PAIRS4 = 1n << 21n;
const BASE6 = parseAddress("fd74:7377:6172:6d::");

export type Transit = {
  readonly host4: string;
  readonly overlay4: string;
  readonly host6: string;
  readonly overlay6: string;
  readonly prefix4: string;
  readonly prefix6: string;
};

export const transitOf = (vni: number): Transit => {
  const v4 = BASE4 + (BigInt(vni) % PAIRS4) * 2n;
  const v6 = BASE6 + BigInt(vni) * 2n;
  return {
    host4: formatIpv4(v4),
    overlay4: formatIpv4(v4 + 1n),
    host6: formatIpv6(v6),
    overlay6: formatIpv6(v6 + 1n),
    prefix4: `${formatIpv4(v4)}/31`,
    prefix6: `${formatIpv6(v6)}/127`,
  };
};
