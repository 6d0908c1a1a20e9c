// Options of networks (`--opt`), by driver: their names, what they may be, and what they mean. Managers refuse and store
// with `canonicalOptions`; whoever wires a network reads the stored ones with the typed functions below.
// Docker's names are the canonical ones where Docker has the option.

import { canonicalAddress, familyOf } from "#net/model/cidr.ts";
import { MAX_IFNAME_BYTES } from "#net/model/ifname.ts";

export type Options = Readonly<Record<string, string>>;
export type OptionIssue = { readonly option: string; readonly reason: string; readonly remedy: string };

const BRIDGE = "com.docker.network.bridge.";
const MTU = "com.docker.network.driver.mtu";
const VNI = "com.docker.network.driver.overlay.vxlanid_list";
const REPLICATE = "replicate";
const PARENT = "parent";
const HOST_ACCESS = "host-access";

const GATEWAY_MODES = ["nat", "routed"] as const;
const REPLICATIONS = ["none", "multicast", "broadcast", "all"] as const;
const MACVLAN_MODES = ["bridge", "private", "vepa", "passthru"] as const;
const IPVLAN_MODES = ["l2", "l3", "l3s"] as const;
const IPVLAN_FLAGS = ["bridge", "private", "vepa"] as const;

export type GatewayMode = (typeof GATEWAY_MODES)[number];
export type Replication = (typeof REPLICATIONS)[number];
export type MacvlanMode = (typeof MACVLAN_MODES)[number];
export type IpvlanMode = (typeof IPVLAN_MODES)[number];
export type IpvlanFlag = (typeof IPVLAN_FLAGS)[number];

/** 24 bits (RFC 7348); 0 is none. */
export const LAST_VNI = (1 << 24) - 1;

/** The value in the form that is stored, or why it is none. */
type Reading = { readonly value: string } | { readonly reason: string; readonly remedy: string };
type Reader = (value: string) => Reading;

const oneOf =
  (known: readonly string[]): Reader =>
  (value) =>
    known.includes(value)
      ? { value }
      : { reason: `${JSON.stringify(value)} is unknown`, remedy: `Use ${known.join(", ")}` };

/** Docker takes what Go's strconv.ParseBool takes. */
const yesOrNo: Reader = (value) => {
  if (/^(1|t|true)$/i.test(value)) return { value: "true" };
  if (/^(0|f|false)$/i.test(value)) return { value: "false" };
  return { reason: `${JSON.stringify(value)} is neither true nor false`, remedy: "Use true or false" };
};

const number =
  (what: string, first: number, last: number, hint = ""): Reader =>
  (value) =>
    /^\d{1,9}$/.test(value) && Number(value) >= first && Number(value) <= last
      ? { value: String(Number(value)) }
      : { reason: `${JSON.stringify(value)} is no ${what}`, remedy: `Use ${first} to ${last}${hint}` };

/** What the kernel takes as a name (dev_valid_name, net/core/dev.c). */
const isLinkName = (name: string): boolean =>
  name !== "" &&
  name !== "." &&
  name !== ".." &&
  name.length <= MAX_IFNAME_BYTES &&
  /^[^\s/:\0-\x20\x7f-\uffff]+$/.test(name);

const link: Reader = (value) => {
  if (!isLinkName(value))
    return {
      reason: `${JSON.stringify(value)} is no interface name`,
      remedy: "Use 1 to 15 characters without blanks, / and :",
    };
  const dot = value.lastIndexOf(".");
  if (dot > 0 && /^\d+$/.test(value.slice(dot + 1)) && vlanOf(value) === undefined)
    return { reason: `${value} asks for the VLAN ${value.slice(dot + 1)}`, remedy: "Use 1 to 4094" };
  return { value };
};

const bridgeName: Reader = (value) =>
  isLinkName(value) && !value.includes(".") && !/^ts[-0vme]/.test(value)
    ? { value }
    : {
        reason: `${JSON.stringify(value)} is no name for a bridge`,
        remedy: "Use 1 to 15 letters, digits, - and _ that do not begin like tswarm's own (ts-, ts0, tsv, tsm, tse)",
      };

const ipv4: Reader = (value) => {
  try {
    if (familyOf(value) === 4) return { value: canonicalAddress(value) };
  } catch {
    // Said below.
  }
  return {
    reason: `${JSON.stringify(value)} is no IPv4 address`,
    remedy: "Use an address of the nodes, or 0.0.0.0 for all",
  };
};

const vxlanId: Reader = (value) =>
  value.includes(",")
    ? { reason: "all subnets of a network share one VXLAN", remedy: "Give one VNI" }
    : number("VNI", 1, LAST_VNI)(value);

