// Which host tsctl talks to, and why: the first rule that applies.
//   --host · TSWARM_HOST · --context · TSWARM_CONTEXT · current context of the configuration · test cluster · local socket
import { refuse } from "#base/errors.ts";

export type Context = { readonly host: string; readonly ca?: string; readonly cert?: string; readonly key?: string };
export type Configuration = { readonly current?: string; readonly contexts: Readonly<Record<string, Context>> };

/** Files that rules read; paths are for messages. */
export type ContextFiles = {
  readonly configPath: string;
  readonly clusterPath: string;
  config(): Configuration;
  saveConfig(config: Configuration): void;
  /** Of the cluster that `make up` started. */
  cluster(): Context | undefined;
};

export type ContextChoice = { readonly host?: string | undefined; readonly context?: string | undefined };
export type Resolved = Context & { readonly name: string; readonly reason: string };

export const DEFAULT_HOST = "unix:/run/tswarm/tswarm.sock";

/** Docker's spelling "unix:///path" and a bare path mean "unix:/path". */
export const normalizeHost = (host: string): string => {
  if (host.startsWith("/")) return `unix:${host}`;
  return host.replace(/^unix:\/\/(?=\/)/, "unix:");
};

const named = (files: ContextFiles, name: string, reason: string): Resolved => {
  const context = files.config().contexts[name];
  if (!context)
    throw refuse(
      "not_found",
      "context",
      `there is no context "${name}" in ${files.configPath} (${reason})`,
      "See tsctl context ls, or make it with tsctl context create",
    );
  return { ...context, name, reason };
};

export const resolveContext = (
  choice: ContextChoice,
  env: Readonly<Record<string, string | undefined>>,
  files: ContextFiles,
): Resolved => {
  if (choice.host) return { name: "", host: normalizeHost(choice.host), reason: "--host" };
  if (choice.context) return named(files, choice.context, "--context");
  if (env.TSWARM_HOST)
    return { name: "", host: normalizeHost(env.TSWARM_HOST), reason: "environment variable TSWARM_HOST" };
  if (env.TSWARM_CONTEXT) return named(files, env.TSWARM_CONTEXT, "environment variable TSWARM_CONTEXT");
  const current = files.config().current;
  if (current) return named(files, current, `current context of ${files.configPath}`);
  const cluster = files.cluster();
  if (cluster) return { ...cluster, name: "", reason: `test cluster of make up (${files.clusterPath})` };
  return { name: "", host: DEFAULT_HOST, reason: "default socket of this machine's agent" };
};
