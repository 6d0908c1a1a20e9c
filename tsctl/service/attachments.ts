// The structured flags: --network and --mount, as comma-separated key=value fields.
import type { Issue } from "#base/errors.ts";
import {
  OPTION_REMEDY,
  PINNED_REMEDY,
  parsePinned,
  setEndpointOption,
  setSysctl,
} from "#control-plane/specs/attachment-text.ts";
import { parseSize, splitPair } from "#control-plane/stack/quantities.ts";
import { type Mount, NetworkAttachmentConfig } from "#proto/gen/types.ts";
import { splitFields } from "#tsctl/flags/csv.ts";

const NETWORK_KEYS = "name, alias, ip, ip6, mac-address, interface, gw-priority, driver-opt and sysctl";

/**
 * "backend", or "name=backend,alias=db,ip=10.0.0.10,ip6=fd00::a,mac-address=…,interface=data0,gw-priority=1,sysctl=…=1". `alias`, `ip`,
 * `ip6`, `driver-opt` and `sysctl` are repeatable; the n-th address is slot n's, "ip=10.0.0.10-10.0.0.19" names ten of them.
 */
export const parseNetwork = (flag: string, written: string, issues: Issue[]): NetworkAttachmentConfig => {
  const out = NetworkAttachmentConfig.fromPartial({});
  if (!written.includes("=")) return { ...out, target: written };
  const bad = (reason: string, remedy: string) => issues.push({ field: flag, reason, remedy });
  const addresses = (value: string): string[] => {
    const read = parsePinned(value);
    if (read === undefined) bad(`"${value}" is not an address`, PINNED_REMEDY);
    return read ?? [];
  };
  const set: Readonly<Record<string, (value: string) => unknown>> = {
    name: (value) => (out.target = value),
    alias: (value) => out.aliases.push(value),
    ip: (value) => out.ipv4.push(...addresses(value)),
    ip6: (value) => out.ipv6.push(...addresses(value)),
    "mac-address": (value) => (out.mac = value),
    interface: (value) => (out.interfaceName = value),
    "gw-priority": (value) => {
      if (/^[+-]?\d+$/.test(value)) out.gatewayPriority = Number(value);
      else bad(`"${value}" is not a whole number`, "Write one; the highest has the default route");
    },
    "driver-opt": (value) => {
      const [key, option] = splitPair(value);
      if (!setEndpointOption(out, key, option)) bad(`there is no option ${key}`, OPTION_REMEDY);
    },
    sysctl: (value) => setSysctl(out, value),
  };
  for (const field of splitFields(written)) {
    const [key, value] = splitPair(field);
    if (Object.hasOwn(set, key)) set[key]!(value);
    else bad(`"${key}" is not supported in "${written}"`, `Use ${NETWORK_KEYS}`);
  }
  if (out.target === "") bad(`"${written}" names no network`, "Begin with name=…");
  return out;
};

const yes = (value: string, given: boolean): boolean => (given ? value === "true" || value === "1" : true);

/** "type=bind,source=/a,target=/b,readonly", "type=tmpfs,target=/t,tmpfs-size=64m". */
export const parseMount = (flag: string, written: string, issues: Issue[]): Mount => {
  const out: Mount = { type: "volume", source: "", target: "", readOnly: false, tmpfsSizeBytes: 0 };
  const bad = (reason: string, remedy: string) => issues.push({ field: flag, reason, remedy });
  for (const field of written.split(",")) {
    const [key, value] = splitPair(field);
    if (key === "type") out.type = value;
    else if (key === "source" || key === "src") out.source = value;
    else if (key === "target" || key === "dst" || key === "destination") out.target = value;
    else if (key === "readonly" || key === "ro") out.readOnly = yes(value, field.includes("="));
    else if (key === "tmpfs-size") {
      out.tmpfsSizeBytes = parseSize(value) ?? 0;
      if (parseSize(value) === undefined) bad(`"${value}" is not a size`, 'Write it like "64m"');
    } else bad(`"${key}" is not supported in "${written}"`, "Use type, source, target, readonly and tmpfs-size");
  }
  if (out.type !== "bind" && out.type !== "tmpfs")
    bad(`mounts of type ${out.type} are not supported by this version`, "Use type=bind or type=tmpfs");
  if (!out.target.startsWith("/"))
    bad(`"${written}" has no absolute target`, "Name the path in the container: target=/path");
  if (out.type === "bind" && !out.source.startsWith("/"))
    bad(`"${written}" has no absolute source`, "Name the path on the host: source=/path");
  if (out.type === "tmpfs" && out.source !== "") bad("a tmpfs has no source", "Leave source out");
  return out;
};