const mtu = number("MTU", 576, 65535, "; 1280 or more with IPv6");

const READERS: Readonly<Record<string, Readonly<Record<string, Reader>>>> = {
  bridge: {
    [`${BRIDGE}name`]: bridgeName,
    [`${BRIDGE}enable_icc`]: yesOrNo,
    [`${BRIDGE}enable_ip_masquerade`]: yesOrNo,
    [`${BRIDGE}host_binding_ipv4`]: ipv4,
    [`${BRIDGE}gateway_mode_ipv4`]: oneOf(GATEWAY_MODES),
    [`${BRIDGE}gateway_mode_ipv6`]: oneOf(GATEWAY_MODES),
    [MTU]: mtu,
  },
  overlay: { [MTU]: mtu, [VNI]: vxlanId, [REPLICATE]: oneOf(REPLICATIONS) },
  macvlan: { [PARENT]: link, macvlan_mode: oneOf(MACVLAN_MODES), [HOST_ACCESS]: yesOrNo, [MTU]: mtu },
  ipvlan: { [PARENT]: link, ipvlan_mode: oneOf(IPVLAN_MODES), ipvlan_flag: oneOf(IPVLAN_FLAGS), [MTU]: mtu },
};

/** Drivers of which users can make networks; `none` and `host` are in every cluster. */
export const CREATABLE_DRIVERS: readonly string[] = Object.keys(READERS);

const SHORT: Readonly<Record<string, string>> = {
  mtu: MTU,
  vxlanid: VNI,
  "bridge-name": `${BRIDGE}name`,
  icc: `${BRIDGE}enable_icc`,
  "ip-masquerade": `${BRIDGE}enable_ip_masquerade`,
  "host-binding-ipv4": `${BRIDGE}host_binding_ipv4`,
  "gateway-mode-ipv4": `${BRIDGE}gateway_mode_ipv4`,
  "gateway-mode-ipv6": `${BRIDGE}gateway_mode_ipv6`,
};

/** Docker's options that are refused with their own reason. */
const REFUSED: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
  encrypted: [
    "encrypted networks are not supported by this version",
    "Leave it out; traffic between nodes is not encrypted then",
  ],
  "com.docker.network.enable_ipv4": ["this is no option of the driver", "Use --ipv4 or --no-ipv4"],
  "com.docker.network.enable_ipv6": ["this is no option of the driver", "Use --ipv6"],
  "com.docker.network.container_iface_prefix": [
    "interfaces are named by the attachment",
    "Use --network name=…,interface-name=… when you make a service",
  ],
  [`${BRIDGE}default_bridge`]: ["every cluster has its default bridge", "Use the network bridge"],
};

/** `parent@HOSTNAME` or `parent@LABEL:VALUE` */
const isNodeParent = (option: string): boolean => /^parent@[^\s@]+$/.test(option) && !/^parent@(:|.*:$)/.test(option);

/** Names of the options that a driver has, as `--opt` takes them. */
export const knownOptions = (driver: string): string[] => {
  const known = Object.keys(READERS[driver] ?? {});
  return known.includes(PARENT) ? [...known, "parent@HOSTNAME", "parent@LABEL:VALUE"] : known;
};

/**
 * Options as users write them to options as they are stored: canonical names and values. Every problem is in `issues`,
 * under the name that the user wrote.
 */
export const canonicalOptions = (
  driver: string,
  given: Options,
): { readonly options: Record<string, string>; readonly issues: readonly OptionIssue[] } => {
  const readers = READERS[driver] ?? {};
  const options: Record<string, string> = {};
  const issues: OptionIssue[] = [];
  for (const [option, written] of Object.entries(given)) {
    const name = SHORT[option] ?? option;
    const reader = readers[name] ?? (PARENT in readers && isNodeParent(name) ? link : undefined);
    const refusal = REFUSED[name];
    if (refusal !== undefined) issues.push({ option, reason: refusal[0], remedy: refusal[1] });
    else if (reader === undefined)
      issues.push({
        option,
        reason: `driver ${driver} has no such option`,
        remedy: `Known are: ${knownOptions(driver).join(", ")}`,
      });
    else if (name in options)
      issues.push({ option, reason: `it is ${name}, which is given already`, remedy: "Give it once" });
    else {
      const reading = reader(written);
      if ("value" in reading) options[name] = reading.value;
      else issues.push({ option, ...reading });
    }
  }
  if (PARENT in readers && issues.length === 0 && !Object.keys(options).some((o) => o.split("@", 1)[0] === PARENT))
    issues.push({
      option: PARENT,
      reason: `driver ${driver} needs the interface that its containers share`,
      remedy: "Give --opt parent=eth0, or parent@HOSTNAME=eth0 for single nodes",
    });
  return { options, issues };
};

