// What containers can ask for on a network. Built from the node's view; no clock, no sockets.

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
  /** Found as `_<name>._<protocol>.<service>`. */
  readonly ports: readonly DnsPort[];
};

export type DnsPort = {
  readonly name: string;
  readonly protocol: "tcp" | "udp" | "sctp";
  /** Where the container listens. */
  readonly port: number;
};

export type DnsBackend = {
  /** Number of the replica; "" for a global service and for a container of its own. */
  readonly slot: string;
  /** Container name; "" for none beyond `<service>.<slot>`. */
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly taskId: string;
};
