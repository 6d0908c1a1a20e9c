// What the DNS server of one container knows. Built from the node's view; no clock, no sockets.

export type DnsZone = {
  /** Stack of the asking container; "" for none. Names of its own stack win over the same names of others. */
  readonly stack: string;
  /** The container's networks. A name found on an earlier one is not looked up on a later one. */
  readonly networks: readonly DnsNetwork[];
};

export type DnsNetwork = {
  readonly name: string;
  /** Other suffixes the network answers to, such as its name without the stack's prefix. */
  readonly aliases: readonly string[];
  /** Names that are not known are forwarded unless every network is internal. */
  readonly internal: boolean;
  readonly services: readonly DnsService[];
};

export type DnsService = {
  /** Full name, "shop_web". With `stack` "shop" it also answers to "web". A container of its own is a service of one backend. */
  readonly name: string;
  readonly stack: string;
  readonly aliases: readonly string[];
  readonly mode: "vip" | "dnsrr";
  /** "" for none. Ignored in mode dnsrr. */
  readonly vip4: string;
  readonly vip6: string;
  readonly backends: readonly DnsBackend[];
};

export type DnsBackend = {
  /** Number of the replica, or the node's name for a global service. "" for a container of its own. */
  readonly slot: string;
  /** Container name; "" for none beyond `<service>.<slot>`. */
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly taskId: string;
};
