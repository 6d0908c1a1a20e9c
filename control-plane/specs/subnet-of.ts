import { readBlock, within } from "#net/ipam/prefix.ts";
import { familyOf } from "#net/model/cidr.ts";

const inside = (subnet: string, written: string): boolean => {
  const outer = readBlock(subnet);
  const inner = readBlock(written.includes("/") ? written : `${written}/${familyOf(written) === 4 ? 32 : 128}`);
  return outer !== undefined && inner !== undefined && within(outer, inner);
};

/**
 * Which of the subnets an address or a part of a subnet belongs to: the one that it is in, else the only one of its family, whose
 * owner then says what is wrong. -1: none of its family, -2: none of several.
 */
export const subnetOf = (subnets: readonly string[], written: string): number => {
  const found = subnets.findIndex((subnet) => inside(subnet, written));
  if (found >= 0) return found;
  const sameFamily = subnets.flatMap((subnet, i) => (familyOf(subnet) === familyOf(written) ? [i] : []));
  return sameFamily.length > 1 ? -2 : (sameFamily[0] ?? -1);
};
