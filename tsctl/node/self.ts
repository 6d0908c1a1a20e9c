import type { Cli } from "#tsctl/cli.ts";

/** "self" is the node whose agent answers. */
export const resolveSelf = async (cli: Cli, ref: string): Promise<string> =>
  ref === "self" ? (await (await cli.local()).info({})).nodeId : ref;
