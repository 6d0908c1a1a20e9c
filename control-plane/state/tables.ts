import type { StoreObject } from "#proto/gen/types.ts";
import { claimsOf, groupsOf } from "./keys.ts";
import type { TableName, Tables } from "./types.ts";

export const TABLE_NAMES = [
  "cluster",
  "node",
  "network",
  "service",
  "task",
  "lease",
] as const satisfies readonly TableName[];

export const isTableName = (name: string): name is TableName => (TABLE_NAMES as readonly string[]).includes(name);

export const toStoreObject = <T extends TableName>(table: T, object: Tables[T]): StoreObject => ({
  object: { $case: table, value: object } as StoreObject["object"],
});

/** The committed objects and their indexes. `write` keeps both together; it checks nothing. */
export class TableSet {
  readonly objects = new Map<TableName, Map<string, Tables[TableName]>>(TABLE_NAMES.map((t) => [t, new Map()]));
  /** space → key → holder */
  readonly claims = new Map<string, Map<string, string>>();
  /** group → id → object */
  readonly groups = new Map<string, Map<string, Tables[TableName]>>();

  get<T extends TableName>(table: T, id: string): Tables[T] | undefined {
    return this.objects.get(table)!.get(id) as Tables[T] | undefined;
  }

  /** Takes the claims and group entries of an object away. Done for all objects of a command before any is added. */
  unindex<T extends TableName>(table: T, object: Tables[T]): void {
    for (const { space, key } of claimsOf(table, object)) removeFrom(this.claims, space, key);
    for (const group of groupsOf(table, object)) removeFrom(this.groups, group, object.id);
  }

  index<T extends TableName>(table: T, object: Tables[T]): void {
    for (const { space, key, holder } of claimsOf(table, object)) addTo(this.claims, space, key, holder);
    for (const group of groupsOf(table, object)) addTo(this.groups, group, object.id, object);
  }
}

const addTo = <V>(maps: Map<string, Map<string, V>>, outer: string, inner: string, value: V): void => {
  const map = maps.get(outer);
  if (map === undefined) maps.set(outer, new Map([[inner, value]]));
  else map.set(inner, value);
};

const removeFrom = <V>(maps: Map<string, Map<string, V>>, outer: string, inner: string): void => {
  const map = maps.get(outer);
  if (map === undefined) return;
  map.delete(inner);
  if (map.size === 0) maps.delete(outer);
};
