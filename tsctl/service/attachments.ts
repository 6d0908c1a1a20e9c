// The structured flags: --network and --mount, as comma-separated key=value fields.
import type { Issue } from "#base/errors.ts";
import { parseSize, splitPair } from "#control-plane/stack/quantities.ts";
import { type Mount, NetworkAttachmentConfig } from "#proto/gen/types.ts";

/** "backend", or "name=backend,alias=db,alias=database". */
export const parseNetwork = (flag: string, written: string, issues: Issue[]): NetworkAttachmentConfig => {
  if (!written.includes("=")) return NetworkAttachmentConfig.fromPartial({ target: written });
  const out = NetworkAttachmentConfig.fromPartial({});
  for (const field of written.split(",")) {
    const [key, value] = splitPair(field);
    if (key === "name") out.target = value;
    else if (key === "alias") out.aliases.push(value);
    else
      issues.push({ field: flag, reason: `"${key}" is not supported in "${written}"`, remedy: "Use name and alias" });
  }
  if (out.target === "")
    issues.push({ field: flag, reason: `"${written}" names no network`, remedy: "Begin with name=…" });
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
