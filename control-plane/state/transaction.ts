// A transaction: writes laid over the committed objects. Its cost is that of its writes; no table is copied.
import { type Change, Change_Kind } from "#proto/gen/store.ts";
import { type Lease, Lease as LeaseType, type Service, type Task } from "#proto/gen/types.ts";
import { AddressView } from "./address-view.ts";
import { addressSpace, type Claim, claimsOf, groupsOf } from "./keys.ts";
import { TableReader } from "./read.ts";
import { toStoreObject } from "./tables.ts";
import type { TableName, Tables, Tx } from "./types.ts";

/** Rests end before an address is given out and begin after it was released, also when a long list is cut into several commands. */
const rank = ({ table, kind }: Change): number => (table !== "lease" ? 1 : kind === Change_Kind.DELETE ? 0 : 2);

type Write = { readonly object: Tables[TableName] | undefined; readonly ifVersion: number };

export class Transaction extends TableReader implements Tx {
  readonly #writes = new Map<TableName, Map<string, Write>>();
  /** Holders of every key that was touched here, the last one counts; two of them would be refused when applied. */
  readonly #claims = new Map<string, Map<string, string[]>>();
  /** Only objects that were written here, under the groups that they belong to now. */
  readonly #groups = new Map<string, Map<string, Tables[TableName]>>();

  override get<T extends TableName>(table: T, id: string): Tables[T] | undefined {
    const write = this.#writes.get(table)?.get(id);
    return write === undefined ? super.get(table, id) : (write.object as Tables[T] | undefined);
  }

  override *all<T extends TableName>(table: T): IterableIterator<Tables[T]> {
    const writes = this.#writes.get(table);
    for (const object of super.all(table)) if (!writes?.has(object.id)) yield object;
    for (const write of [...(writes?.values() ?? [])]) if (write.object !== undefined) yield write.object as Tables[T];
  }

  override count(table: TableName): number {
    let count = super.count(table);
    for (const [id, write] of this.#writes.get(table) ?? []) {
      if (super.get(table, id) !== undefined) count--;
      if (write.object !== undefined) count++;
    }
    return count;
  }

  override heldAddresses(networkId: string): ReadonlySet<string> {
    const space = addressSpace(networkId);
    return new AddressView(this.tables.claims.get(space), this.#claims.get(space));
  }

  put<T extends TableName>(table: T, object: Tables[T]): void {
    const before = this.get(table, object.id);
    const written = this.#writes.get(table)?.get(object.id);
    this.#write(table, object.id, before, object, written?.ifVersion ?? object.meta?.version ?? 0);
  }

  delete(table: TableName, id: string): void {
    const before = this.get(table, id);
    if (before === undefined) return;
    const written = this.#writes.get(table)?.get(id);
    this.#write(table, id, before, undefined, written?.ifVersion ?? before.meta?.version ?? 0);
  }

  changes(): Change[] {
    const changes: Change[] = [];
    for (const [table, writes] of this.#writes)
      for (const [id, { object, ifVersion }] of writes) {
        if (object !== undefined)
          changes.push({ kind: Change_Kind.PUT, table, id, ifVersion, object: toStoreObject(table, object) });
        // What was made and taken back within this transaction never existed.
        else if (ifVersion !== 0) changes.push({ kind: Change_Kind.DELETE, table, id, ifVersion, object: undefined });
      }
    return changes.sort((a, b) => rank(a) - rank(b));
  }

  #write<T extends TableName>(
    table: T,
    id: string,
    before: Tables[T] | undefined,
    after: Tables[T] | undefined,
    ifVersion: number,
  ): void {
    const old = before === undefined ? [] : claimsOf(table, before);
    const next = after === undefined ? [] : claimsOf(table, after);
    for (const claim of old) {
      const holders = this.#holders(claim);
      const at = holders.indexOf(claim.holder);
      if (at >= 0) holders.splice(at, 1);
    }
    for (const claim of next) this.#holders(claim).push(claim.holder);
    if (before !== undefined) for (const group of groupsOf(table, before)) this.#groups.get(group)?.delete(id);
    if (after !== undefined)
      for (const group of groupsOf(table, after)) {
        const members = this.#groups.get(group) ?? new Map<string, Tables[TableName]>();
        members.set(id, after);
        this.#groups.set(group, members);
      }
    const writes = this.#writes.get(table) ?? new Map<string, Write>();
    writes.set(id, { object: after, ifVersion });
    this.#writes.set(table, writes);
    if (table === "task" || table === "service" || table === "network") this.#rest(old);
  }

  /**
   * Addresses that a task, service or network no longer holds rest before their next use: a lease takes each of them over here, so that
   * no writer can forget it. `apply` sets the lease's end from the command's time.
   */
  #rest(released: readonly Claim[]): void {
    for (const { space, key } of released) {
      const networkId = space.startsWith("address/") ? space.slice("address/".length) : "";
      if (networkId === "" || this.holder(space, key) !== undefined) continue;
      if (this.get("network", networkId) === undefined) continue;
      const id = `${networkId}/${key}`;
      const lease: Lease = LeaseType.fromPartial({ id, networkId, address: key });
      this.put("lease", lease);
    }
  }

  #holders({ space, key }: Claim): string[] {
    const claims = this.#claims.get(space) ?? new Map<string, string[]>();
    this.#claims.set(space, claims);
    const base = super.holder(space, key);
    const holders = claims.get(key) ?? (base === undefined ? [] : [base]);
    claims.set(key, holders);
    return holders;
  }

  protected override holder(space: string, key: string): string | undefined {
    const holders = this.#claims.get(space)?.get(key);
    return holders === undefined ? super.holder(space, key) : holders.at(-1);
  }

  protected override group<O extends Task | Service>(key: string): O[] {
    const here = this.#groups.get(key);
    const base = super.group<O>(key);
    const writes = this.#writes.get(key.startsWith("services/") ? "service" : "task");
    if (writes === undefined) return base;
    return [...base.filter((o) => !writes.has(o.id)), ...((here?.values() ?? []) as Iterable<O>)];
  }
}
