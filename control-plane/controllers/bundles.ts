// Changes that must not be torn apart when one pass becomes several commands: an address is released and begins to rest, or
// goes from one holder to the next, in one command or not at all. In between another leader could begin, which knows
// nothing of the rest of the pass.
import { claimsOf } from "#control-plane/state/keys.ts";
import { isTableName } from "#control-plane/state/tables.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import type { Change } from "#proto/gen/store.ts";

const ADDRESS = "address/";

/** The object that "task/<id>", "service/<id>", "lease/<id>", "node/<id>", "gateway" or "reserved/<name>" is written in. */
const objectOf = (holder: string, networkId: string): string =>
  /^(task|service|lease)\//.test(holder) ? holder : `network/${networkId}`;

/** Address by address what the change gives or takes: [network, address]. */
const addressesOf = ({ table, id, object }: Change): [string, string][] => {
  if (table === "lease") return [[id.slice(0, id.indexOf("/")), id.slice(id.indexOf("/") + 1)]];
  const given = object?.object;
  if (given === undefined || !isTableName(table)) return [];
  return claimsOf(given.$case, given.value)
    .filter(({ space }) => space.startsWith(ADDRESS))
    .map(({ space, key }) => [space.slice(ADDRESS.length), key]);
};

/** The changes of one transaction over `state`, in bundles: each in the order of the changes, and they by their first one. */
export const bundlesOf = (changes: readonly Change[], state: Pick<ReadTx, "addressHolder">): Change[][] => {
  const parents = new Map<string, string>();
  const rootOf = (name: string): string => {
    let root = name;
    for (let next = parents.get(root); next !== undefined; next = parents.get(root)) root = next;
    return root;
  };
  const join = (a: string, b: string): void => {
    const [from, to] = [rootOf(a), rootOf(b)];
    if (from !== to) parents.set(from, to);
  };
  for (const change of changes)
    for (const [networkId, address] of addressesOf(change)) {
      const holder = state.addressHolder(networkId, address);
      const own = `${change.table}/${change.id}`;
      join(own, `lease/${networkId}/${address}`);
      if (holder !== undefined) join(own, objectOf(holder, networkId));
    }
  return [...Map.groupBy(changes, ({ table, id }) => rootOf(`${table}/${id}`)).values()];
};
