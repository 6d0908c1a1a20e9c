// What makes a command applicable: every object is at the version that the writer read, and no unique key is claimed twice.
import { type Change, Change_Kind, type Command } from "#proto/gen/store.ts";
import type { Lease, Meta } from "#proto/gen/types.ts";
import { type Claim, claimsOf } from "./keys.ts";
import { isTableName, type TableSet } from "./tables.ts";
import type { ApplyResult, StateEvent, TableName, Tables } from "./types.ts";

/** How long a released address stays unused, in ms. */
export const ADDRESS_REST_MS = 10_000;

type Step = {
  readonly table: TableName;
  readonly before: Tables[TableName] | undefined;
  readonly after: Tables[TableName] | undefined;
};

const refused = (change: Pick<Change, "table" | "id">, reason: string): ApplyResult => ({
  ok: false,
  table: change.table,
  id: change.id,
  reason,
});

const withMeta = <T extends TableName>(table: T, object: Tables[T], meta: Meta): Tables[T] => {
  if (table !== "lease") return { ...object, meta };
  const lease = object as Lease;
  const freeAfter = lease.freeAfter === 0 ? meta.updatedAt + ADDRESS_REST_MS : lease.freeAfter;
  return { ...lease, meta, freeAfter } as Tables[T];
};

const stepOf = (tables: TableSet, change: Change, index: number, time: number): Step | ApplyResult => {
  const { table, id } = change;
  if (!isTableName(table)) return refused(change, `there is no table ${table}`);
  const before = tables.get(table, id);
  const version = before?.meta?.version ?? 0;
  if (version !== change.ifVersion) {
    if (change.ifVersion === 0) return refused(change, `it exists already (version ${version})`);
    if (before === undefined) return refused(change, "it is gone");
    return refused(change, `it is at version ${version}, the change was made from version ${change.ifVersion}`);
  }
  if (change.kind === Change_Kind.DELETE)
    return before === undefined ? refused(change, "it does not exist") : { table, before, after: undefined };
  const given = change.object?.object;
  if (change.kind !== Change_Kind.PUT || given?.$case !== table || given.value.id !== id || id === "")
    return refused(change, "the change is malformed");
  const meta = { version: index, createdAt: before?.meta?.createdAt ?? time, updatedAt: time };
  return { table, before, after: withMeta(table, given.value, meta) };
};

const isResult = (step: Step | ApplyResult): step is ApplyResult => "ok" in step;

const clashOf = (tables: TableSet, steps: readonly Step[]): ApplyResult | undefined => {
  const nameOf = ({ space, key }: Claim): string => `${space} ${key}`;
  const released = new Set<string>();
  for (const { table, before } of steps)
    if (before !== undefined) for (const claim of claimsOf(table, before)) released.add(nameOf(claim));
  const claimed = new Map<string, string>();
  for (const { table, after } of steps) {
    if (after === undefined) continue;
    for (const claim of claimsOf(table, after)) {
      const name = nameOf(claim);
      const holder =
        claimed.get(name) ?? (released.has(name) ? undefined : tables.claims.get(claim.space)?.get(claim.key));
      if (holder !== undefined) return refused({ table, id: after.id }, `${name} is taken by ${holder}`);
      claimed.set(name, claim.holder);
    }
  }
  return undefined;
};

const eventOf = ({ table, before, after }: Step): StateEvent => {
  const action = before === undefined ? "create" : after === undefined ? "remove" : "update";
  return { table, action, object: after ?? before, previous: before } as StateEvent;
};

/** Applies all changes of the command, or none. The objects get their version and times here. */
export const applyCommand = (
  tables: TableSet,
  index: number,
  command: Command,
): { readonly result: ApplyResult; readonly events: readonly StateEvent[] } => {
  const steps: Step[] = [];
  const seen = new Set<string>();
  for (const change of command.changes) {
    const name = `${change.table}/${change.id}`;
    const step = seen.has(name)
      ? refused(change, "the command changes it twice")
      : stepOf(tables, change, index, command.time);
    if (isResult(step)) return { result: step, events: [] };
    seen.add(name);
    steps.push(step);
  }
  const clash = clashOf(tables, steps);
  if (clash !== undefined) return { result: clash, events: [] };

  for (const { table, before } of steps) if (before !== undefined) tables.unindex(table, before);
  for (const { table, before, after } of steps) {
    const objects = tables.objects.get(table)!;
    if (after === undefined) objects.delete(before!.id);
    else {
      objects.set(after.id, after);
      tables.index(table, after);
    }
  }
  return { result: { ok: true }, events: steps.map(eventOf) };
};
