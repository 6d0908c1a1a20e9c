// As many occupied slots as there are replicas: missing ones get the lowest free numbers, surplus ones leave.
import { TaskState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { isOccupied, type Slot, slotsOf } from "./slot.ts";
import { isRunning } from "./task-life.ts";
import { createTask, endTask } from "./write-task.ts";

export const scale = (pass: Pass): void => {
  const { tx, ctx, service } = pass;
  const wanted = service.spec?.replicas ?? 0;
  const slots = slotsOf(pass, pass.tasks());
  const occupied = [...slots.values()].filter(isOccupied);
  for (const slot of surplus(occupied, occupied.length - wanted))
    for (const task of slot.tasks) endTask(tx, task, TaskState.TASK_REMOVE);
  const taken = new Set(occupied.map((slot) => slot.number));
  for (let number = 1; taken.size < wanted; number++) {
    if (taken.has(number)) continue;
    taken.add(number);
    createTask(tx, ctx, service, number);
  }
};

/** Slots without a running task first, then from the nodes with the most slots of this service, then the highest number. */
const surplus = (slots: readonly Slot[], count: number): readonly Slot[] => {
  if (count <= 0) return [];
  const seen = new Map<string, number>();
  const ranked = [...slots]
    .sort((a, b) => a.number - b.number)
    .map((slot) => {
      const nodeId = slot.live[0]?.nodeId ?? "";
      const nth = (seen.get(nodeId) ?? 0) + 1;
      seen.set(nodeId, nth);
      return { slot, nth, running: slot.live.some(isRunning) };
    });
  ranked.sort((a, b) => Number(a.running) - Number(b.running) || b.nth - a.nth || b.slot.number - a.slot.number);
  return ranked.slice(0, count).map(({ slot }) => slot);
};
