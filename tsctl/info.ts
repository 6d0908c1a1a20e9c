import { NodeRole } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { renderFields } from "#tsctl/output/fields.ts";
import { humanMemory } from "#tsctl/output/human.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { enumName, plain } from "#tsctl/output/plain.ts";

export const info: Verb = (program, cli) =>
  inspectOptions(program.command("info").description("Show the node that answers")).action(
    async (options: InspectOptions) => {
      const answer = await (await cli.local()).info({});
      // `state` is a word here already.
      if (options.format !== undefined)
        return printInspect(cli, [{ ...(plain({ ...answer, state: "" }) as object), state: answer.state }], options);
      const d = answer.description;
      cli.out.write(
        renderFields([
          ["Node", answer.nodeId],
          ["Cluster", answer.clusterId],
          ["State", answer.state],
          ["Error", answer.error],
          ["Role", enumName(NodeRole, answer.role)],
          ["Address", answer.advertiseAddr],
          ["Managers", answer.managerAddrs.join(", ")],
          ["Hostname", d?.hostname],
          ["Platform", d && `${d.os}/${d.arch}, kernel ${d.kernel}`],
          ["CPUs", d?.resources && d.resources.nanoCpus / 1e9],
          ["Memory", d?.resources && humanMemory(d.resources.memoryBytes)],
          ["Missing", Object.fromEntries(Object.entries(d?.capabilities ?? {}).filter(([, why]) => why !== ""))],
          ["Containers running", answer.containersRunning],
          ["Agent", `version ${answer.version}, pid ${answer.agentPid}`],
          ["Manager pid", answer.managerPid || undefined],
        ]),
      );
    },
  );
