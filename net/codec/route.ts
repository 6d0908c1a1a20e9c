// RTM_*ROUTE. References: linux/rtnetlink.h, net/ipv4/fib_frontend.c, net/ipv6/route.c.
import { AF, addressBytes, addressText, type Family, familyNumber, familyOf, parsePrefix } from "./address.ts";
import { message, NLM_F, parseAttributes, readU32 } from "./nlmsg.ts";

export const RTM_ROUTE = { NEW: 24, DEL: 25, GET: 26 } as const;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7, METRICS: 8, TABLE: 15 } as const;
const RTAX_MTU = 2;
export const RT_TABLE_MAIN = 254;
const TYPES = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const;
export type RouteType = keyof typeof TYPES;
const SCOPES = { global: 0, link: 253, host: 254, nowhere: 255 } as const;
export type RouteScope = keyof typeof SCOPES;

export type Route = {
  /** "10.1.0.0/16"; "default" needs `family` or a gateway to know which. */
  readonly destination: string;
  readonly family?: Family;
  readonly gateway?: string;
  readonly linkIndex?: number;
  readonly source?: string;
  readonly table?: number;
  /** Routing protocol number: marks the routes that are ours. */
  readonly protocol: number;
  readonly metric?: number;
  readonly type?: RouteType;
  readonly scope?: RouteScope;
  readonly mtuBytes?: number;
  /** The gateway is reachable over the link although no address says so. */
  readonly onlink?: boolean;
};
export type ReportedRoute = {
  readonly family: Family;
  readonly destination: string;
  readonly gateway: string | undefined;
  readonly linkIndex: number | undefined;
  readonly source: string | undefined;
  readonly table: number;
  readonly protocol: number;
  readonly metric: number;
  readonly type: string;
  readonly scope: string;
  readonly mtuBytes: number | undefined;
  readonly onlink: boolean;
};

const RTNH_F_ONLINK = 4;

const familyOfRoute = (r: Route): Family => {
  if (r.destination !== "default") return familyOf(r.destination);
  return r.family ?? (r.gateway === undefined ? "inet" : familyOf(r.gateway));
};

const encode = (type: number, flags: number, r: Route): Uint8Array => {
  const family = familyOfRoute(r);
  const prefix = r.destination === "default" ? undefined : parsePrefix(r.destination);
  const table = r.table ?? RT_TABLE_MAIN;
  const routeType = r.type ?? "unicast";
  // iproute2's defaults: a route without gateway is on the link, for IPv4; IPv6 has no scopes.
  const scope =
    r.scope ??
    (routeType === "local" ? "host" : family === "inet" && routeType === "unicast" && !r.gateway ? "link" : "global");
  const deleting = type === RTM_ROUTE.DEL;
  return message(type, NLM_F.REQUEST | NLM_F.ACK | flags, (w) => {
    w.u8(familyNumber(family))
      .u8(prefix?.bits ?? 0)
      .u8(0)
      .u8(0);
    w.u8(table < 256 ? table : 0)
      .u8(r.protocol)
      .u8(deleting && r.scope === undefined ? SCOPES.nowhere : SCOPES[scope]);
    w.u8(deleting && r.type === undefined ? 0 : TYPES[routeType]).u32(r.onlink ? RTNH_F_ONLINK : 0);
    w.attrU32(RTA.TABLE, table);
    if (prefix !== undefined) w.attr(RTA.DST, addressBytes(prefix.address));
    if (r.gateway !== undefined) w.attr(RTA.GATEWAY, addressBytes(r.gateway));
    if (r.linkIndex !== undefined) w.attrU32(RTA.OIF, r.linkIndex);
    if (r.source !== undefined) w.attr(RTA.PREFSRC, addressBytes(r.source));
    if (r.metric !== undefined) w.attrU32(RTA.PRIORITY, r.metric);
    const mtu = r.mtuBytes;
    if (mtu !== undefined) w.nest(RTA.METRICS, () => w.attrU32(RTAX_MTU, mtu));
  });
};

/** Adds the route or replaces the one with the same destination, table and metric. */
export const encodeRouteReplace = (r: Route): Uint8Array => encode(RTM_ROUTE.NEW, NLM_F.CREATE | NLM_F.REPLACE, r);
export const encodeRouteDel = (r: Route): Uint8Array => encode(RTM_ROUTE.DEL, 0, r);
export const encodeRouteDump = (family: Family): Uint8Array =>
  message(RTM_ROUTE.GET, NLM_F.REQUEST | NLM_F.DUMP, (w) =>
    w.u8(familyNumber(family)).u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u32(0),
  );
/** Which way a packet to `address` would go: answered with one route. */
export const encodeRouteGet = (address: string): Uint8Array => {
  const bytes = addressBytes(address);
  return message(RTM_ROUTE.GET, NLM_F.REQUEST | NLM_F.ACK, (w) => {
    w.u8(familyNumber(familyOf(address)))
      .u8(bytes.length * 8)
      .u8(0)
      .u8(0)
      .u8(0)
      .u8(0)
      .u8(0)
      .u8(0)
      .u32(0);
    w.attr(RTA.DST, bytes);
  });
};

const nameOf = (names: Readonly<Record<string, number>>, value: number): string =>
  Object.entries(names).find(([, v]) => v === value)?.[0] ?? String(value);

export const decodeRoute = (payload: Uint8Array): ReportedRoute => {
  const a = parseAttributes(payload.subarray(12));
  const bits = payload[1]!;
  const destination = a.get(RTA.DST);
  const gateway = a.get(RTA.GATEWAY);
  const source = a.get(RTA.PREFSRC);
  const metrics = parseAttributes(a.get(RTA.METRICS) ?? new Uint8Array());
  return {
    family: payload[0] === AF.INET ? "inet" : "inet6",
    destination: destination === undefined ? "default" : `${addressText(destination)}/${bits}`,
    gateway: gateway && addressText(gateway),
    linkIndex: readU32(a.get(RTA.OIF)),
    source: source && addressText(source),
    table: readU32(a.get(RTA.TABLE)) ?? payload[4]!,
    protocol: payload[5]!,
    metric: readU32(a.get(RTA.PRIORITY)) ?? 0,
    type: nameOf(TYPES, payload[7]!),
    scope: nameOf(SCOPES, payload[6]!),
    mtuBytes: readU32(metrics.get(RTAX_MTU)),
    onlink: ((payload[8] ?? 0) & RTNH_F_ONLINK) !== 0,
  };
};
