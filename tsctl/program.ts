// All commands of tsctl, in the groups of its help.
import { Command, CommanderError } from "commander";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { clusterBackup } from "#tsctl/cluster/backup.ts";
import { clusterInit } from "#tsctl/cluster/init.ts";
import { clusterJoin } from "#tsctl/cluster/join.ts";
import { clusterJoinToken } from "#tsctl/cluster/join-token.ts";
import { clusterLeave } from "#tsctl/cluster/leave.ts";
import { clusterRecover } from "#tsctl/cluster/recover.ts";
import { clusterRestore } from "#tsctl/cluster/restore.ts";
import { clusterStatus } from "#tsctl/cluster/status.ts";
import { clusterUnlock } from "#tsctl/cluster/unlock.ts";
import { clusterUnlockKey } from "#tsctl/cluster/unlock-key.ts";
import { clusterUpdate } from "#tsctl/cluster/update.ts";
import { containerInspect } from "#tsctl/container/inspect.ts";
import { containerPs } from "#tsctl/container/ps.ts";
import { containerRm } from "#tsctl/container/rm.ts";
import { containerRun, RUN_TEXT } from "#tsctl/container/run.ts";
import { containerStop } from "#tsctl/container/stop.ts";
import { contextCreate } from "#tsctl/context/create.ts";
import { contextLs } from "#tsctl/context/ls.ts";
import { contextShow } from "#tsctl/context/show.ts";
import { contextUse } from "#tsctl/context/use.ts";
import { exec } from "#tsctl/exec.ts";
import { imageLoad } from "#tsctl/image/load.ts";
import { imageLs } from "#tsctl/image/ls.ts";
import { imageRm } from "#tsctl/image/rm.ts";
import { imageTag } from "#tsctl/image/tag.ts";
import { info } from "#tsctl/info.ts";
import { netDoctor } from "#tsctl/net/doctor.ts";
import { networkConnect } from "#tsctl/network/connect.ts";
import { networkCreate } from "#tsctl/network/create.ts";
import { networkDisconnect } from "#tsctl/network/disconnect.ts";
import { networkInspect } from "#tsctl/network/inspect.ts";
import { networkLs } from "#tsctl/network/ls.ts";
import { networkPrune } from "#tsctl/network/prune.ts";
import { networkRm } from "#tsctl/network/rm.ts";
import { networkUpdate } from "#tsctl/network/update.ts";
import { nodeDemote } from "#tsctl/node/demote.ts";
import { nodeInspect } from "#tsctl/node/inspect.ts";
import { nodeLs } from "#tsctl/node/ls.ts";
import { nodePromote } from "#tsctl/node/promote.ts";
import { nodePs } from "#tsctl/node/ps.ts";
import { nodeRm } from "#tsctl/node/rm.ts";
import { nodeUpdate } from "#tsctl/node/update.ts";
import { serviceCreate } from "#tsctl/service/create.ts";
import { serviceInspect } from "#tsctl/service/inspect.ts";
import { serviceLogs } from "#tsctl/service/logs.ts";
import { serviceLs } from "#tsctl/service/ls.ts";
import { servicePs } from "#tsctl/service/ps.ts";
import { serviceRm } from "#tsctl/service/rm.ts";
import { serviceRollback } from "#tsctl/service/rollback.ts";
import { serviceScale } from "#tsctl/service/scale.ts";
import { serviceUpdate } from "#tsctl/service/update.ts";
import { serviceWait } from "#tsctl/service/wait.ts";
import { stackConfig } from "#tsctl/stack/config.ts";
import { stackDeploy } from "#tsctl/stack/deploy.ts";
import { stackLs } from "#tsctl/stack/ls.ts";
import { stackPs } from "#tsctl/stack/ps.ts";
import { stackRm } from "#tsctl/stack/rm.ts";
import { stackServices } from "#tsctl/stack/services.ts";
import { version } from "#tsctl/version.ts";

type Noun = { readonly name: string; readonly text: string; readonly group: string; readonly verbs: readonly Verb[] };

