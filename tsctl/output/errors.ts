import type { TswarmError } from "#base/errors.ts";

/** What stderr shows: the message, then every issue that the message does not tell already. */
export const renderError = (error: TswarmError): string => {
  const lines = [`tsctl: ${error.message}`];
  for (const { field, reason, remedy } of error.issues)
    if (!error.message.includes(reason) || !error.message.includes(remedy))
      lines.push(`  ${field}: ${reason}. ${remedy}.`);
  return `${lines.join("\n")}\n`;
};

/** Why nothing answered at `host`, and what to do about it. */
export const unreachable = (host: string, reason: string, code: string): string => {
  const socket = host.startsWith("unix:");
  const cause =
    code === "ENOENT"
      ? "there is no such socket"
      : code === "ECONNREFUSED"
        ? "nobody listens there"
        : code === "EACCES"
          ? "this user may not open it (root may)"
          : code;
  const remedy = socket
    ? "Is the agent running on this machine? Start a cluster here with `make up`; on a real host start the agent, then `tsctl cluster init`. Another host: tsctl --host or tsctl context."
    : "Is the manager running, and may this machine reach it?";
  return `can't reach a cluster at ${host}: ${cause}. The address comes from: ${reason}. ${remedy}`;
};
