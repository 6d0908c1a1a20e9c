// What is said about a container of its own in labels, as Docker says what belongs to a stack.
import type { Task } from "#proto/gen/types.ts";

/** Set by `tsctl run --rm`: it is removed when it has ended. */
export const AUTO_REMOVE_LABEL = "tswarm.auto-remove";

export const removesItself = (task: Task): boolean => task.spec?.container?.labels[AUTO_REMOVE_LABEL] === "true";
