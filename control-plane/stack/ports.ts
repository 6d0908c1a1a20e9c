// `ports:` of a service: Compose's short texts and its long mappings.
import { PORT_REMEDY, pairRanges, parsePortRange, parseShortPort } from "#control-plane/specs/port-text.ts";
import { MODES, PROTOCOLS } from "#control-plane/specs/ports.ts";
import { fields, items, note, oneOf, text, type Value } from "#control-plane/stack/reader.ts";
import { type PortConfig, PortMode, PortProtocol } from "#proto/gen/types.ts";

const shortPort = (v: Value): PortConfig[] => {
  const read = parseShortPort(text(v));
  if (typeof read !== "string") return read;
  note(v, read, PORT_REMEDY);
  return [];
};

const range = (v: Value | undefined) => {
  const written = text(v);
  if (v === undefined || written === "") return undefined;
  const read = parsePortRange(written);
  if (read === undefined) note(v, `"${written}" is not a port`, 'Write it like 8080 or "8000-8010"');
  return read;
};

const longPort = (v: Value): PortConfig[] => {
  const f = fields(v, ["target", "published", "protocol", "mode", "host_ip", "name"]);
  if (text(f.target) === "") note({ ...v, path: `${v.path}.target` }, "is missing", "Name the port in the container");
  const target = range(f.target);
  const published = range(f.published);
  const rest = {
    name: text(f.name),
    protocol: oneOf(f.protocol, PROTOCOLS, PortProtocol.TCP),
    mode: oneOf(f.mode, MODES, PortMode.INGRESS),
    hostIp: text(f.host_ip),
  };
  if (target === undefined) return [];
  const read = pairRanges(published, target, rest);
  if (read === undefined)
    note(v, "the ranges of published and target have different sizes", "Publish as many ports as there are targets");
  return read ?? [];
};

export const ports = (v: Value | undefined): PortConfig[] =>
  items(v).flatMap((item) => (typeof item.raw === "object" && item.raw !== null ? longPort(item) : shortPort(item)));