const NOUNS: readonly Noun[] = [
  {
    name: "service",
    text: "Run images as services",
    group: "Workloads:",
    verbs: [
      serviceCreate,
      serviceLs,
      servicePs,
      serviceInspect,
      serviceLogs,
      serviceScale,
      serviceUpdate,
      serviceRollback,
      serviceWait,
      serviceRm,
    ],
  },
  {
    name: "stack",
    text: "Networks and services from a stack file",
    group: "Workloads:",
    verbs: [stackDeploy, stackLs, stackPs, stackServices, stackRm, stackConfig],
  },
  {
    name: "network",
    text: "Networks that connect services",
    group: "Networks and images:",
    verbs: [
      networkCreate,
      networkLs,
      networkInspect,
      networkUpdate,
      networkConnect,
      networkDisconnect,
      networkRm,
      networkPrune,
    ],
  },
  {
    name: "net",
    text: "What the nodes' kernels make of the networks",
    group: "Networks and images:",
    verbs: [netDoctor],
  },
  {
    name: "image",
    text: "Images on the node that answers",
    group: "Networks and images:",
    verbs: [imageLoad, imageLs, imageTag, imageRm],
  },
  {
    name: "cluster",
    text: "Make, join and leave a cluster",
    group: "Cluster:",
    verbs: [
      clusterInit,
      clusterJoin,
      clusterLeave,
      clusterJoinToken,
      clusterUpdate,
      clusterUnlock,
      clusterUnlockKey,
      clusterStatus,
      clusterBackup,
      clusterRestore,
      clusterRecover,
    ],
  },
  {
    name: "node",
    text: "The hosts of the cluster",
    group: "Cluster:",
    verbs: [nodeLs, nodeInspect, nodePs, nodeUpdate, nodePromote, nodeDemote, nodeRm],
  },
  {
    name: "context",
    text: "Which cluster tsctl talks to",
    group: "This command:",
    verbs: [contextShow, contextLs, contextUse, contextCreate],
  },
];

const EXAMPLES = `
Examples:
  tsctl node ls
  tsctl network create --driver overlay --subnet 10.77.0.0/24 backend
  tsctl service create --name web --network backend --replicas 6 localhost/web:1
  tsctl service ps web
  tsctl exec client.1 curl -s http://web/
  tsctl service update --image localhost/web:2 web
  tsctl stack deploy -c deploy/stacks/demo.yaml demo

Lists take --format json, --format "{{.Name}}", -q, --filter and --no-trunc.
tsctl COMMAND --help tells more. tsctl context shows which cluster this talks to.`;

/**
 * The commands that `args` can mean: verbs of a noun that is not in them are left out, because to set up the flags of
 * forty verbs takes longer than most verbs run.
 */
export const makeProgram = (cli: Cli, args: readonly string[]): Command => {
  const program = new Command("tsctl")
    .description("Control a tswarm cluster: services on several hosts, and the networks between them.")
    .option("-H, --host <address>", "unix:/path or host:port of the agent or manager to talk to")
    .option("-c, --context <name>", "a saved context")
    .option("-v, --version", "show the version")
    .on("option:version", () => {
      cli.out.write(`${cli.version()}\n`);
      throw new CommanderError(0, "commander.version", "");
    })
    .helpOption("-h, --help", "show help")
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => cli.out.write(text),
      writeErr: (text) => cli.err.write(text),
      outputError: (text, write) => write(`tsctl: ${text.replace(/^error: /, "")}`),
    })
    .showHelpAfterError("See --help.")
    .addHelpText("after", EXAMPLES);

  program.commandsGroup("Workloads:");
  for (const { name, text, group, verbs } of NOUNS) {
    const noun = program.command(name).description(text).helpGroup(group).helpCommand(false);
    if (args.includes(name)) for (const verb of verbs) verb(noun, cli);
  }
  if (args.includes("run")) containerRun(program, cli);
  else program.command("run").description(RUN_TEXT);
  containerPs(program, cli);
  containerInspect(program, cli);
  containerStop(program, cli);
  containerRm(program, cli);
  exec(program, cli);
  serviceLogs(program, cli);
  program.commandsGroup("This command:");
  info(program, cli);
  version(program, cli);
  return program;
};
