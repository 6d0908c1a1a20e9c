// The flags of `service create` and `service update`, named as Docker's.
import { type Command, Option } from "commander";
import { TswarmError } from "#base/errors.ts";
import { collect } from "#tsctl/output/list.ts";

/** Lists: with `--x` on create, with `--x-add` and `--x-rm` on update. */
const LISTS = [
  ["env", "<name=value>", "environment variable; without a value it is taken from here", "e"],
  ["label", "<key=value>", "label of the service", "l"],
  ["container-label", "<key=value>", "label of the containers"],
  ["constraint", "<expression>", 'where tasks may run: "node.labels.rack==a"'],
  ["placement-pref", "<spread=label>", 'spread evenly: "spread=node.labels.dc"'],
  ["network", "<network>", 'attach to a network: "backend" or "name=backend,alias=db,ip=10.0.0.10"'],
  ["publish", "<port>", 'publish a port: "8080:80/tcp" or "published=8080,target=80,mode=host"', "p"],
  ["mount", "<mount>", '"type=bind,source=/a,target=/b,readonly" or "type=tmpfs,target=/t,tmpfs-size=64m"'],
  ["host", "<name:address>", "line in /etc/hosts"],
  ["dns", "<address>", "upstream name server"],
  ["dns-option", "<option>", "option in resolv.conf"],
  ["dns-search", "<domain>", "search domain"],
  ["sysctl", "<name=value>", "kernel parameter of the container"],
] as const;

const SCALARS = [
  ["--entrypoint <command>", "replaces the image's entrypoint"],
  ["-w, --workdir <path>", "working directory"],
  ["-u, --user <user>", "name or uid[:group or gid]"],
  ["--hostname <name>", "hostname of the containers"],
  ["--stop-signal <signal>", "first signal to stop a container"],
  ["--stop-grace-period <duration>", "time until it is killed (10s)"],
  ["--drain-timeout <duration>", "time for connections to end before that (10s)"],
  ["--limit-cpu <cpus>", "CPUs that a task may use"],
  ["--limit-memory <size>", "memory that a task may use"],
  ["--limit-pids <n>", "processes that a task may have"],
  ["--reserve-cpu <cpus>", "CPUs set aside for a task"],
  ["--reserve-memory <size>", "memory set aside for a task"],
  ["--replicas <n>", "number of tasks (1)"],
  ["--replicas-max-per-node <n>", "at most so many on one node (0: no limit)"],
  ["--endpoint-mode <mode>", "vip (default) or dnsrr"],
  ["--restart-condition <when>", "none, on-failure or any (default)"],
  ["--restart-delay <duration>", "wait before a restart (5s)"],
  ["--restart-max-attempts <n>", "give up after so many (0: never)"],
  ["--restart-window <duration>", "time in which attempts count"],
] as const;

const POLICY = [
  ["parallelism <n>", "tasks at once (1; 0: all)"],
  ["delay <duration>", "wait between batches (0s)"],
  ["monitor <duration>", "how long a new task is watched (5s)"],
  ["max-failure-ratio <ratio>", "share of tasks that may fail (0)"],
  ["order <order>", "stop-first (default) or start-first"],
] as const;

const BOOLEANS = [
  ["-t, --tty", "--no-tty", "give the containers a terminal"],
  ["--init", "--no-init", "an init process that reaps children"],
  ["--read-only", "--no-read-only", "root filesystem can't be written"],
] as const;

/** Docker's flags that this version can't carry out. They are refused by name, never ignored. */
const UNSUPPORTED = [
  "--secret <secret>",
  "--secret-add <secret>",
  "--secret-rm <secret>",
  "--config <config>",
  "--config-add <config>",
  "--config-rm <config>",
  "--health-cmd <command>",
  "--health-interval <duration>",
  "--health-timeout <duration>",
  "--health-retries <n>",
  "--health-start-period <duration>",
  "--health-start-interval <duration>",
  "--no-healthcheck",
  "--log-driver <driver>",
  "--log-opt <option>",
  "--ulimit <limit>",
  "--ulimit-add <limit>",
  "--ulimit-rm <limit>",
  "--group <group>",
  "--group-add <group>",
  "--group-rm <group>",
  "--generic-resource <resource>",
  "--generic-resource-add <resource>",
  "--generic-resource-rm <resource>",
  "--memory-swap <size>",
  "--memory-swappiness <n>",
  "--max-concurrent <n>",
  "--isolation <isolation>",
  "--credential-spec <spec>",
  "--oom-score-adj <n>",
  "--with-registry-auth",
  "--no-resolve-image",
] as const;

const refuseUnsupported = (flag: string) => () => {
  throw new TswarmError("unsupported", `${flag}: this version of tswarm does not support it. Leave it out.`, {
    issues: [{ field: flag, reason: "this version of tswarm does not support it", remedy: "Leave it out" }],
  });
};

const policyOptions = (command: Command, name: "update" | "rollback", actions: string) => {
  for (const [flag, text] of POLICY) command.option(`--${name}-${flag}`, `${name}: ${text}`);
  command.option(`--${name}-failure-action <action>`, `${name}: ${actions}`);
};

const commonOptions = (command: Command): Command => {
  for (const [flag, text] of SCALARS) command.option(flag, text);
  for (const flag of ["cap-add", "cap-drop"])
    command.option(
      `--${flag} <capability>`,
      `${flag === "cap-add" ? "add" : "drop"} a capability; repeatable`,
      collect,
      [],
    );
  policyOptions(command, "update", "pause (default), continue or rollback");
  policyOptions(command, "rollback", "pause (default) or continue");
  command.option("-d, --detach", "return at once, don't follow the tasks").option("-q, --quiet", "no progress");
  for (const flags of UNSUPPORTED) {
    const name = /--[a-z-]+/.exec(flags)![0];
    const option = new Option(flags).hideHelp();
    command.addOption(option);
    command.on(`option:${option.name()}`, refuseUnsupported(name));
    if (option.negate) command.on(`option:${option.name()}`, refuseUnsupported(name));
  }
  return command;
};

export const createOptions = (command: Command): Command => {
  command
    .option("--name <name>", "name of the service, and its DNS name")
    .option("--mode <mode>", "replicated")
    .option("--env-file <file>", "environment variables from a file; repeatable", collect, []);
  for (const [name, value, text, letter] of LISTS as readonly (readonly [string, string, string, string?])[])
    command.option(`${letter ? `-${letter}, ` : ""}--${name} ${value}`, `${text}; repeatable`, collect, []);
  for (const [flag, , text] of BOOLEANS) command.option(flag, text);
  return commonOptions(command);
};

export const updateOptions = (command: Command): Command => {
  command
    .option("--image <image>", "new image")
    .option("--args <command>", "replaces the arguments")
    .option("--force", "replace all tasks even if nothing changed")
    .option("--rollback", "go back to the previous spec");
  for (const [name, value, text] of LISTS) {
    const key = ["env", "label", "container-label", "sysctl"].includes(name)
      ? "<key>"
      : name === "mount" || name === "publish"
        ? "<target>"
        : value;
    command.option(`--${name}-add ${value}`, `add: ${text}; repeatable`, collect, []);
    command.option(`--${name}-rm ${key}`, `remove such a one; repeatable`, collect, []);
  }
  for (const [flag, negated, text] of BOOLEANS) command.option(flag, text).option(negated, `not: ${text}`);
  return commonOptions(command);
};
