// Update and restart policies of which the user wrote a part: a message that is there must be whole, because zero is a
// value of its own (parallelism 0 is "all at once"). Defaults: Docker's, swarmkit api/defaults/service.go.
import {
  FailureAction,
  RestartCondition,
  type RestartPolicy,
  type UpdateConfig,
  UpdateOrder,
} from "#proto/gen/types.ts";

export const FAILURE_ACTIONS: Readonly<Record<string, FailureAction>> = {
  pause: FailureAction.FAILURE_PAUSE,
  continue: FailureAction.FAILURE_CONTINUE,
  rollback: FailureAction.FAILURE_ROLLBACK,
};

/** A failed rollback has nothing to go back to. */
export const ROLLBACK_FAILURE_ACTIONS: Readonly<Record<string, FailureAction>> = {
  pause: FailureAction.FAILURE_PAUSE,
  continue: FailureAction.FAILURE_CONTINUE,
};

export const UPDATE_ORDERS: Readonly<Record<string, UpdateOrder>> = {
  "stop-first": UpdateOrder.STOP_FIRST,
  "start-first": UpdateOrder.START_FIRST,
};

export const RESTART_CONDITIONS: Readonly<Record<string, RestartCondition>> = {
  none: RestartCondition.RESTART_NONE,
  "on-failure": RestartCondition.RESTART_ON_FAILURE,
  any: RestartCondition.RESTART_ANY,
};

const UPDATE_DEFAULTS: UpdateConfig = {
  parallelism: 1,
  delayMs: 0,
  failureAction: FailureAction.FAILURE_PAUSE,
  monitorMs: 5_000,
  maxFailureRatio: 0,
  order: UpdateOrder.STOP_FIRST,
};

const RESTART_DEFAULTS: RestartPolicy = {
  condition: RestartCondition.RESTART_ANY,
  delayMs: 5_000,
  maxAttempts: 0,
  windowMs: 0,
};

type Part<T> = { readonly [K in keyof T]?: T[K] | undefined };

const merge = <T extends object>(base: T, part: Part<T>): T => {
  const given = Object.entries(part).filter(([, value]) => value !== undefined);
  return { ...base, ...Object.fromEntries(given) };
};

/** The parts that are written, over `current`, over the defaults. */
export const updateConfig = (part: Part<UpdateConfig>, current?: UpdateConfig): UpdateConfig =>
  merge(current ?? UPDATE_DEFAULTS, part);

export const restartPolicy = (part: Part<RestartPolicy>, current?: RestartPolicy): RestartPolicy =>
  merge(current ?? RESTART_DEFAULTS, part);
