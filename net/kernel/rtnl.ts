// Typed rtnetlink operations on one namespace. Links are named by name here, indexes are looked up; the messages are in
// net/codec. Every failed operation throws a TswarmError with the kernel's own words; `…Del` of something absent throws
// `not_found`, adding something that exists throws `conflict`.
//
//   Rtnl.open(netnsPath | null): Rtnl        close()
//   linkAdd(LinkAdd) linkSet(name, LinkChange) linkDel(name) linkDelGroup(n) linkDump() linkGet(name) linkIndex(name)
//   addrReplace/addrAdd/addrDel({link, cidr}) addrDump()
//   routeReplace/routeDel(RouteSpec) routeDump() routeGet(address)
//   ruleAdd/ruleDel(Rule) ruleDump()
//   neighReplace/neighDel({link, address, mac}) neighDump()   fdbReplace/fdbAppend/fdbDel({link, mac, destination?}) fdbDump()
//   neighBatch(ops)                                            many neighbour and fdb changes in one send
import { TswarmError } from "#base/errors.ts";
import * as addr from "#net/codec/address-message.ts";
import * as link from "#net/codec/link.ts";
import * as neigh from "#net/codec/neigh.ts";
import * as route from "#net/codec/route.ts";
import * as rule from "#net/codec/rule.ts";
import { errnoOf } from "./errno.ts";
import { closeFd, openFd } from "./libc.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./netlink-socket.ts";

type WithParent<K> = K extends { readonly parentIndex: number }
  ? Omit<K, "parentIndex"> & { readonly parent: string }
  : K;
type PeerByPath = Omit<link.VethPeer, "netnsFd"> & {
  readonly alias?: string;
  readonly up?: boolean;
  readonly netns?: string;
};
export type LinkKindSpec =
  | Exclude<WithParent<link.LinkKind>, { kind: "veth" | "vxlan" }>
  | { readonly kind: "veth"; readonly peer: PeerByPath }
  | (Omit<Extract<link.LinkKind, { kind: "vxlan" }>, "linkIndex"> & { readonly underlay?: string });

/**
 * `netns`: the link is created directly there. The kernel reads `parent`, `underlay` and a VXLAN's socket in this Rtnl's
 * namespace. `alias`, and a peer's `alias` and `up`, are set by a second message. `master` is a bridge in the namespace the link is created in.
 */
export type LinkAdd = Omit<link.LinkAttributes, "masterIndex" | "netnsFd" | "name"> & {
  readonly name: string;
  readonly master?: string;
  readonly netns?: string;
  readonly spec: LinkKindSpec;
};
/** `master: null` releases the link from its bridge; `name` renames. */
export type LinkChange = Omit<link.LinkAttributes, "masterIndex" | "netnsFd"> & {
  readonly master?: string | null;
  readonly port?: link.BridgePort;
};
export type AddressSpec = { readonly link: string; readonly cidr: string; readonly noPrefixRoute?: boolean };
export type RouteSpec = Omit<route.Route, "linkIndex"> & { readonly link?: string };
export type NeighbourSpec = { readonly link: string; readonly address: string; readonly mac: string };
export type FdbSpec = { readonly link: string; readonly mac: string; readonly destination?: string };
export type NeighOp =
  | ({ readonly op: "neigh-replace" | "neigh-del" } & NeighbourSpec)
  | ({ readonly op: "fdb-replace" | "fdb-append" | "fdb-del" } & FdbSpec);

export class Rtnl {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** Opens in the namespace at `netnsPath`; null is the thread's own. Usable from any namespace; close it when done. */
  static open(netnsPath: string | null): Rtnl {
    return new Rtnl(NetlinkSocket.open(netnsPath, NETLINK_ROUTE));
  }

  close(): void {
    this.#socket.close();
  }

  linkAdd({ name, master, netns, alias, spec, ...rest }: LinkAdd): void {
    const what = `link add ${name} type ${spec.kind}`;
    const masterIndex =
      master === undefined ? {} : { masterIndex: this.#in(netns, (there) => there.linkIndex(master)) };
    const peer = spec.kind === "veth" ? spec.peer : undefined;
    withFds([netns, peer?.netns], ([netnsFd, peerFd]) => {
      const place = netnsFd === undefined ? {} : { netnsFd };
      this.#socket.request(
        link.encodeLinkAdd({ ...rest, name, ...masterIndex, ...place }, this.#kind(spec, peerFd)),
        what,
      );
    });
    // The kernel ignores an alias at creation, and can't open a veth's peer before the pair is joined.
    if (alias !== undefined) this.#in(netns, (there) => there.linkSet(name, { alias }));
    if (peer?.alias !== undefined || peer?.up) {
      const { alias: peerAlias, up } = peer;
      const change = { ...(peerAlias !== undefined && { alias: peerAlias }), ...(up && { up }) };
      this.#in(peer.netns, (there) => there.linkSet(peer.name, change));
    }
  }

  #in<T>(netns: string | undefined, fn: (there: Rtnl) => T): T {
    if (netns === undefined) return fn(this);
    const there = Rtnl.open(netns);
    try {
      return fn(there);
    } finally {
      there.close();
    }
  }

