// Everything that the manager process is told, as arguments: the agent starts it.
import { parseArgs } from "node:util";

export type ManagerConfig = {
  /** Folder of the manager: raft log, snapshots, bootstrap file. */
  readonly dataDir: string;
  /** Folder with the node's key and certificates. */
  readonly identityDir: string;
  /** Unix socket on which the local agent reaches Control. */
  readonly socket: string;
  /** host:port to listen on for other nodes. */
  readonly listen: string;
  /** host:port under which the others reach this manager. */
  readonly advertise: string;
  /** Managers of the cluster to join, when there is no log yet; empty: a new cluster from the bootstrap file. */
  readonly join: readonly string[];
  readonly logLevel: "debug" | "info" | "warn" | "error";
};

export const parseManagerConfig = (argv: readonly string[]): ManagerConfig => {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      "data-dir": { type: "string" },
      "identity-dir": { type: "string" },
      socket: { type: "string" },
      listen: { type: "string" },
      advertise: { type: "string" },
      join: { type: "string", default: "" },
      "log-level": { type: "string", default: "info" },
    },
  });
  const need = (name: "data-dir" | "identity-dir" | "socket" | "listen" | "advertise"): string => {
    const value = values[name];
    if (value === undefined) throw new Error(`--${name} is missing`);
    return value;
  };
  return {
    dataDir: need("data-dir"),
    identityDir: need("identity-dir"),
    socket: need("socket"),
    listen: need("listen"),
    advertise: need("advertise"),
    join: values.join.split(",").filter((a) => a !== ""),
    logLevel: values["log-level"] as ManagerConfig["logLevel"],
  };
};
