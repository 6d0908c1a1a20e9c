// Notices when others change what is ours, by the kernel's notifications. Each is compared with what this process knows the
// kernel to have; one that contradicts it makes its namespace disturbed, to be looked at as a whole.
//
// While ops run their own notifications come in, of every step on the way: of each object only the last one counts then.
// At any other time every contradiction counts: a link that went down and up again has lost its routes.

import type { Kernel } from "#net/exec/kernel.ts";
import { linkStateOf } from "#net/exec/observe.ts";
import type { KernelEvent } from "#net/kernel/events.ts";
import { NamespaceEvents } from "#net/kernel/namespace-events.ts";
import { isLinkLocal6, splitPrefix } from "#net/model/cidr.ts";
import {
  addressKey,
  DEFAULT_ROUTE,
  fdbKey,
  type HostState,
  type LinkState,
  type NamespaceState,
  neighbourKey,
  ROUTE_PROTOCOL,
  routeKey,
  ruleKey,
} from "#net/model/host-state.ts";
import { isOurs } from "#net/plan/diff.ts";
import { TABLE } from "#net/plan/nat/ruleset.ts";

const DRAIN_MS = 100;

export class Watch {
  readonly #events: NamespaceEvents;
  readonly #kernel: Kernel;
  readonly #onDisturbed: (namespaces: readonly string[]) => void;
  /** What the kernel has as far as this process knows; undefined: a dump comes anyway. */
  #known: HostState | undefined;
  readonly #linkNames = new Map<string, Map<number, string>>();
  readonly #disturbed = new Set<string>();
  /** While ops run: the last event of each object. */
  #own: Map<string, { readonly ns: string; readonly event: KernelEvent }> | undefined;
  #wroteRules = new Set<string>();
  #announced = false;
  readonly #timer: NodeJS.Timeout;

  /** `onDisturbed` is called once for what is disturbed at the same time, from the loop. */
  constructor(kernel: Kernel, onDisturbed: (namespaces: readonly string[]) => void) {
    this.#kernel = kernel;
    this.#onDisturbed = onDisturbed;
    this.#events = new NamespaceEvents(kernel.path(""), (ns, event) => this.#onEvent(ns, event));
    this.#learnNames("");
    this.#timer = setInterval(() => this.#events.drain(), DRAIN_MS).unref();
  }

  /** From now until `end` this process changes the kernel. */
  begin(): void {
    this.#events.drain();
    this.#own = new Map();
    this.#wroteRules = new Set();
  }

  /** Call it between many ops: what waits in the kernel must not become too much. `ns`: where a ruleset was written. */
  underWay(): void {
    this.#events.drain();
  }
  wroteRules(ns: string): void {
    this.#wroteRules.add(ns);
  }

