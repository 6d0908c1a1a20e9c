// Who holds what: a second, dumb account of addresses, ports and VNIs, kept from the events alone. It shares nothing with the
// indexes of the state.
import type { StateEvent, TableName, Tables } from "#control-plane/state/types.ts";
import { type Network, PortMode, type Service, type Task, TaskState } from "#proto/gen/types.ts";

/** How long a released address must rest: docs/design/state.md, invariant 3. */
const REST_MS = 10_000;

type Held = { readonly key: string; readonly owner: string /** Of a task: its slot. */; readonly slot: string };

const bare = (address: string): string => address.split("/")[0]!;

const ofTask = (task: Task): Held[] => {
  if ((task.status?.state ?? 0) > TaskState.TASK_RUNNING) return [];
  const slot = task.serviceId === "" ? `task ${task.id}` : `${task.serviceId}.${task.slot}`;
  return task.attachments.flatMap(({ networkId, ipv4, ipv6 }) =>
    [ipv4, ipv6]
      .filter((address) => address !== "")
      .map((address) => ({ key: `${networkId} ${bare(address)}`, owner: `task ${task.id}`, slot })),
  );
};

const ofService = (service: Service): Held[] => {
  const owner = `service ${service.id}`;
  const vips = service.vips.flatMap(({ networkId, ipv4, ipv6 }) =>
    [ipv4, ipv6].filter((a) => a !== "").map((a) => ({ key: `${networkId} ${a}`, owner, slot: owner })),
  );
  const ports = service.pendingDelete
    ? []
    : service.ports
        .filter((port) => port.mode === PortMode.INGRESS)
        .map((port) => ({ key: `port ${port.protocol}/${port.published}`, owner, slot: owner }));
  return [...vips, ...ports];
};

const ofNetwork = (network: Network): Held[] => {
  const owner = `network ${network.id}`;
  const held: Held[] = network.vni === 0 ? [] : [{ key: `vni ${network.vni}`, owner, slot: owner }];
  for (const { gateway } of network.subnets)
    if (gateway !== "") held.push({ key: `${network.id} ${bare(gateway)}`, owner, slot: owner });
  for (const { nodeId, ipv4, ipv6 } of network.nodes)
    for (const address of [ipv4, ipv6])
      if (address !== "") held.push({ key: `${network.id} ${address}`, owner: `node ${nodeId}`, slot: nodeId });
  return held;
};

const heldBy = (table: TableName, object: Tables[TableName] | undefined): Held[] => {
  if (object === undefined) return [];
  if (table === "task") return ofTask(object as Task);
  if (table === "service") return ofService(object as Service);
  return table === "network" ? ofNetwork(object as Network) : [];
};

const isAddress = (key: string): boolean => !key.startsWith("port ") && !key.startsWith("vni ");

export class HeldThings {
  readonly #owners = new Map<string, Held>();
  /** Released addresses that rest. */
  readonly #rests = new Map<string, { readonly at: number; readonly slot: string }>();
  readonly #violate: (property: string, detail: string) => void;

  constructor(violate: (property: string, detail: string) => void) {
    this.#violate = violate;
  }

  /** @param time of the command, ms */
  update(events: readonly StateEvent[], time: number): void {
    const claimed = new Map(
      events
        .flatMap(({ table, object, action }) => (action === "remove" ? [] : heldBy(table, object)))
        .map((held) => [held.key, held]),
    );
    for (const event of events) this.#release(event, events, claimed, time);
    for (const event of events)
      if (event.table === "lease" && event.action === "remove") this.#restEnds(event.object, claimed, time);
    for (const [key, held] of claimed) {
      const other = this.#owners.get(key);
      if (other !== undefined && other.owner !== held.owner)
        this.#violate("one owner of each address, port and VNI", `${key}: ${other.owner} and ${held.owner}`);
      this.#owners.set(key, held);
      const rest = this.#rests.get(key);
      if (rest !== undefined && rest.slot !== held.slot)
        this.#violate("a released address rests", `${key}: ${held.owner} has it after ${time - rest.at} ms`);
      this.#rests.delete(key);
    }
  }

  #release(
    { table, object, previous }: StateEvent,
    events: readonly StateEvent[],
    claimed: ReadonlyMap<string, Held>,
    time: number,
  ): void {
    const gone = (networkId: string): boolean =>
      events.some((e) => e.table === "network" && e.action === "remove" && e.object.id === networkId);
    for (const { key, slot, owner } of heldBy(table, previous)) {
      this.#owners.delete(key);
      const next = claimed.get(key);
      if (next?.owner === owner || !isAddress(key)) continue;
      const [networkId = "", address = ""] = key.split(" ");
      if (gone(networkId)) continue;
      if (next === undefined && !events.some((e) => e.table === "lease" && e.object.id === `${networkId}/${address}`))
        this.#violate("a released address rests", `${key}: ${owner} left no lease`);
      this.#rests.set(key, { at: time, slot });
    }
    if (table === "network" && gone(object.id))
      for (const key of this.#rests.keys()) if (key.startsWith(`${object.id} `)) this.#rests.delete(key);
  }

  #restEnds({ networkId, address }: Tables["lease"], claimed: ReadonlyMap<string, Held>, time: number): void {
    const key = `${networkId} ${address}`;
    const rest = this.#rests.get(key);
    // Taken over before its end: by its own slot, or not at all.
    if (rest === undefined || (time - rest.at < REST_MS && claimed.has(key))) return;
    if (time - rest.at < REST_MS)
      this.#violate("a released address rests", `${key}: its rest ends after ${time - rest.at} ms`);
    this.#rests.delete(key);
  }
}
