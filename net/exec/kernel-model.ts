// A strict model of the kernel: adding what exists and deleting what does not are errors, as they are in the kernel, and
// what depends on a link goes with it. It is the memory of the host's state between dumps (each op that the kernel took is
// applied here too), and the fake kernel of tests; a contract suite runs on it and on the real one.

import { TswarmError } from "#base/errors.ts";
import {
  addressKey,
  fdbKey,
  freshNamespace,
  type HostState,
  type LinkState,
  linkOfSysctl,
  type NamespaceState,
  neighbourKey,
  routeKey,
  ruleKey,
} from "#net/model/host-state.ts";
import { isContainerNs, outerEndName } from "#net/model/ifname.ts";
import { sameSlots } from "#net/plan/nat/choices.ts";
import type { NetOp } from "#net/plan/op.ts";
import { render } from "#net/plan/render.ts";

type Op<K extends NetOp["op"]> = Extract<NetOp, { op: K }>;

export class KernelModel {
  readonly state: HostState;
  /** "ns/name" of each end of a veth → the other's. */
  readonly #peers = new Map<string, string>();

  constructor(state: HostState) {
    this.state = state;
    const owners = new Map<string, string>();
    for (const [ns, { links }] of state.namespaces)
      if (!isContainerNs(ns)) for (const name of links.keys()) owners.set(name, ns);
    for (const [ns, { links }] of state.namespaces)
      for (const link of links.values()) {
        const outer = ns !== "" && link.kind === "veth" ? outerEndName(ns, link.name) : "";
        const owner = owners.get(outer);
        if (owner !== undefined) this.#pair(endOf(ns, link.name), endOf(owner, outer));
      }
  }

  /** Throws `conflict`, `not_found` or `invalid` where the kernel refuses. */
  apply(op: NetOp): void {
    switch (op.op) {
      case "netns-add":
        this.#absent(op, this.state.namespaces, op.ns, freshNamespace());
        return;
      case "netns-del":
        this.#netnsDel(op);
        return;
      case "sysctl-set":
        this.#sysctlSet(op);
        return;
      case "link-add":
        this.#linkAdd(op);
        return;
      case "link-del":
        this.#link(op, op.name);
        this.#dropLink(op.ns, op.name);
        return;
      case "link-set":
        this.#change(op, { ...op.change });
        return;
      case "link-up":
        this.#change(op, { up: true });
        return;
      case "addr-add":
        this.#link(op, op.link);
        this.#absent(op, this.#ns(op).addresses, addressKey(op), { link: op.link, address: op.address });
        return;
      case "addr-del":
        this.#present(op, this.#ns(op).addresses, addressKey(op));
        return;
      case "route-set":
        this.#routeSet(op);
        return;
      case "route-del":
        this.#present(op, this.#ns(op).routes, routeKey(op));
        return;
      case "rule-add": {
        const { op: _op, ns: _ns, ...rule } = op;
        this.#absent(op, this.#ns(op).rules, ruleKey(op), rule);
        return;
      }
      case "rule-del":
        this.#present(op, this.#ns(op).rules, ruleKey(op));
        return;
      case "neigh-set":
        this.#vxlan(op);
        this.#ns(op).neighbours.set(neighbourKey(op), { link: op.link, ip: op.ip, mac: op.mac });
        return;
      case "neigh-del":
        this.#present(op, this.#ns(op).neighbours, neighbourKey(op));
        return;
      case "fdb-set":
        this.#vxlan(op);
        this.#ns(op).fdb.set(fdbKey(op), { link: op.link, mac: op.mac, vtep: op.vtep });
        return;
      case "fdb-del":
        this.#present(op, this.#ns(op).fdb, fdbKey(op));
        return;
      case "nft-set":
        Object.assign(this.#ns(op), { nftDigest: op.digest, nftChoices: op.backends, nftListing: "" });
        return;
      case "nft-choices":
        this.#choose(op);
        return;
      case "nft-del":
        Object.assign(this.#ns(op), { nftDigest: "", nftChoices: new Map(), nftListing: "" });
        return;
    }
  }

  #sysctlSet(op: Op<"sysctl-set">): void {
    const link = linkOfSysctl(op.key);
    if (link !== undefined) this.#link(op, link);
    this.#ns(op).sysctls.set(op.key, op.value);
  }

  #linkAdd(op: Op<"link-add">): void {
    const { ns, name, link } = op;
    const { links } = this.#ns(op);
    if (links.has(name)) throw refused("conflict", op, "exists");
    const master = "master" in link ? link.master : "";
    if (master !== "") this.#link(op, master);
    if ("upper" in link) this.#link({ ...op, ns: "" }, link.upper.lower);
    const made: LinkState = {
      name,
      kind: link.kind,
      mac: link.mac,
      mtuBytes: link.mtuBytes,
      up: false,
      master,
      isolated: false,
      hairpin: false,
      noBroadcast: false,
      alias: "",
      inGroup: true,
      ...("vxlan" in link && { vxlan: link.vxlan }),
      ...("upper" in link && { upper: link.upper }),
    };
    if (link.kind === "veth") {
      const { peer } = link;
      const peerLinks = this.#ns({ ...op, ns: peer.ns }).links;
      if (peerLinks.has(peer.name)) throw refused("conflict", op, "the peer exists");
      peerLinks.set(peer.name, { ...made, name: peer.name, mac: peer.mac, master: "" });
      this.#pair(endOf(ns, name), endOf(peer.ns, peer.name));
    }
    // One UDP socket serves all VXLANs of a port, and tells them apart by VNI.
    if (link.kind === "vxlan" && this.#hasVxlan(link.vxlan.vni, link.vxlan.port))
      throw refused("conflict", op, "the VNI is in use");
    links.set(name, made);
  }

  #hasVxlan(vni: number, port: number): boolean {
    for (const { links } of this.state.namespaces.values())
      for (const { vxlan } of links.values()) if (vxlan?.vni === vni && vxlan.port === port) return true;
    return false;
  }

