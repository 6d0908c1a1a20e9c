// The state's contract: tables of immutable objects, transactions on top, events for every committed command.
// Objects are never changed in place: a writer puts a new object ({ ...old, field }).

import type { Change, Command } from "#proto/gen/store.ts";
import type { Cluster, Lease, Network, Node, PortProtocol, Service, Task } from "#proto/gen/types.ts";
import type { Checkpoint } from "./digest.ts";

export type Tables = { node: Node; network: Network; service: Service; task: Task; cluster: Cluster; lease: Lease };
export type TableName = keyof Tables;

export interface ReadTx {
  get<T extends TableName>(table: T, id: string): Tables[T] | undefined;
  all<T extends TableName>(table: T): IterableIterator<Tables[T]>;
  count(table: TableName): number;
  /** Every cluster has exactly one object in the table `cluster` once it is initialised. */
  cluster(): Cluster | undefined;
  /** With "": the containers of their own. */
  tasksOfService(serviceId: string): readonly Task[];
  tasksOfNode(nodeId: string): readonly Task[];
  tasksOfNetwork(networkId: string): readonly Task[];
  servicesOfNetwork(networkId: string): readonly Service[];
  /** Services with ports that every node accepts (mode ingress), those that are being removed left out. */
  publishedServices(): readonly Service[];
  /** The service that this port of the mesh is published for. */
  serviceByPort(protocol: PortProtocol, port: number): Service | undefined;
  /** The network of published ports; a cluster has at most one. */
  ingressNetwork(): Network | undefined;
  /** Tasks whose status.state is NEW: what the allocator has to look at. */
  newTasks(): readonly Task[];
  serviceByName(name: string): Service | undefined;
  /** A container of its own, also one that has ended. */
  containerByName(name: string): Task | undefined;
  networkByName(name: string): Network | undefined;
  /** Who holds this address (without length) on this network: "task/<id>", "service/<id>", "lease/<id>", "node/<id>", "gateway", "reserved/<name>". */
  addressHolder(networkId: string, address: string): string | undefined;
  /** All addresses that are held on this network, in no order. */
  heldAddresses(networkId: string): ReadonlySet<string>;
}

/** A transaction sees its own writes. Nothing is visible outside until its changes went through the log. */
export interface Tx extends ReadTx {
  put<T extends TableName>(table: T, object: Tables[T]): void;
  delete(table: TableName, id: string): void;
  /** What was written, each with the version that was read; the last write of an object counts. */
  changes(): Change[];
}

export type StateEvent = {
  [T in TableName]: {
    readonly table: T;
    readonly action: "create" | "update" | "remove";
    /** The object after the change; for `remove` the object that is gone. */
    readonly object: Tables[T];
    readonly previous: Tables[T] | undefined;
  };
}[TableName];

/** All events of one command, or `restored` when the whole state was replaced by a snapshot. */
export type StateBatch = { readonly index: number; readonly events: readonly StateEvent[]; readonly restored: boolean };

/** Why a command changed nothing: its precondition did not hold when it came to be applied. */
export type ApplyResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly table: string; readonly id: string; readonly reason: string };

/** The state stays as it was until `finish`, which throws when the pieces were damaged or not all. */
export type Restoring = { add(chunk: Uint8Array): void; finish(): void };

export interface State extends ReadTx {
  /** Log index of the last applied command. */
  readonly index: number;
  begin(): Tx;
  /** Deterministic. Sets meta.version = index and the times of meta from command.time. */
  apply(index: number, command: Command): ApplyResult;
  watch(listener: (batch: StateBatch) => void): () => void;
  /** What was told after that index, oldest first; undefined: that is too long ago (or from before a snapshot). */
  since(index: number): readonly StateBatch[] | undefined;
  /** What stands for all objects at some indexes of late, oldest first: equal at equal indexes on all managers. */
  digests(): readonly Checkpoint[];
  /** Captured when called, encoded while iterated: chunks of at most 1 MiB. */
  snapshot(): Iterable<Uint8Array>;
  restore(index: number, chunks: Iterable<Uint8Array>): void;
  /** The same, piece by piece as they come. */
  beginRestore(index: number): Restoring;
}

/** What pure writers get from outside. */
export type WriteContext = {
  /** ms since the epoch. */
  readonly now: number;
  newId(): string;
};
