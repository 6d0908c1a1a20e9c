// One entry of `networks:`: a network of the stack, or one that exists already.

import { entries, fields, flag, items, note, oneOf, pairs, text, type Value } from "#control-plane/stack/reader.ts";
import { STACK_LABEL } from "#control-plane/stack/service.ts";
import { NetworkSpec } from "#proto/gen/types.ts";

export type StackNetwork = {
  readonly name: string;
  /** Without: the network is external, the stack neither makes nor removes it. */
  readonly spec: NetworkSpec | undefined;
};

const NETWORK_KEYS = [
  "name",
  "external",
  "driver",
  "driver_opts",
  "attachable",
  "internal",
  "enable_ipv4",
  "enable_ipv6",
  "labels",
  "ipam",
] as const;

const ipam = (v: Value | undefined) => {
  const f = v ? fields(v, ["driver", "config"]) : {};
  oneOf(f.driver, { default: true }, true);
  return items(f.config).map((item) => {
    const c = fields(item, ["subnet", "gateway", "ip_range", "aux_addresses"]);
    if (text(c.subnet) === "") note(item, "has no subnet", 'Write it like "subnet: 10.77.0.0/24"');
    return {
      subnet: text(c.subnet),
      gateway: text(c.gateway),
      range: text(c.ip_range),
      reserved: pairs(c.aux_addresses),
    };
  });
};

export const stackNetwork = (key: string, v: Value, stack: string): StackNetwork => {
  const f = fields(v, NETWORK_KEYS);
  // `external: { name: … }` is the form of version 3.4 and older.
  const mapped = f.external !== undefined && typeof f.external.raw === "object" && f.external.raw !== null;
  const oldName = mapped ? text(fields(f.external!, ["name"]).name) : "";
  if (mapped || flag(f.external)) {
    for (const [other, at] of entries(v))
      if (other !== "name" && other !== "external")
        note(at, "does not go with external: true, which takes the network as it is", "Remove one of the two");
    return { name: text(f.name) || oldName || key, spec: undefined };
  }
  const name = text(f.name) || `${stack}_${key}`;
  return {
    name,
    spec: NetworkSpec.fromPartial({
      annotations: { name, labels: { ...pairs(f.labels), [STACK_LABEL]: stack } },
      driver: text(f.driver) || "overlay",
      options: pairs(f.driver_opts),
      attachable: flag(f.attachable),
      internal: flag(f.internal),
      ipv4: f.enable_ipv4 === undefined || flag(f.enable_ipv4),
      ipv6: flag(f.enable_ipv6),
      ipam: ipam(f.ipam),
    }),
  };
};