  #netnsDel(op: Op<"netns-del">): void {
    for (const name of [...this.#ns(op).links.keys()]) this.#dropLink(op.ns, name);
    this.state.namespaces.delete(op.ns);
  }

  #dropLink(ns: string, name: string): void {
    const found = this.state.namespaces.get(ns);
    if (found === undefined || !found.links.delete(name)) return;
    for (const map of [found.addresses, found.routes, found.neighbours, found.fdb] as const)
      for (const [key, { link }] of map) if (link === name) map.delete(key);
    for (const port of found.links.values())
      if (port.master === name)
        found.links.set(port.name, { ...port, master: "", isolated: false, hairpin: false, noBroadcast: false });
    for (const key of found.sysctls.keys()) if (linkOfSysctl(key) === name) found.sysctls.delete(key);
    if (ns === "") this.#dropUppers(name);
    const end = endOf(ns, name);
    const peer = this.#peers.get(end);
    if (peer === undefined) return;
    this.#peers.delete(end);
    this.#peers.delete(peer);
    const slash = peer.indexOf("/");
    this.#dropLink(peer.slice(0, slash), peer.slice(slash + 1));
  }

  #dropUppers(lower: string): void {
    for (const [ns, { links }] of this.state.namespaces)
      for (const link of [...links.values()]) if (link.upper?.lower === lower) this.#dropLink(ns, link.name);
  }

  #change(op: Op<"link-set" | "link-up">, change: Partial<LinkState>): void {
    const link = this.#link(op, op.name);
    if (change.master) this.#link(op, change.master);
    const changed = { ...link, ...change };
    if ((changed.isolated || changed.hairpin || changed.noBroadcast) && changed.master === "")
      throw refused("invalid", op, "not a port of a bridge");
    this.#ns(op).links.set(op.name, changed);
  }

  #routeSet(op: Op<"route-set">): void {
    if (!this.#link(op, op.link).up) throw refused("invalid", op, "the link is down");
    const { op: _op, ns: _ns, ...route } = op;
    this.#ns(op).routes.set(routeKey(op), route);
  }

  #choose(op: Op<"nft-choices">): void {
    const ns = this.#ns(op);
    for (const { choice, from } of op.changes) {
      const slots = ns.nftChoices.get(choice.name);
      if (slots === undefined) throw refused("not_found", op, `there is no choice ${choice.name}`);
      const why = `${choice.name} has other backends`;
      if (!sameSlots(slots, from)) throw refused(slots.length < from.length ? "not_found" : "conflict", op, why);
    }
    Object.assign(ns, { nftChoices: op.after, nftListing: "" });
  }

  #ns(op: NetOp): NamespaceState {
    const found = this.state.namespaces.get(op.ns);
    if (found === undefined) throw refused("not_found", op, `there is no namespace ${op.ns}`);
    return found;
  }

  #link(op: NetOp, name: string): LinkState {
    const found = this.#ns(op).links.get(name);
    if (found === undefined) throw refused("not_found", op, `there is no link ${name}`);
    return found;
  }

  #vxlan(op: Op<"neigh-set" | "fdb-set">): void {
    if (this.#link(op, op.link).kind !== "vxlan") throw refused("invalid", op, `${op.link} is no VXLAN`);
  }

  #absent<V>(op: NetOp, map: Map<string, V>, key: string, value: V): void {
    if (map.has(key)) throw refused("conflict", op, "exists");
    map.set(key, value);
  }

  #present(op: NetOp, map: Map<string, unknown>, key: string): void {
    if (!map.delete(key)) throw refused("not_found", op, "absent");
  }

  #pair(a: string, b: string): void {
    this.#peers.set(a, b).set(b, a);
  }
}

const endOf = (ns: string, name: string): string => `${ns}/${name}`;

const refused = (code: "conflict" | "not_found" | "invalid", op: NetOp, why: string): TswarmError =>
  new TswarmError(code, `${render(op)}: ${why}`);
