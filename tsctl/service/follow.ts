// Follows a service until its tasks run and stayed up for the monitor period.
import { TswarmError } from "#base/errors.ts";
import type { Service } from "#proto/gen/types.ts";
import type { Cli } from "#tsctl/cli.ts";
import { follow } from "#tsctl/connection/watch.ts";
import { progressDisplay } from "#tsctl/output/progress.ts";
import { applyEvent, type Progress, progressOf, type Rollout } from "#tsctl/service/rollout.ts";

export type FollowOptions = {
  readonly quiet?: boolean | undefined;
  /** The user asked to go back: arriving there is the success. */
  readonly rollback?: boolean | undefined;
};

const MONITOR_MS = 5_000;

type Outcome = "converged" | "paused" | "rolled-back" | "removed" | "interrupted";

const reportErrors = (cli: Cli, progress: Progress | undefined) => {
  const reasons = new Map<string, number>();
  for (const { error } of progress?.slots ?? []) if (error !== "") reasons.set(error, (reasons.get(error) ?? 0) + 1);
  for (const [reason, count] of reasons) cli.err.write(`  ${count} ${count === 1 ? "task" : "tasks"}: ${reason}\n`);
};

const watchUntilDone = async (cli: Cli, service: Service, options: FollowOptions, interrupt: AbortSignal) => {
  const name = service.spec?.annotations?.name ?? service.id;
  const display = options.quiet ? { show: () => {} } : progressDisplay(cli.out);
  const stop = new AbortController();
  interrupt.addEventListener("abort", () => stop.abort(), { once: true });
  let rollout: Rollout = { service, tasks: new Map(), removed: false };
  let progress: Progress | undefined;
  let outcome = "interrupted" as Outcome;
  let wait: AbortController | undefined;
  let deadline = 0;

  const finish = (with_: Outcome) => {
    outcome = with_;
    wait?.abort();
    stop.abort();
  };
  /** Counts down to the end of the monitor period; a task that fails meanwhile ends the count. */
  const verify = async (count: AbortController) => {
    while (!count.signal.aborted) {
      const left = deadline - cli.now();
      if (left <= 0) return finish("converged");
      const seconds = Math.ceil(left / 1_000);
      if (progress)
        display.show(
          progress,
          `verify: Waiting ${seconds} second${seconds === 1 ? "" : "s"} to verify that tasks are stable...`,
        );
      await cli.sleep(cli.out.isTTY ? left - (seconds - 1) * 1_000 : left, count.signal);
    }
  };
  const settled = (): boolean => {
    if (rollout.removed) finish("removed");
    else {
      progress = progressOf(rollout, service.updateStatus);
      const { phase } = progress;
      const arrived = phase === "converged" || (phase === "rolled-back" && options.rollback === true);
      if (arrived && !wait) {
        deadline = cli.now() + (rollout.service.spec?.update?.monitorMs ?? MONITOR_MS);
        wait = new AbortController();
        void verify(wait);
      } else if (!arrived) {
        display.show(progress, wait ? "verify: Detected task failure" : "");
        wait?.abort();
        wait = undefined;
        if (phase !== "working") finish(phase);
      }
    }
    return stop.signal.aborted;
  };

  await follow(
    cli,
    [
      { table: "service", id: service.id, serviceId: "", nodeId: "" },
      { table: "task", id: "", serviceId: service.id, nodeId: "" },
    ],
    {
      load: async () => {
        const control = await cli.control();
        const [{ service: now }, { tasks }] = await Promise.all([
          control.getService({ ref: service.id }),
          control.listTasks({ filters: [{ key: "service", values: [service.id] }] }),
        ]);
        rollout = { service: now ?? service, tasks: new Map(tasks.map((t) => [t.id, t])), removed: false };
      },
      event: (event) => {
        rollout = applyEvent(rollout, event);
      },
      settled,
    },
    stop.signal,
  );
  wait?.abort();
  if (outcome === "converged" && progress) display.show(progress, `verify: Service ${name} converged`);
  return { outcome, progress, name, message: progress?.message ?? "" };
};

/** Throws when the update was paused or rolled back. Ctrl-C leaves it running and says how to go on watching. */
export const followService = async (cli: Cli, service: Service, options: FollowOptions): Promise<void> => {
  const { outcome, progress, name, message } = await watchUntilDone(cli, service, options, cli.interrupt());
  if (outcome === "converged") return;
  if (outcome === "interrupted") {
    cli.err.write(`\nThe operation goes on in the background. Watch it with: tsctl service wait ${name}\n`);
    reportErrors(cli, progress);
    return cli.exit(130);
  }
  reportErrors(cli, progress);
  if (outcome === "removed") throw new TswarmError("not_found", `service ${name} was removed meanwhile`);
  const what = outcome === "paused" ? "service update paused" : "service rolled back";
  throw new TswarmError("conflict", `${what}: ${message || name}. See: tsctl service ps ${name}`);
};
