// Everything that the agent is told, as flags. The same flags on a real host and in a test cluster.
import { join } from "node:path";
import { parseArgs } from "node:util";

export type AgentConfig = {
  /** Identity, raft log, images, tasks: survives a reboot. */
  readonly dataDir: string;
  /** Sockets and namespaces: gone after a reboot. */
  readonly runDir: string;
  readonly socket: string;
  /** Name below which the containers' cgroups are made. */
  readonly cgroupParent: string;
  readonly hostname: string | undefined;
  /** A node that is in a cluster already is reached there from now on; empty: as before. */
  readonly advertiseAddr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly logLevel: "debug" | "info" | "warn" | "error";
};

const HELP = `Usage: tswarm-agent [--data-dir DIR] [--run-dir DIR] [--socket PATH] [--cgroup-parent NAME] [--hostname NAME]
                    [--label KEY=VALUE]... [--advertise-addr ADDRESS[:PORT]] [--log-level debug|info|warn|error]

Runs a node of a tswarm cluster. Then, on this host: tsctl cluster init, or tsctl cluster join.
  --data-dir       identity, raft log, images and tasks (default /var/lib/tswarm)
  --run-dir        sockets and network namespaces (default /run/tswarm)
  --socket         where tsctl reaches this agent (default RUN-DIR/tswarm.sock)
  --cgroup-parent  cgroup below which the containers run (default tswarm)
  --hostname       name of the node (default: the host's)
  --advertise-addr of a node that is in a cluster: where the others reach it from now on
  --label          engine label for placement constraints, may be repeated`;

export const parseAgentConfig = (argv: readonly string[]): AgentConfig => {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      "data-dir": { type: "string", default: "/var/lib/tswarm" },
      "run-dir": { type: "string", default: "/run/tswarm" },
      socket: { type: "string" },
      "cgroup-parent": { type: "string", default: "tswarm" },
      hostname: { type: "string" },
      "advertise-addr": { type: "string", default: "" },
      label: { type: "string", multiple: true, default: [] },
      "log-level": { type: "string", default: "info" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    process.exit(0);
  }
  const labels: Record<string, string> = {};
  for (const label of values.label) {
    const at = label.indexOf("=");
    if (at < 1) throw new Error(`--label ${label}: not KEY=VALUE`);
    labels[label.slice(0, at)] = label.slice(at + 1);
  }
  return {
    dataDir: values["data-dir"],
    runDir: values["run-dir"],
    socket: values.socket ?? join(values["run-dir"], "tswarm.sock"),
    cgroupParent: values["cgroup-parent"],
    hostname: values.hostname,
    advertiseAddr: values["advertise-addr"],
    labels,
    logLevel: values["log-level"] as AgentConfig["logLevel"],
  };
};
