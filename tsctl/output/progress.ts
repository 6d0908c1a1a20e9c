// How the progress of a service looks: Docker's overall line and a bar for each slot, drawn again in place on a
// terminal, or only what changed as plain lines elsewhere.
import type { Output } from "#tsctl/cli.ts";
import type { Progress, SlotProgress } from "#tsctl/service/rollout.ts";

/** More slots than these are told by the overall line only. */
const MAX_SLOTS = 20;
const BAR_WIDTH = 50;
const STATES = ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"];

const bar = (state: string): string => {
  const step = STATES.indexOf(state) + 1;
  if (step === 0) return "";
  const filled = Math.floor((BAR_WIDTH * step) / STATES.length);
  return `[${`${"=".repeat(filled - 1)}>`.padEnd(BAR_WIDTH)}]`;
};

const slotLine = (slot: SlotProgress, index: number, count: number): string => {
  const number = String(index + 1).padStart(String(count).length);
  const detail = slot.error === "" ? bar(slot.state) : slot.error;
  return `${number}/${count}: ${slot.state.padEnd(9)} ${detail}`.trimEnd();
};

/** `verify` is the line at the end, "" before the tasks run. */
export const progressLines = (progress: Progress, verify: string): string[] => {
  const count = Math.max(progress.wanted, progress.slots.length);
  const overall = `overall progress: ${progress.rollingBack ? "rolling back update: " : ""}${progress.running} out of ${progress.wanted} tasks`;
  // One line for every slot from the start, so that the display does not jump.
  const waiting = { slot: 0, state: "", running: false, error: "" };
  const slots = count > MAX_SLOTS ? [] : Array.from({ length: count }, (_, i) => progress.slots[i] ?? waiting);
  return [overall, ...slots.map((slot, i) => slotLine(slot, i, count)), ...(verify === "" ? [] : [verify])];
};

export type ProgressDisplay = { show(progress: Progress, verify: string): void };

const terminalDisplay = (out: Output): ProgressDisplay => {
  let drawn = 0;
  return {
    show: (progress, verify) => {
      // A line that wraps would be counted as one: cut at the edge. Whole errors are printed at the end.
      const lines = progressLines(progress, verify).map((line) => line.slice(0, out.columns));
      const up = drawn > 0 ? `\x1b[${drawn}A` : "";
      out.write(`${up}${lines.map((line) => `\x1b[2K${line}\n`).join("")}\x1b[J`);
      drawn = lines.length;
    },
  };
};

const plainDisplay = (out: Output): ProgressDisplay => {
  const shown = new Map<string, string>();
  return {
    show: (progress, verify) => {
      const lines = progressLines(progress, verify).map((line) => line.replace(/ *\[[=> ]*\]$/, ""));
      for (const line of lines) {
        const at = line.indexOf(":");
        const key = line.slice(0, at);
        // A slot without a task has nothing to tell yet.
        if (shown.get(key) === line || at === line.length - 1) continue;
        shown.set(key, line);
        out.write(`${line}\n`);
      }
    },
  };
};

export const progressDisplay = (out: Output): ProgressDisplay => (out.isTTY ? terminalDisplay(out) : plainDisplay(out));
