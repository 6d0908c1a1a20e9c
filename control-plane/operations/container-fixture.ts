// Containers of their own on the cluster of network-fixture.ts, for tests.
import { expect } from "chai";
import type { Issue, TswarmError } from "#base/errors.ts";
import { schedule } from "#control-plane/scheduler/schedule.ts";
import type { State } from "#control-plane/state/types.ts";
import { RunContainerRequest } from "#proto/gen/control.ts";
import type { Task, TaskState } from "#proto/gen/types.ts";
import * as ops from "./index.ts";
import { commit, ctx, pass } from "./network-fixture.ts";

type Given = Parameters<typeof RunContainerRequest.fromPartial>[0];

export const running = (name: string, networks: object[] = [], more: Given = {}) =>
  RunContainerRequest.fromPartial({
    name,
    node: "alpha",
    spec: { container: { image: "localhost/web:1" }, networks },
    ...more,
  });

export const start = (state: State, request: RunContainerRequest): Task => {
  const { id } = commit(state, (tx) => ops.runContainer(tx, ctx, request));
  pass(state);
  commit(state, (tx) => schedule(tx, ctx, { tasks: [id] }));
  return state.get("task", id)!;
};

export const report = (state: State, task: Task, to: TaskState): Task =>
  commit(state, (tx) => {
    const now = tx.get("task", task.id)!;
    tx.put("task", { ...now, status: { ...now.status!, state: to } });
    return tx.get("task", task.id)!;
  });

export const refused = (attempt: () => unknown): Issue & { code: string } => {
  try {
    attempt();
  } catch (error) {
    const { issues, code } = error as TswarmError;
    const [issue] = issues;
    expect(issue, String(error)).not.to.equal(undefined);
    expect(issues.every((i) => i.field !== "" && i.reason !== "" && i.remedy !== "")).to.equal(true);
    return { ...issue!, code };
  }
  throw new Error("it was accepted");
};
