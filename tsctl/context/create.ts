import { type Issue, refuseAll } from "#base/errors.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { type Context, normalizeHost } from "#tsctl/context.ts";

type Options = { address: string; ca?: string; cert?: string; key?: string };

const pem = async (cli: Cli, flag: string, path: string | undefined, issues: Issue[]): Promise<string | undefined> => {
  if (path === undefined) return undefined;
  try {
    return Buffer.from(await cli.read(path)).toString("utf8");
  } catch (error) {
    issues.push({ field: flag, reason: `can't read ${path}: ${(error as Error).message}`, remedy: "Name a PEM file" });
    return undefined;
  }
};

export const contextCreate: Verb = (noun, cli) =>
  noun
    .command("create")
    .description("Save how to reach a cluster")
    .argument("<name>")
    .requiredOption("--address <address>", "unix:/path or host:port of a manager")
    .option("--ca <file>", "certificate of the cluster's CA (PEM)")
    .option("--cert <file>", "client certificate (PEM)")
    .option("--key <file>", "its key (PEM)")
    .action(async (name: string, options: Options) => {
      const issues: Issue[] = [];
      const { contexts, ...rest } = cli.contexts.config();
      if (!/^[a-zA-Z0-9][\w.-]*$/.test(name) || name === "default")
        issues.push({ field: "name", reason: `"${name}" can't be used`, remedy: "Use letters, digits, . _ and -" });
      else if (contexts[name])
        issues.push({ field: "name", reason: `there is a context "${name}"`, remedy: "Choose another name" });
      const ca = await pem(cli, "--ca", options.ca, issues);
      const cert = await pem(cli, "--cert", options.cert, issues);
      const key = await pem(cli, "--key", options.key, issues);
      const host = normalizeHost(options.address);
      if (!host.startsWith("unix:") && options.ca === undefined)
        issues.push({ field: "--ca", reason: `${host} is reached over TLS`, remedy: "Name the CA's certificate" });
      refuseAll("The command", issues);
      const context: Context = { host, ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
      cli.contexts.saveConfig({ ...rest, contexts: { ...contexts, [name]: context } });
      cli.out.write(`${name}\nUse it with: tsctl context use ${name}\n`);
    });
