// Objects of the API as JSON for people: enum names instead of numbers, ISO times, nothing for what is not set.
import {
  EndpointMode,
  FailureAction,
  NodeAvailability,
  NodeRole,
  NodeState,
  PortMode,
  PortProtocol,
  RestartCondition,
  TaskState,
  UpdateOrder,
  UpdateState,
} from "#proto/gen/types.ts";

const PREFIX = /^(NODE|TASK|RESTART|FAILURE|UPDATE)_(?!STATE_|ROLE_|AVAILABILITY_)/;

/** "TASK_RUNNING" is "running", "STOP_FIRST" is "stop-first"; unset is empty. */
export const enumName = (values: Readonly<Record<string, number>>, value: number): string => {
  const name = Object.keys(values).find((key) => values[key] === value) ?? String(value);
  if (/UNSPECIFIED$/.test(name)) return "";
  return name
    .replace(/^NODE_STATE_/, "")
    .replace(PREFIX, "")
    .toLowerCase()
    .replaceAll("_", "-");
};

const ENUMS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  role: NodeRole,
  availability: NodeAvailability,
  condition: RestartCondition,
  order: UpdateOrder,
  failureAction: FailureAction,
  endpointMode: EndpointMode,
  protocol: PortProtocol,
  mode: PortMode,
  desiredState: TaskState,
};

const TIMES = new Set(["createdAt", "updatedAt", "startedAt", "completedAt", "startAfter", "at", "since"]);

/** `state` is in three messages: their other fields tell which. */
const stateOf = (owner: object) =>
  "containerId" in owner ? TaskState : "startedAt" in owner ? UpdateState : NodeState;

/** Any message as plain JSON data. */
export const plain = (value: unknown, key = "", owner: object = {}): unknown => {
  if (typeof value === "number") {
    const values = key === "state" ? stateOf(owner) : ENUMS[key];
    if (values) return enumName(values, value);
    return TIMES.has(key) ? (value === 0 ? "" : new Date(value).toISOString()) : value;
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map((item) => plain(item));
  if (typeof value !== "object" || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [k, v] of Object.entries(value)) if (v !== undefined) out[k] = plain(v, k, value);
  return out;
};
