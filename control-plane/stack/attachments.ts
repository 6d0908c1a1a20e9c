// `networks:` of a service: a list of names, or a mapping with addresses and names of each attachment.
import { OPTION_REMEDY, PINNED_REMEDY, parsePinned, setEndpointOption } from "#control-plane/specs/attachment-text.ts";
import {
  entries,
  fields,
  items,
  note,
  pairs,
  text,
  textOrTexts,
  texts,
  type Value,
} from "#control-plane/stack/reader.ts";
import { NetworkAttachmentConfig } from "#proto/gen/types.ts";

const KEYS = [
  "aliases",
  "ipv4_address",
  "ipv6_address",
  "mac_address",
  "interface_name",
  "gw_priority",
  "driver_opts",
] as const;

const pinned = (v: Value | undefined): string[] =>
  textOrTexts(v).flatMap((written) => {
    const read = parsePinned(written);
    if (read === undefined) note(v!, `"${written}" is not an address`, PINNED_REMEDY);
    return read ?? [];
  });

const priority = (v: Value | undefined): number => {
  const written = text(v);
  if (v === undefined || written === "") return 0;
  if (/^[+-]?\d+$/.test(written)) return Number(written);
  note(v, `"${written}" is not a whole number`, "Write one; the highest has the default route");
  return 0;
};

const configOf = (v: Value): NetworkAttachmentConfig => {
  const f = fields(v, KEYS);
  const config = NetworkAttachmentConfig.fromPartial({
    aliases: texts(f.aliases),
    ipv4: pinned(f.ipv4_address),
    ipv6: pinned(f.ipv6_address),
    mac: text(f.mac_address),
    interfaceName: text(f.interface_name),
    gatewayPriority: priority(f.gw_priority),
  });
  for (const [key, value] of Object.entries(pairs(f.driver_opts)))
    if (!setEndpointOption(config, key, value)) note(f.driver_opts!, `there is no option ${key}`, OPTION_REMEDY);
  return config;
};

/**
 * The service answers to `short` on each of its networks, and is on the stack's default network when it names none.
 * `names`: of a network in the file to its name in the cluster.
 */
export const attachments = (
  v: Value | undefined,
  short: string,
  names: ReadonlyMap<string, string>,
): NetworkAttachmentConfig[] => {
  const attach = (name: string, at: Value | undefined, config: NetworkAttachmentConfig): NetworkAttachmentConfig => {
    const target = names.get(name);
    if (target === undefined && at)
      note(at, `network "${name}" is not in this file`, "Add it under networks, with external: true if it exists");
    return { ...config, target: target ?? name, aliases: [...new Set([short, ...config.aliases])] };
  };
  const blank = NetworkAttachmentConfig.fromPartial({});
  const none = v === undefined || v.raw === null || (Array.isArray(v.raw) && v.raw.length === 0);
  if (none) return [attach("default", undefined, blank)];
  if (Array.isArray(v.raw)) return items(v).map((item) => attach(text(item), item, blank));
  return entries(v).map(([name, value]) => attach(name, value, configOf(value)));
};
