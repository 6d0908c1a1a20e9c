// Names on one network, shared by all containers that are on it. An update costs a comparison for each service; the names
// of services that are new or gone are worked on when the next question comes. Which of several holders of a name answers
// depends on who asks: see zone.ts.
//
// For a service S (full name, name within its stack, aliases):
//   S                                     the service: its virtual address, or every backend in mode dnsrr
//   tasks.S                               every backend
//   <slot>.S, S.<slot>                    one backend
//   <container name>, <task id>, <first 12 characters of it>   one backend; the last is the container's default hostname
import type { DnsBackend, DnsService } from "#net/model/dns.ts";

/** Smaller wins. */
export const KIND = { NAME: 0, ALIAS: 1, DERIVED: 2 } as const;
type Kind = (typeof KIND)[keyof typeof KIND];

export type Holder = {
  readonly kind: Kind;
  readonly service: DnsService;
  /** undefined: the service's virtual address. */
  readonly backends: readonly DnsBackend[] | undefined;
};
/** Undefined: nothing here has to do with that name. Empty: it is formed from a name of ours and stands for nothing. */
export type Holders = readonly Holder[] | undefined;

const HOSTNAME_LENGTH = 12;

export class NetworkNames {
  readonly #names = new Map<string, Holder[]>();
  readonly #pointers = new Map<string, Pointer[]>();
  readonly #slots = new WeakMap<DnsService, ReadonlyMap<string, DnsBackend[]>>();
  #indexed: ReadonlySet<DnsService> = new Set();
  #services: ReadonlySet<DnsService> = this.#indexed;

  /** What is the same object as before must not have changed. */
  update(services: Iterable<DnsService>): void {
    this.#services = new Set(services);
  }

  /** `name` in lower case, without the network's name. */
  find(name: string): Holders {
    this.#index();
    return this.#names.get(name) ?? this.#derived(name);
  }

  /** Names, without the network's, of the holders of an address. */
  pointers(address: string): readonly string[] {
    this.#index();
    return this.#pointers.get(address)?.map((p) => p.name) ?? [];
  }

  #derived(name: string): Holders {
    const first = name.indexOf(".");
    if (first < 0) return undefined;
    if (name.startsWith("tasks.")) return this.#fromBase(name.slice(6), (service) => service.backends);
    const last = name.lastIndexOf(".");
    const slot = name.slice(0, first);
    if (isSlot(slot)) return this.#fromBase(name.slice(first + 1), (service) => this.#slot(service, slot));
    const after = name.slice(last + 1);
    return isSlot(after) ? this.#fromBase(name.slice(0, last), (service) => this.#slot(service, after)) : undefined;
  }

  #fromBase(base: string, backendsOf: (service: DnsService) => readonly DnsBackend[] | undefined): Holders {
    const bases = this.#names.get(base)?.filter((h) => h.kind !== KIND.DERIVED) ?? [];
    if (bases.length === 0) return undefined;
    return bases.flatMap(({ service }) => {
      const backends = backendsOf(service);
      return backends ? [{ kind: KIND.DERIVED, service, backends }] : [];
    });
  }

  #slot(service: DnsService, slot: string): readonly DnsBackend[] | undefined {
    let slots = this.#slots.get(service);
    if (!slots) this.#slots.set(service, (slots = Map.groupBy(service.backends, (b) => b.slot)));
    return slots.get(slot);
  }

  #index(): void {
    const [before, now] = [this.#indexed, this.#services];
    if (before === now) return;
    this.#indexed = now;
    for (const service of before) {
      if (now.has(service)) continue;
      for (const [name] of namesOf(service)) drop(this.#names, name, service);
      for (const [address] of pointersOf(service)) drop(this.#pointers, address, service);
    }
    for (const service of now) {
      if (before.has(service)) continue;
      for (const [name, holder] of namesOf(service)) hold(this.#names, name, holder);
      for (const [address, name] of pointersOf(service)) hold(this.#pointers, address, { service, name });
    }
  }
}

type Pointer = { readonly service: DnsService; readonly name: string };
type Held = { readonly service: DnsService };

const hold = <T extends Held>(map: Map<string, T[]>, key: string, value: T): void => {
  const present = map.get(key);
  if (present) present.push(value);
  else map.set(key, [value]);
};

const drop = <T extends Held>(map: Map<string, T[]>, key: string, service: DnsService): void => {
  const rest = map.get(key)?.filter((held) => held.service !== service) ?? [];
  if (rest.length > 0) map.set(key, rest);
  else map.delete(key);
};

const isSlot = (label: string): boolean => /^\d{1,9}$/.test(label);

function* namesOf(service: DnsService): Generator<[name: string, holder: Holder]> {
  const { name, stack, backends } = service;
  const kinds = new Map<string, Kind>();
  for (const alias of service.aliases) kinds.set(alias.toLowerCase(), KIND.ALIAS);
  kinds.set(name.toLowerCase(), KIND.NAME);
  if (stack !== "" && name.startsWith(`${stack}_`)) kinds.set(name.slice(stack.length + 1).toLowerCase(), KIND.NAME);
  const own = service.mode === "vip" ? undefined : backends;
  for (const [base, kind] of kinds) yield [base, { kind, service, backends: own }];
  for (const backend of backends) {
    const holder = { kind: KIND.DERIVED, service, backends: [backend] } as const;
    const { taskId } = backend;
    for (const extra of new Set([backend.name.toLowerCase(), taskId, taskId.slice(0, HOSTNAME_LENGTH)])) {
      // "web.3" is found by its form.
      if (extra !== "" && !kinds.has(extra) && extra !== `${name.toLowerCase()}.${backend.slot}`) yield [extra, holder];
    }
  }
}

function* pointersOf(service: DnsService): Generator<[address: string, name: string]> {
  if (service.mode === "vip") for (const address of some(service.vip4, service.vip6)) yield [address, service.name];
  for (const backend of service.backends)
    for (const address of some(backend.ipv4, backend.ipv6)) yield [address, backendName(service, backend)];
}

export const some = (...addresses: string[]): string[] => addresses.filter((a) => a !== "");

/** A name that stands for this backend only, as long as it has a slot or a name of its own. */
export const backendName = (service: DnsService, backend: DnsBackend): string =>
  backend.name !== "" ? backend.name : backend.slot === "" ? service.name : `${service.name}.${backend.slot}`;
