// Placement constraints: "node.labels.rack==a", "node.role!=manager". Comparison ignores case, as in Swarm; a label
// that a node lacks is the empty text.

import type { Node } from "#proto/gen/types.ts";
import { NodeRole } from "#proto/gen/types.ts";

export type Constraint = { readonly key: string; readonly equal: boolean; readonly value: string };

/** One constraint, or undefined when the text is none. */
export const parseConstraint = (text: string): Constraint | undefined => {
  const match = /^\s*([A-Za-z0-9._/-]+)\s*(==|!=)\s*(.*?)\s*$/.exec(text);
  if (match === null) return undefined;
  const [, key, operator, value] = match;
  if (key === undefined || value === undefined || value === "" || !isNodeKey(key)) return undefined;
  return { key, equal: operator === "==", value: value.toLowerCase() };
};

const FIXED_KEYS = new Set(["node.id", "node.hostname", "node.role", "node.platform.os", "node.platform.arch"]);
const LABEL_PREFIXES = ["node.labels.", "engine.labels."];

const isNodeKey = (key: string): boolean =>
  FIXED_KEYS.has(key) || LABEL_PREFIXES.some((prefix) => key.startsWith(prefix) && key.length > prefix.length);

/** What the node has under this key of a constraint or of a spread preference; empty when it has nothing. */
export const nodeValue = (node: Node, key: string): string => {
  switch (key) {
    case "node.id":
      return node.id;
    case "node.hostname":
      return node.description?.hostname ?? "";
    case "node.role":
      return node.spec?.role === NodeRole.MANAGER ? "manager" : "worker";
    case "node.platform.os":
      return node.description?.os ?? "";
    case "node.platform.arch":
      return node.description?.arch ?? "";
    default:
      if (key.startsWith("node.labels.")) return node.spec?.annotations?.labels[key.slice("node.labels.".length)] ?? "";
      if (key.startsWith("engine.labels."))
        return node.description?.engineLabels[key.slice("engine.labels.".length)] ?? "";
      return "";
  }
};

/** A text that is no constraint matches no node: nothing may run where the user did not want it. */
export const matchesConstraints = (node: Node, constraints: readonly string[]): boolean =>
  constraints.every((text) => {
    const constraint = parseConstraint(text);
    if (constraint === undefined) return false;
    return (nodeValue(node, constraint.key).toLowerCase() === constraint.value) === constraint.equal;
  });
