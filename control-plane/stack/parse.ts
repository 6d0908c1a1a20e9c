// A Compose file as the specs of a stack. Pure: text in, specs out. Every key that is not understood is refused by its
// path, all of them together; nothing is ignored but `version` and `x-…`. Reference: Compose file version 3.
import { parseDocument } from "yaml";
import { type Issue, refuse, refuseAll } from "#base/errors.ts";
import { interpolate, type Variables } from "#control-plane/stack/interpolate.ts";
import { stackNetwork } from "#control-plane/stack/network.ts";
import { entries, fields, note, text, type Value } from "#control-plane/stack/reader.ts";
import { serviceSpec } from "#control-plane/stack/service.ts";
import type { NetworkSpec, ServiceSpec } from "#proto/gen/types.ts";

export type Stack = { readonly name: string; readonly networks: NetworkSpec[]; readonly services: ServiceSpec[] };

const NAME = /^[a-z0-9][a-z0-9_-]*$/;

/** The parser throws for aliases without an anchor, and for what is nested so deeply that its stack overflows. */
const orRefusal = <T>(parse: () => T): T => {
  try {
    return parse();
  } catch (error) {
    throw refuse("invalid", "file", (error as Error).message.split("\n")[0]!, "Correct the YAML");
  }
};

const parseYaml = (yamlText: string): unknown => {
  const document = orRefusal(() => parseDocument(yamlText, { merge: true }));
  const issues = document.errors.map((e) => ({
    field: e.linePos ? `line ${e.linePos[0].line}` : "file",
    reason: e.message.split("\n")[0]!.replace(/ at line \d+, column \d+:?$/, ""),
    remedy: "Correct the YAML",
  }));
  refuseAll("The stack file", issues);
  return orRefusal(() => document.toJS({ maxAliasCount: 1_000 }));
};

/** No key that is known is as deep. An anchor that contains its own alias is endless. */
const DEEPEST = 30;

const interpolateAll = (path: string, raw: unknown, env: Variables, issues: Issue[], depth = 0): unknown => {
  if (depth > DEEPEST) throw refuse("invalid", path, "it is nested too deeply", "Remove what contains itself");
  if (typeof raw === "string")
    return interpolate(raw, env, (reason) =>
      issues.push({
        field: path,
        reason,
        remedy: 'Set the variable, give a default with ":-", or write "$$" for a dollar',
      }),
    );
  if (Array.isArray(raw)) return raw.map((item, i) => interpolateAll(`${path}.${i}`, item, env, issues, depth + 1));
  if (typeof raw !== "object" || raw === null) return raw;
  return Object.fromEntries(
    Object.entries(raw).map(([key, value]) => [
      key,
      key.startsWith("x-")
        ? value
        : interpolateAll(path === "" ? key : `${path}.${key}`, value, env, issues, depth + 1),
    ]),
  );
};

/**
 * @param name of the stack; when empty, the file's `name`. Names of its objects are `stack_name`.
 * @param env what variables in the file and `environment` keys without a value are taken from.
 * Throws `invalid` with an issue for each problem. A network `default` (overlay) is added when a service names none.
 */
export const parseStack = (
  yamlText: string,
  { name, env = {} }: { readonly name: string; readonly env?: Variables },
): Stack => {
  const issues: Issue[] = [];
  const root: Value = { path: "", raw: interpolateAll("", parseYaml(yamlText), env, issues), issues };
  const top = fields(root, ["version", "name", "services", "networks"]);
  const stack = name || text(top.name);
  if (!NAME.test(stack))
    throw refuse(
      "invalid",
      "name",
      stack === "" ? "the stack has no name" : `"${stack}" is not a name for a stack`,
      'Use lower-case letters, digits, "-" and "_", beginning with a letter or digit',
    );

  const written = top.networks ? entries(top.networks) : [];
  const networks = new Map(written.map(([key, value]) => [key, stackNetwork(key, value, stack)]));
  const builtIn = stackNetwork("default", { path: "networks.default", raw: {}, issues }, stack);
  if (!networks.has("default")) networks.set("default", builtIn);

  const names = new Map([...networks].map(([key, network]) => [key, network.name]));
  const wanted = top.services ? entries(top.services) : [];
  if (wanted.length === 0)
    note({ ...root, path: "services" }, "there is none", "Write at least one service with an image");
  const services = wanted.map(([key, value]) => serviceSpec(key, value, { stack, env, networks: names }));
  refuseAll("The stack file", issues);

  const used = new Set(services.flatMap((s) => s.task?.networks.map((n) => n.target) ?? []));
  const specs = [...networks.values()]
    // Written networks are made even when nobody uses them; the built-in default only when it is used.
    .filter((network) => network !== builtIn || used.has(network.name))
    .flatMap((network) => (network.spec ? [network.spec] : []));
  return { name: stack, networks: specs, services };
};
