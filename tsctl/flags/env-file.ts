import type { Cli } from "#tsctl/cli.ts";

/** Lines "NAME=value" or "NAME"; empty lines and those that begin with # say nothing. Quotes are part of the value. */
export const readEnvFiles = async (cli: Cli, paths: readonly string[]): Promise<string[]> => {
  const out: string[] = [];
  for (const path of paths) {
    const text = Buffer.from(await cli.read(path)).toString("utf8");
    out.push(...text.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.startsWith("#")));
  }
  return out;
};