  /** `known`: what the kernel has now as far as this process knows; undefined: it will be looked at anyway. */
  end(known: HostState | undefined): void {
    this.#events.drain();
    const own = this.#own ?? new Map();
    this.#own = undefined;
    this.#known = known;
    for (const { ns, event } of own.values())
      if (event.topic !== "nft" || !this.#wroteRules.has(ns)) this.#judge(ns, event);
    if (known === undefined) return;
    for (const ns of this.#events.names()) if (!known.namespaces.has(ns)) this.forget(ns);
    for (const ns of known.namespaces.keys()) {
      if (ns === "" || this.#events.has(ns)) continue;
      try {
        this.#events.add(ns, this.#kernel.path(ns)!);
        this.#learnNames(ns);
      } catch {
        // Somebody took it away.
        this.forget(ns);
        this.#disturb(ns);
      }
    }
  }

  forget(ns: string): void {
    this.#events.forget(ns);
    this.#linkNames.delete(ns);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#events.close();
  }

  #learnNames(ns: string): void {
    const links = this.#kernel.rtnl(ns).linkDump();
    this.#kernel.release(ns);
    this.#linkNames.set(ns, new Map(links.map((link) => [link.index, link.name])));
  }

  #onEvent(ns: string, event: KernelEvent): void {
    if (event.topic === "link") {
      const names = this.#linkNames.get(ns);
      if (event.gone) names?.delete(event.link.index);
      else names?.set(event.link.index, event.link.name);
    }
    if (this.#own !== undefined) this.#own.set(`${ns} ${this.#keyOf(ns, event)}`, { ns, event });
    else this.#judge(ns, event);
  }

  #judge(ns: string, event: KernelEvent): void {
    if (this.#known === undefined) return;
    if (event.topic === "overrun") {
      for (const each of this.#known.namespaces.keys()) this.#disturb(each);
      return;
    }
    const state = this.#known.namespaces.get(ns);
    if (state === undefined) return;
    if (this.#contradicts(ns, state, event)) this.#disturb(ns);
  }

  #disturb(ns: string): void {
    this.#disturbed.add(ns);
    if (this.#announced) return;
    this.#announced = true;
    setImmediate(() => {
      this.#announced = false;
      const namespaces = [...this.#disturbed];
      this.#disturbed.clear();
      this.#onDisturbed(namespaces);
    });
  }

  #nameOf(ns: string, index: number | undefined): string {
    return (index !== undefined && this.#linkNames.get(ns)?.get(index)) || "";
  }

  /** What of a namespace the event is about. */
  #keyOf(ns: string, event: KernelEvent): string {
    switch (event.topic) {
      case "link":
        return `link ${event.link.name}`;
      case "port":
        return `port ${event.linkIndex}`;
      case "addr":
        return `addr ${event.address.linkIndex} ${event.address.cidr}`;
      case "route":
        return `route ${event.route.family} ${event.route.table} ${event.route.destination} ${event.route.metric}`;
      case "rule":
        return `rule ${JSON.stringify(event.rule)}`;
      case "neigh":
        return `neigh ${event.neighbour.linkIndex} ${event.neighbour.address}`;
      case "fdb":
        return `fdb ${event.entry.linkIndex} ${event.entry.mac} ${event.entry.destination}`;
      case "forwarding":
        return `forwarding ${event.family}`;
      case "nft":
        return `nft ${event.table}`;
      case "overrun":
        return `overrun ${ns}`;
    }
  }

  #contradicts(ns: string, state: NamespaceState, event: KernelEvent): boolean {
    switch (event.topic) {
      case "link": {
        const known = state.links.get(event.link.name);
        if (event.gone) return known !== undefined;
        const now = linkStateOf(event.link, this.#linkNames.get(ns) ?? new Map(), () => "");
        if (known !== undefined) return !sameLink(known, now);
        // One of ours under another name is one that was renamed; one that is down may be leaving with its namespace.
        return now.up && isOurs(ns, now);
      }
      case "port": {
        // It says nothing of the port that the link's own report would not, unless only a port's setting changed.
        const name = this.#nameOf(ns, event.linkIndex);
        const known = state.links.get(name);
        if (known === undefined || known.kind === "bridge") return false;
        const now = this.#kernel.rtnl(ns).linkGet(name);
        this.#kernel.release(ns);
        return (
          now === undefined ||
          !sameLink(
            known,
            linkStateOf(now, this.#linkNames.get(ns) ?? new Map(), () => ""),
          )
        );
      }
      case "addr": {
        const link = this.#nameOf(ns, event.address.linkIndex);
        const address = event.address.cidr;
        if (link === "" || isLinkLocal6(splitPrefix(address).address)) return false;
        return state.addresses.has(addressKey({ link, address })) === event.gone;
      }
      case "route": {
        const { table, destination, gateway = "", linkIndex, family, metric, protocol } = event.route;
        if (protocol !== ROUTE_PROTOCOL) return false;
        const known = [...routeKeys(table, destination, family, metric)].map((key) => state.routes.get(key));
        if (event.gone) return known.some((route) => route !== undefined);
        return !known.some((route) => route?.via === gateway && route.link === this.#nameOf(ns, linkIndex));
      }
      case "rule": {
        const { family, from = "", mark = 0, mask: _mask, protocol, ...rest } = event.rule;
        if (protocol !== ROUTE_PROTOCOL) return false;
        return state.rules.has(ruleKey({ family: family === "inet" ? 4 : 6, from, mark, ...rest })) === event.gone;
      }
      case "neigh": {
        const { linkIndex, address: ip, mac, state: reported } = event.neighbour;
        const link = this.#nameOf(ns, linkIndex);
        if (state.links.get(link)?.kind !== "vxlan") return false;
        const known = state.neighbours.get(neighbourKey({ link, ip, mac: "" }));
        if (event.gone || reported !== "permanent") return known !== undefined;
        return known?.mac !== mac;
      }
      case "fdb": {
        const { linkIndex, mac, destination } = event.entry;
        if (destination === undefined) return false;
        const entry = { link: this.#nameOf(ns, linkIndex), mac, vtep: destination };
        return (state.fdb.get(fdbKey(entry))?.vtep === destination) === event.gone;
      }
      case "forwarding": {
        const known = state.sysctls.get(event.family === 4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding");
        return known !== undefined && (known !== "0") !== event.on;
      }
      case "nft":
        return event.table === TABLE;
      case "overrun":
        return true;
    }
  }
}

const sameLink = (known: LinkState, now: LinkState): boolean =>
  known.kind === now.kind &&
  // A model knows no addresses that the kernel chose.
  (known.mac === "" || known.mac === now.mac) &&
  known.mtuBytes === now.mtuBytes &&
  known.up === now.up &&
  known.master === now.master &&
  known.isolated === now.isolated &&
  known.hairpin === now.hairpin &&
  known.noBroadcast === now.noBroadcast &&
  known.alias === now.alias &&
  known.inGroup === now.inGroup &&
  known.vxlan?.vni === now.vxlan?.vni &&
  known.vxlan?.port === now.vxlan?.port &&
  known.vxlan?.local === now.vxlan?.local &&
  known.upper?.mode === now.upper?.mode;

/** The keys that such a route may be known by: a metric that was not asked for is not part of it. */
function* routeKeys(table: number, destination: string, family: "inet" | "inet6", metric: number): Generator<string> {
  const to = destination === "default" ? DEFAULT_ROUTE[family === "inet" ? 4 : 6] : destination;
  yield routeKey({ table, destination: to });
  if (metric !== 0) yield routeKey({ table, destination: to, metric });
}