  #kind(spec: LinkKindSpec, peerFd: number | undefined): link.LinkKind {
    switch (spec.kind) {
      case "veth": {
        const { netns: _netns, alias: _alias, up: _up, ...peer } = spec.peer;
        return { kind: "veth", peer: { ...peer, ...(peerFd !== undefined && { netnsFd: peerFd }) } };
      }
      case "vxlan": {
        const { underlay, ...vxlan } = spec;
        return { ...vxlan, ...(underlay !== undefined && { linkIndex: this.linkIndex(underlay) }) };
      }
      case "macvlan":
      case "ipvlan":
      case "vlan": {
        const { parent, ...kind } = spec;
        return { ...kind, parentIndex: this.linkIndex(parent) };
      }
      default:
        return spec;
    }
  }

  linkSet(name: string, { master, port, ...rest }: LinkChange): void {
    const masterIndex = master === undefined ? {} : { masterIndex: master === null ? 0 : this.linkIndex(master) };
    this.#socket.request(
      link.encodeLinkSet(this.linkIndex(name), { ...rest, ...masterIndex }, port),
      `link set ${name}`,
    );
  }

  linkDel(name: string): void {
    this.#socket.request(link.encodeLinkDel(this.linkIndex(name)), `link del ${name}`);
  }

  linkDelGroup(group: number): void {
    this.#socket.request(link.encodeLinkDelGroup(group), `link del group ${group}`);
  }

  linkDump(): link.Link[] {
    return this.#socket.dump(link.encodeLinkDump(), "link dump").map((m) => link.decodeLink(m.payload));
  }

  /** undefined when there is none of that name. */
  linkGet(name: string): link.Link | undefined {
    const payload = this.#linkPayload(name);
    return payload && link.decodeLink(payload);
  }

  linkIndex(name: string): number {
    const payload = this.#linkPayload(name);
    if (payload === undefined) throw new TswarmError("not_found", `there is no link ${name}`);
    return link.decodeLinkIndex(payload);
  }

  #linkPayload(name: string): Uint8Array | undefined {
    try {
      return this.#socket.request(link.encodeLinkGet({ name }), `link get ${name}`)[0]?.payload;
    } catch (error) {
      if (errnoOf(error) === "ENODEV") return undefined;
      throw error;
    }
  }

  addrAdd(a: AddressSpec): void {
    this.#socket.request(addr.encodeAddrAdd(this.#onLink(a)), `addr add ${a.cidr} dev ${a.link}`);
  }
  addrReplace(a: AddressSpec): void {
    this.#socket.request(addr.encodeAddrReplace(this.#onLink(a)), `addr replace ${a.cidr} dev ${a.link}`);
  }
  addrDel(a: AddressSpec): void {
    this.#socket.request(addr.encodeAddrDel(this.#onLink(a)), `addr del ${a.cidr} dev ${a.link}`);
  }
  addrDump(): addr.ReportedAddress[] {
    return this.#socket.dump(addr.encodeAddrDump(), "addr dump").map((m) => addr.decodeAddr(m.payload));
  }

  routeReplace(r: RouteSpec): void {
    this.#socket.request(route.encodeRouteReplace(this.#route(r)), `route replace ${routeText(r)}`);
  }
  routeDel(r: RouteSpec): void {
    this.#socket.request(route.encodeRouteDel(this.#route(r)), `route del ${routeText(r)}`);
  }
  /** All tables, both families. */
  routeDump(): route.ReportedRoute[] {
    return (["inet", "inet6"] as const).flatMap((family) =>
      this.#socket.dump(route.encodeRouteDump(family), "route dump").map((m) => route.decodeRoute(m.payload)),
    );
  }
  /** The route a packet to `address` would take from this namespace. */
  routeGet(address: string): route.ReportedRoute {
    const [found] = this.#socket.request(route.encodeRouteGet(address), `route get ${address}`);
    if (found === undefined) throw new TswarmError("not_found", `there is no route to ${address}`);
    return route.decodeRoute(found.payload);
  }

  ruleAdd(r: rule.Rule): void {
    this.#socket.request(rule.encodeRuleAdd(r), `rule add priority ${r.priority}`);
  }
  ruleDel(r: rule.Rule): void {
    this.#socket.request(rule.encodeRuleDel(r), `rule del priority ${r.priority}`);
  }
  ruleDump(): rule.Rule[] {
    return (["inet", "inet6"] as const).flatMap((family) =>
      this.#socket.dump(rule.encodeRuleDump(family), "rule dump").map((m) => rule.decodeRule(m.payload)),
    );
  }

  neighReplace(n: NeighbourSpec): void {
    this.#one({ op: "neigh-replace", ...n });
  }
  neighDel(n: NeighbourSpec): void {
    this.#one({ op: "neigh-del", ...n });
  }
  neighDump(): neigh.ReportedNeighbour[] {
    return (["inet", "inet6"] as const).flatMap((family) =>
      this.#socket
        .dump(neigh.encodeNeighDump(family), "neigh dump")
        .filter((m) => !neigh.isBridgeFamily(m.payload))
        .map((m) => neigh.decodeNeigh(m.payload)),
    );
  }

  fdbReplace(e: FdbSpec): void {
    this.#one({ op: "fdb-replace", ...e });
  }
  /** One more destination of the same MAC: the way to replicate broadcast (00:00:00:00:00:00) to several peers. */
  fdbAppend(e: FdbSpec): void {
    this.#one({ op: "fdb-append", ...e });
  }
  fdbDel(e: FdbSpec): void {
    this.#one({ op: "fdb-del", ...e });
  }
  fdbDump(): neigh.ReportedFdbEntry[] {
    return this.#socket.dump(neigh.encodeFdbDump(), "fdb dump").map((m) => neigh.decodeFdb(m.payload));
  }

  /** Result i belongs to change i: null, or why it failed. Not atomic. */
  neighBatch(ops: readonly NeighOp[]): (TswarmError | null)[] {
    const indexes = new Map<string, number>();
    const indexOf = (name: string): number => {
      const index = indexes.get(name) ?? this.linkIndex(name);
      indexes.set(name, index);
      return index;
    };
    const messages = ops.map((o) => encodeNeighOp(o, indexOf(o.link)));
    return this.#socket.batch(messages, (i) => neighText(ops[i]!));
  }

  #one(op: NeighOp): void {
    this.#socket.request(encodeNeighOp(op, this.linkIndex(op.link)), neighText(op));
  }

  #onLink({ link: name, ...rest }: AddressSpec): addr.InterfaceAddress {
    return { ...rest, linkIndex: this.linkIndex(name) };
  }

  #route({ link: name, ...rest }: RouteSpec): route.Route {
    return name === undefined ? rest : { ...rest, linkIndex: this.linkIndex(name) };
  }
}

