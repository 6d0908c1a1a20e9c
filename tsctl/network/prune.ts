import { refuse } from "#base/errors.ts";
import { parseDuration } from "#control-plane/stack/quantities.ts";
import type { Filter } from "#proto/gen/control.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { confirm } from "#tsctl/output/confirm.ts";
import { collect, toFilters } from "#tsctl/output/list.ts";

/** "24h" ago, or a time as 2026-11-21T12:00:00Z, to ms since the epoch. */
const untilMs = (cli: Cli, written: string): number => {
  const ago = parseDuration(written);
  const at = ago === undefined ? Date.parse(written) : cli.now() - ago;
  if (!Number.isNaN(at)) return at;
  throw refuse(
    "invalid",
    "--filter",
    `"${written}" is no time`,
    'Write it like "until=24h" or "until=2026-11-21T12:00:00Z"',
  );
};

const pruneFilters = (cli: Cli, written: readonly string[]): Filter[] =>
  toFilters(written).map(({ key, values }) => ({
    key,
    values: key === "until" ? values.map((value) => String(untilMs(cli, value))) : values,
  }));

export const networkPrune: Verb = (noun, cli) =>
  noun
    .command("prune")
    .description("Remove all networks that nobody uses")
    .option("--filter <key=value>", "only what matches: label, label!, until; repeatable", collect, [])
    .option("-f, --force", "don't ask")
    .action(async (options: { filter: string[]; force?: true }) => {
      const filters = pruneFilters(cli, options.filter);
      if (!options.force && !(await confirm(cli, "This will remove all networks that nobody uses."))) return;
      const { removed } = await (await cli.control()).pruneNetworks({ filters });
      if (removed.length === 0) return;
      const names = removed.map((network) => network.spec?.annotations?.name ?? network.id).sort();
      cli.out.write(`Deleted Networks:\n${names.join("\n")}\n`);
    });
