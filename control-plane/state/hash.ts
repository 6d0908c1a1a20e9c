import { StoreObject } from "#proto/gen/types.ts";
import { TABLE_NAMES, toStoreObject } from "./tables.ts";
import type { ReadTx, TableName, Tables } from "./types.ts";

/** 53 bits from two 32-bit multiply-xor lanes: finds divergence, is no protection against an attacker. */
const mix = (lanes: Uint32Array, bytes: Uint8Array): void => {
  let a = lanes[0]!;
  let b = lanes[1]!;
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 2654435761);
    b = Math.imul(b ^ byte, 1597334677);
  }
  lanes[0] = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  lanes[1] = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
};

/** Text that is equal on all managers that applied the same log, and almost surely differs after any divergence. */
export const hashState = (state: ReadTx): string => {
  const lanes = new Uint32Array([0xdeadbeef, 0x41c6ce57]);
  for (const table of TABLE_NAMES) {
    const objects = [...state.all(table)] as Tables[TableName][];
    objects.sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const object of objects) mix(lanes, StoreObject.encode(sorted(toStoreObject(table, object))).finish());
  }
  return [...lanes].map((lane) => lane.toString(16).padStart(8, "0")).join("");
};

/** Maps in key order: the order of their entries is no part of the state. */
const sorted = <V>(value: V): V => {
  if (Array.isArray(value)) return value.map(sorted) as V;
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)])) as V;
};