const withFds = (paths: readonly (string | undefined)[], fn: (fds: (number | undefined)[]) => void): void => {
  const fds: (number | undefined)[] = [];
  try {
    for (const path of paths) fds.push(path === undefined ? undefined : openFd(path));
    fn(fds);
  } finally {
    for (const fd of fds) if (fd !== undefined) closeFd(fd);
  }
};

const encodeNeighOp = (o: NeighOp, linkIndex: number): Uint8Array => {
  switch (o.op) {
    case "neigh-replace":
      return neigh.encodeNeighReplace({ linkIndex, address: o.address, mac: o.mac });
    case "neigh-del":
      return neigh.encodeNeighDel({ linkIndex, address: o.address, mac: o.mac });
    case "fdb-replace":
    case "fdb-append":
    case "fdb-del": {
      const entry = { linkIndex, mac: o.mac, ...(o.destination !== undefined && { destination: o.destination }) };
      if (o.op === "fdb-replace") return neigh.encodeFdbReplace(entry);
      return o.op === "fdb-append" ? neigh.encodeFdbAppend(entry) : neigh.encodeFdbDel(entry);
    }
  }
};

const neighText = (o: NeighOp): string =>
  `${o.op.replace("-", " ")} ${"address" in o ? o.address : o.mac}${"destination" in o && o.destination ? ` dst ${o.destination}` : ""} dev ${o.link}`;

const routeText = (r: RouteSpec): string =>
  [
    r.type ?? "",
    r.destination,
    r.gateway && `via ${r.gateway}`,
    r.link && `dev ${r.link}`,
    r.table && `table ${r.table}`,
  ]
    .filter(Boolean)
    .join(" ");
