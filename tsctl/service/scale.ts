import { type Issue, refuseAll } from "#base/errors.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import { type Service, ServiceSpec } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { flagReader } from "#tsctl/flags/amounts.ts";
import { changeService } from "#tsctl/service/change.ts";
import { followService } from "#tsctl/service/follow.ts";

/** "web=3" items; throws `invalid` naming every wrong one. */
export const parseScales = (written: readonly string[]): [string, number][] => {
  const read = flagReader();
  const issues: Issue[] = read.issues;
  const out = written.map((item): [string, number] => {
    const [name, count] = splitPair(item);
    if (name === "" || count === "") {
      issues.push({ field: item, reason: "is not a scale", remedy: 'Write it like "web=3"' });
      return [name, 0];
    }
    return [name, read.count(item, count) ?? 0];
  });
  refuseAll("The command", issues);
  return out;
};

export const serviceScale: Verb = (noun, cli) =>
  noun
    .command("scale")
    .description("Set the number of tasks of services")
    .argument("<service=replicas...>", 'like "web=30"')
    .option("-d, --detach", "return at once, don't follow the tasks")
    .option("-q, --quiet", "no progress")
    .action(async (written: string[], options: { detach?: true; quiet?: true }) => {
      const changed: Service[] = [];
      for (const [ref, replicas] of parseScales(written)) {
        changed.push(
          await changeService(cli, ref, ({ spec }) => ({ spec: { ...ServiceSpec.fromPartial(spec ?? {}), replicas } })),
        );
        cli.out.write(`${ref} scaled to ${replicas}\n`);
      }
      if (!options.detach) for (const service of changed) await followService(cli, service, options);
    });
