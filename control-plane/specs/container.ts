import type { ContainerSpec } from "#proto/gen/types.ts";
import type { Issues } from "./issues.ts";
import { checkLabels } from "./names.ts";

/** Reference grammar of the OCI distribution specification: [domain[:port]/]path[:tag][@digest]. */
const COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const DOMAIN = "(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9-]+)*(?::\\d+)?/)?";
const IMAGE = new RegExp(`^${DOMAIN}${COMPONENT}(?:/${COMPONENT})*(?::[\\w][\\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`);
const ENV_NAME = /^[^=\0\s]+$/;
const HOSTNAME = /^[a-zA-Z0-9{](?:[a-zA-Z0-9.{}_-]*[a-zA-Z0-9}])?$/;
const SIGNAL = /^(?:SIG)?[A-Z][A-Z0-9+-]*$|^\d{1,2}$/;
const MAX_GRACE_MS = 24 * 3600 * 1000;

/** capabilities(7), without the prefix CAP_. */
const CAPABILITIES = new Set(
  `ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID
  IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW
  PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO
  SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`.split(/\s+/),
);

const checkMounts = (issues: Issues, spec: ContainerSpec): void => {
  const targets = new Set<string>();
  for (const [i, mount] of spec.mounts.entries()) {
    const path = `task.container.mounts[${i}]`;
    issues.check(
      mount.type === "bind" || mount.type === "tmpfs",
      `${path}.type`,
      `${JSON.stringify(mount.type)} is unknown`,
      "Use bind or tmpfs",
    );
    issues.check(
      mount.target.startsWith("/") && mount.target !== "/",
      `${path}.target`,
      `${JSON.stringify(mount.target)} is no place in the container`,
      "Use an absolute path other than /",
    );
    issues.check(!targets.has(mount.target), `${path}.target`, `${mount.target} is mounted twice`, "Mount it once");
    targets.add(mount.target);
    if (mount.type === "bind")
      issues.check(
        mount.source.startsWith("/"),
        `${path}.source`,
        `${JSON.stringify(mount.source)} is no absolute path`,
        "Use an absolute path on the node",
      );
    if (mount.type === "tmpfs")
      issues.check(mount.source === "", `${path}.source`, "a tmpfs has no source", "Leave it out");
  }
};

export const checkContainer = (issues: Issues, spec: ContainerSpec): void => {
  const at = "task.container";
  if (issues.check(spec.image !== "", `${at}.image`, "it is empty", "Name an image"))
    issues.check(
      IMAGE.test(spec.image),
      `${at}.image`,
      `${JSON.stringify(spec.image)} is no image reference`,
      "Write NAME[:TAG] in lower case, as in localhost/web:1",
    );
  for (const name of Object.keys(spec.env))
    issues.check(
      ENV_NAME.test(name),
      `${at}.env`,
      `${JSON.stringify(name)} is no name of a variable`,
      "Use a name without blanks and =",
    );
  if (spec.dir !== "")
    issues.check(spec.dir.startsWith("/"), `${at}.dir`, `${spec.dir} is relative`, "Use an absolute path");
  if (spec.hostname !== "")
    issues.check(
      HOSTNAME.test(spec.hostname) && spec.hostname.length <= 63,
      `${at}.hostname`,
      `${JSON.stringify(spec.hostname)} is no host name`,
      "Use letters, digits, . and -",
    );
  if (spec.stopSignal !== "")
    issues.check(
      SIGNAL.test(spec.stopSignal),
      `${at}.stopSignal`,
      `${spec.stopSignal} is no signal`,
      "Use a name as SIGTERM or a number",
    );
  issues.check(spec.stopGraceMs <= MAX_GRACE_MS, `${at}.stopGraceMs`, "it is longer than a day", "Use a shorter time");
  for (const field of ["capAdd", "capDrop"] as const)
    for (const cap of spec[field])
      issues.check(
        CAPABILITIES.has(cap.toUpperCase().replace(/^CAP_/, "")),
        `${at}.${field}`,
        `there is no capability ${cap}`,
        "See capabilities(7) for their names",
      );
  for (const key of Object.keys(spec.sysctls))
    issues.check(
      /^[a-z0-9_]+([./][a-zA-Z0-9_-]+)+$/.test(key),
      `${at}.sysctls`,
      `${JSON.stringify(key)} is no sysctl`,
      "Write it as net.ipv4.ip_forward",
    );
  checkLabels(issues, `${at}.labels`, spec.labels);
  checkMounts(issues, spec);
};
