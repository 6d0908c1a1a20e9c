// Capabilities of a container: Docker's default set, changed by the user's cap_add and cap_drop.
import { refuse } from "#base/errors.ts";

/** linux/capability.h, in the kernel's order (number = index). */
export const ALL_CAPABILITIES: readonly string[] = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST " +
  "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE " +
  "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM " +
  "BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);

const DEFAULTS: ReadonlySet<string> = new Set(
  "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"
    .split(" ")
    .map((name) => `CAP_${name}`),
);

const normalize = (field: string, name: string): string => {
  const upper = name.toUpperCase();
  if (upper === "ALL") return upper;
  const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (!ALL_CAPABILITIES.includes(full))
    throw refuse(
      "invalid",
      field,
      `"${name}" is no capability`,
      "Use a name of capabilities(7) such as NET_ADMIN, or ALL",
    );
  return full;
};

/**
 * The container's capabilities in kernel order. A name in `add` wins over ALL in `drop`, a name in `drop` over ALL in `add`, and
 * `drop` wins when both name the same. `possible` are those the agent itself may give away.
 */
export const containerCapabilities = (
  add: readonly string[],
  drop: readonly string[],
  possible: readonly string[] = ALL_CAPABILITIES,
): string[] => {
  const added = new Set(add.map((name) => normalize("cap_add", name)));
  const dropped = new Set(drop.map((name) => normalize("cap_drop", name)));
  const base = added.has("ALL") ? new Set(possible) : dropped.has("ALL") ? new Set<string>() : DEFAULTS;
  const missing = [...added].filter((name) => name !== "ALL" && !possible.includes(name));
  if (missing.length > 0) {
    const reason = `this node can't give ${missing.join(", ")}: the agent does not have it itself`;
    throw refuse("unsupported", "cap_add", reason, "Give it to the agent or leave it out");
  }
  return ALL_CAPABILITIES.filter(
    (name) => (base.has(name) || added.has(name)) && !dropped.has(name) && possible.includes(name),
  );
};

/** The names in a mask as /proc/self/status shows it (CapBnd, hexadecimal). */
export const capabilitiesOfMask = (hex: string): string[] => {
  const mask = BigInt(`0x${hex}`);
  return ALL_CAPABILITIES.filter((_, bit) => (mask >> BigInt(bit)) & 1n);
};