const mtuOf = (options: Options): number => Number(options[MTU] ?? 0);

export type BridgeOptions = {
  /** Name of the link; empty: derived from the network's id. */
  readonly name: string;
  /** Containers of the network reach each other. */
  readonly icc: boolean;
  /** What leaves the host has the host's address; in mode nat only. */
  readonly masquerade: boolean;
  /** Published ports listen here unless they say otherwise; empty: on every address. */
  readonly hostBindingIpv4: string;
  /** routed: no translation; the network around must know the way to the subnet. */
  readonly gatewayModeIpv4: GatewayMode;
  readonly gatewayModeIpv6: GatewayMode;
  /** 0: not asked for. */
  readonly mtuBytes: number;
};

export const bridgeOptions = (options: Options): BridgeOptions => ({
  name: options[`${BRIDGE}name`] ?? "",
  icc: options[`${BRIDGE}enable_icc`] !== "false",
  masquerade: options[`${BRIDGE}enable_ip_masquerade`] !== "false",
  hostBindingIpv4: options[`${BRIDGE}host_binding_ipv4`] ?? "",
  gatewayModeIpv4: chosen(GATEWAY_MODES, options[`${BRIDGE}gateway_mode_ipv4`]),
  gatewayModeIpv6: chosen(GATEWAY_MODES, options[`${BRIDGE}gateway_mode_ipv6`]),
  mtuBytes: mtuOf(options),
});

export type OverlayOptions = {
  /** Of the containers' interfaces; 0: what the way to the peers allows. */
  readonly mtuBytes: number;
  /** Asked for; 0: any free one. */
  readonly vni: number;
  /** Which frames with many receivers are copied to every node of the network: by the sender, one copy each. */
  readonly replicate: Replication;
};

export const overlayOptions = (options: Options): OverlayOptions => ({
  mtuBytes: mtuOf(options),
  vni: Number(options[VNI] ?? 0),
  replicate: chosen(REPLICATIONS, options[REPLICATE]),
});

export type MacvlanOptions = {
  readonly mode: MacvlanMode;
  /** The host reaches the containers that it runs, which macvlan alone does not allow. */
  readonly hostAccess: boolean;
  /** 0: the parent's. */
  readonly mtuBytes: number;
};

export const macvlanOptions = (options: Options): MacvlanOptions => ({
  mode: chosen(MACVLAN_MODES, options.macvlan_mode),
  hostAccess: options[HOST_ACCESS] === "true",
  mtuBytes: mtuOf(options),
});

export type IpvlanOptions = {
  /** l3 and l3s: the parent routes, so that a container's default route has no gateway. */
  readonly mode: IpvlanMode;
  readonly flag: IpvlanFlag;
  /** 0: the parent's. */
  readonly mtuBytes: number;
};

export const ipvlanOptions = (options: Options): IpvlanOptions => ({
  mode: chosen(IPVLAN_MODES, options.ipvlan_mode),
  flag: chosen(IPVLAN_FLAGS, options.ipvlan_flag),
  mtuBytes: mtuOf(options),
});

/** The first of `known` is the default. */
const chosen = <T extends string>(known: readonly [T, ...T[]], value: string | undefined): T =>
  known.find((k) => k === value) ?? known[0];

/** Containers of the driver share an interface of their node. */
export const needsParent = (driver: string): boolean => PARENT in (READERS[driver] ?? {});

/**
 * The parent interface on one node: that for its hostname, else that for one of its labels (of several the first in
 * alphabetical order), else the one for all nodes. Undefined: the network can't be on this node.
 */
export const parentFor = (
  options: Options,
  node: { readonly hostname: string; readonly labels: Readonly<Record<string, string>> },
): string | undefined => {
  const own = options[`${PARENT}@${node.hostname}`];
  if (own !== undefined) return own;
  for (const option of Object.keys(options).sort()) {
    const label = /^parent@([^:]+):(.+)$/.exec(option);
    if (label !== null && Object.hasOwn(node.labels, label[1]!) && node.labels[label[1]!] === label[2])
      return options[option];
  }
  return options[PARENT];
};

/** "eth0.50": the VLAN 50 of eth0, a link that is made when it is missing. Undefined: a link of its own. */
export const vlanOf = (parent: string): { readonly parent: string; readonly id: number } | undefined => {
  const match = /^(.+)\.(\d{1,4})$/.exec(parent);
  const id = Number(match?.[2] ?? 0);
  return match === null || id < 1 || id > 4094 ? undefined : { parent: match[1]!, id };
};
