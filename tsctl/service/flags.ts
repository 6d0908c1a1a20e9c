// What the flags of `service create` and `service update` hold once parsed; keys as commander makes them.

type Scalars =
  | "name"
  | "mode"
  | "image"
  | "args"
  | "entrypoint"
  | "workdir"
  | "user"
  | "hostname"
  | "stopSignal"
  | "stopGracePeriod"
  | "drainTimeout"
  | "limitCpu"
  | "limitMemory"
  | "limitPids"
  | "reserveCpu"
  | "reserveMemory"
  | "replicas"
  | "replicasMaxPerNode"
  | "endpointMode"
  | "restartCondition"
  | "restartDelay"
  | "restartMaxAttempts"
  | "restartWindow";

export type PolicyKey = "Parallelism" | "Delay" | "Monitor" | "MaxFailureRatio" | "Order" | "FailureAction";

export type ListKey =
  | "env"
  | "label"
  | "containerLabel"
  | "constraint"
  | "placementPref"
  | "network"
  | "publish"
  | "mount"
  | "host"
  | "dns"
  | "dnsOption"
  | "dnsSearch"
  | "sysctl";

export type ServiceFlags = { readonly [K in Scalars | `update${PolicyKey}` | `rollback${PolicyKey}`]?: string } & {
  readonly [K in ListKey | `${ListKey}Add` | `${ListKey}Rm` | "capAdd" | "capDrop" | "envFile"]?: readonly string[];
} & { readonly [K in "tty" | "init" | "readOnly" | "force" | "rollback" | "detach" | "quiet"]?: boolean };

/** "updateMaxFailureRatio" is written "--update-max-failure-ratio". */
export const flagName = (key: string): string => `--${key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
