// The flags of `tsctl run`, named as Docker's.
import type { Command } from "commander";
import { Option } from "commander";
import { TswarmError } from "#base/errors.ts";
import { collect } from "#tsctl/output/list.ts";

type Lists =
  | "addHost"
  | "capAdd"
  | "capDrop"
  | "dns"
  | "dnsOption"
  | "dnsSearch"
  | "env"
  | "envFile"
  | "label"
  | "mount"
  | "network"
  | "networkAlias"
  | "publish"
  | "sysctl"
  | "tmpfs"
  | "volume";
type Scalars =
  | "cpus"
  | "entrypoint"
  | "hostname"
  | "ip"
  | "ip6"
  | "macAddress"
  | "memory"
  | "name"
  | "node"
  | "pidsLimit"
  | "restart"
  | "stopSignal"
  | "stopTimeout"
  | "user"
  | "workdir";
type Switches = "detach" | "init" | "readOnly" | "rm" | "tty";

export type RunFlags = { readonly [K in Lists]: readonly string[] } & { readonly [K in Scalars]?: string } & {
  readonly [K in Switches]?: boolean;
};

const LISTS = [
  ["--network <network>", 'attach to it: "backend" or "name=backend,ip=10.0.0.10,alias=db" (bridge)'],
  ["--network-alias <name>", "further name of the container on its network"],
  ["-p, --publish <port>", 'publish a port on its node: "8080:80/tcp"'],
  ["-e, --env <name=value>", "environment variable; without a value it is taken from here"],
  ["--env-file <file>", "environment variables from a file"],
  ["-v, --volume <source:target>", 'mount a path of the node: "/srv/data:/data:ro"'],
  ["--mount <mount>", '"type=bind,source=/a,target=/b,readonly" or "type=tmpfs,target=/t"'],
  ["--tmpfs <path>", 'empty memory: "/run" or "/run:size=64m"'],
  ["-l, --label <key=value>", "label of the container"],
  ["--add-host <name:address>", "line in /etc/hosts"],
  ["--dns <address>", "upstream name server"],
  ["--dns-option <option>", "option in resolv.conf"],
  ["--dns-search <domain>", "search domain"],
  ["--cap-add <capability>", "add a capability"],
  ["--cap-drop <capability>", "drop a capability"],
  ["--sysctl <name=value>", "kernel parameter of the container"],
] as const;

const SCALARS = [
  ["--name <name>", "name of the container, and its DNS name"],
  ["--node <node>", "where it runs: name, hostname or id (the node that answers)"],
  ["--ip <address>", "IPv4 address on its network"],
  ["--ip6 <address>", "IPv6 address on its network"],
  ["--mac-address <mac>", "MAC on its network"],
  ["--hostname <name>", "hostname (a part of the id)"],
  ["-u, --user <user>", "name or uid[:group or gid]"],
  ["-w, --workdir <path>", "working directory"],
  ["--entrypoint <command>", "replaces the image's entrypoint"],
  ["-m, --memory <size>", "memory that it may use"],
  ["--cpus <cpus>", "CPUs that it may use"],
  ["--pids-limit <n>", "processes that it may have"],
  ["--stop-signal <signal>", "first signal to stop it"],
  ["--stop-timeout <seconds>", "time until it is killed (10)"],
  ["--restart <policy>", "no: services are what is started again"],
] as const;

const SWITCHES = [
  ["-d, --detach", "print the id and return, don't follow the output"],
  ["--rm", "remove it when it has ended"],
  ["-t, --tty", "give it a terminal"],
  ["--init", "an init process that reaps children"],
  ["--read-only", "root filesystem can't be written"],
] as const;

/** Docker's flags that this version can't carry out, with what to do instead. They are refused by name, never ignored. */
const UNSUPPORTED: readonly (readonly [flags: string, remedy: string])[] = [
  ["-i, --interactive", "Start it with --detach and use `tsctl exec -it`"],
  ["-a, --attach <stream>", "Leave it out: output is shown unless --detach is given"],
  ["-P, --publish-all", "Name the ports with --publish"],
  ...[
    "--privileged",
    "--device <device>",
    "--gpus <gpus>",
    "--link <container>",
    "--volumes-from <container>",
    "--pid <mode>",
    "--ipc <mode>",
    "--uts <mode>",
    "--userns <mode>",
    "--cgroupns <mode>",
    "--security-opt <option>",
    "--ulimit <limit>",
    "--shm-size <size>",
    "--group-add <group>",
    "--log-driver <driver>",
    "--log-opt <option>",
    "--memory-swap <size>",
    "--memory-reservation <size>",
    "--cpuset-cpus <cpus>",
    "--cpu-shares <n>",
    "--oom-score-adj <n>",
    "--health-cmd <command>",
    "--platform <platform>",
    "--pull <policy>",
    "--cidfile <file>",
    "--domainname <name>",
  ].map((flags) => [flags, "Leave it out"] as const),
];

export const runOptions = (command: Command): Command => {
  for (const [flags, text] of SCALARS) command.option(flags, text);
  for (const [flags, text] of LISTS) command.option(flags, `${text}; repeatable`, collect, []);
  for (const [flags, text] of SWITCHES) command.option(flags, text);
  for (const [flags, remedy] of UNSUPPORTED) {
    const option = new Option(flags).hideHelp();
    const field = option.long!;
    command.addOption(option);
    command.on(`option:${option.name()}`, () => {
      const reason = "this version of tswarm does not support it";
      throw new TswarmError("unsupported", `${field}: ${reason}. ${remedy}.`, { issues: [{ field, reason, remedy }] });
    });
  }
  return command;
};
