import { digestHex } from "#net/model/digest.ts";
import { type Block, blockOf, formatBlock, overlap } from "./prefix.ts";

/**
 * A unique local /48 (RFC 4193): fd, and 40 bits that follow from the id of the cluster, which is random. So two clusters
 * that are joined one day do not have the same.
 */
export const uniqueLocalPool = (clusterId: string): string => {
  const globalId = digestHex(`unique local pool ${clusterId}`).slice(0, 10);
  return formatBlock(blockOf(`fd${globalId.slice(0, 2)}:${globalId.slice(2, 6)}:${globalId.slice(6)}::/48`));
};

/**
 * The first subnet of `length` in these pools that overlaps none of `taken`; undefined: the pools are used up.
 * Jumps over taken blocks, so the cost is that of what is taken, not of the pool's size.
 */
export const freeSubnet = (pools: readonly string[], length: number, taken: readonly Block[]): string | undefined => {
  for (const text of pools) {
    const pool = blockOf(text);
    if (length < pool.length) continue;
    const size = (pool.last - pool.first + 1n) >> BigInt(length - pool.length);
    const inPool = taken.filter((t) => overlap(t, pool)).sort((a, b) => (a.first < b.first ? -1 : 1));
    let first = pool.first;
    for (const block of inPool) {
      if (block.first > first + size - 1n) break;
      if (block.last >= first) first = pool.first + ((block.last - pool.first) / size + 1n) * size;
    }
    if (first + size - 1n <= pool.last)
      return formatBlock({ family: pool.family, first, last: first + size - 1n, length });
  }
  return undefined;
};
